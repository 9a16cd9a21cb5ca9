"""Pure maths of distillation on tensors, without mmdet or registries."""

from mmwkd.functional.box import smooth_l1_term
from mmwkd.functional.feature_baselines import (
    cwd_term,
    fitnet_term,
    pkd_term,
)
from mmwkd.functional.gaussian import gaussian_wasserstein
from mmwkd.functional.interrelation import (
    add_unrelated,
    centroid_interrelation,
    classifier_interrelation,
    confusion_interrelation,
    interrelation_to_cost,
    paired_cka_interrelation,
)
from mmwkd.functional.logit_baselines import dkd_terms, kd_term
from mmwkd.functional.logit_distillation import target_term, transport_term
from mmwkd.functional.sigmoid import append_background, joint_logit
from mmwkd.functional.sinkhorn import sinkhorn_cost
from mmwkd.functional.standardize import standardize

__all__ = [
    'add_unrelated',
    'append_background',
    'centroid_interrelation',
    'classifier_interrelation',
    'confusion_interrelation',
    'cwd_term',
    'dkd_terms',
    'fitnet_term',
    'gaussian_wasserstein',
    'interrelation_to_cost',
    'joint_logit',
    'kd_term',
    'paired_cka_interrelation',
    'pkd_term',
    'sinkhorn_cost',
    'smooth_l1_term',
    'standardize',
    'target_term',
    'transport_term',
]

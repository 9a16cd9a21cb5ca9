"""Pure maths of distillation on tensors, without mmdet or registries."""

from mmwkd.functional.gaussian import gaussian_wasserstein
from mmwkd.functional.interrelation import (
    centroid_interrelation,
    classifier_interrelation,
    confusion_interrelation,
    covariance_interrelation,
    interrelation_to_cost,
    paired_cka_interrelation,
    whitened_centroid_interrelation,
)
from mmwkd.functional.logit_distillation import target_term, transport_term
from mmwkd.functional.sinkhorn import sinkhorn_cost

__all__ = [
    'centroid_interrelation',
    'classifier_interrelation',
    'confusion_interrelation',
    'covariance_interrelation',
    'gaussian_wasserstein',
    'interrelation_to_cost',
    'paired_cka_interrelation',
    'sinkhorn_cost',
    'target_term',
    'transport_term',
    'whitened_centroid_interrelation',
]

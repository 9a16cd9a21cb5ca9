"""Pure maths of distillation on tensors, without mmdet or registries."""

from mmwkd.functional.gaussian import gaussian_wasserstein
from mmwkd.functional.interrelation import (
    classifier_interrelation,
    interrelation_to_cost,
)
from mmwkd.functional.logit_distillation import target_term, transport_term
from mmwkd.functional.sinkhorn import DOMAINS, Domain, sinkhorn_cost

__all__ = [
    'DOMAINS',
    'Domain',
    'classifier_interrelation',
    'gaussian_wasserstein',
    'interrelation_to_cost',
    'sinkhorn_cost',
    'target_term',
    'transport_term',
]

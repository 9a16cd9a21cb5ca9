"""Distil MMDetection detectors with Wasserstein distances.

Importing the package registers its components, so a config needs no more
than ``custom_imports = dict(imports=['mmwkd'])``.
"""

from mmwkd.distillers import DetectorDistiller
from mmwkd.hooks import (
    DistillationWeightHook,
    PreemptionHook,
    SafeCheckpointHook,
    TeacherCheckHook,
)
from mmwkd.losses import WKDFeatureLoss, WKDLogitLoss
from mmwkd.version import __version__

__all__ = [
    'DetectorDistiller',
    'DistillationWeightHook',
    'PreemptionHook',
    'SafeCheckpointHook',
    'TeacherCheckHook',
    'WKDFeatureLoss',
    'WKDLogitLoss',
    '__version__',
]

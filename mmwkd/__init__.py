"""Distil MMDetection detectors with Wasserstein distances.

Importing the package registers its components, so a config needs no more
than ``custom_imports = dict(imports=['mmwkd'])``.
"""

from mmengine.config.utils import MODULE2PACKAGE

from mmwkd.quiet import quiet
from mmwkd.version import __version__

with quiet():
    from mmwkd.distillers import DetectorDistiller
    from mmwkd.hooks import (
        DistillationWeightHook,
        PreemptionHook,
        SafeCheckpointHook,
        TeacherCheckHook,
    )
    from mmwkd.losses import WKDFeatureLoss, WKDLogitLoss

# configs may be based on 'mmwkd::_base_/losses/wkd.py', and on those of pairs
MODULE2PACKAGE.setdefault('mmwkd', 'mmwkd')

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

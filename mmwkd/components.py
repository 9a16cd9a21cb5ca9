"""What configs name; importing this module registers it."""

from mmengine.config.utils import MODULE2PACKAGE

from mmwkd.quiet import quiet

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
]

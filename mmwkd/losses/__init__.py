"""Registered distillation losses."""

from mmwkd.losses.base import DistillationLoss, FeatureLoss, LogitLoss
from mmwkd.losses.box_loss import BoxDistillationLoss
from mmwkd.losses.feature_baselines import (
    CWDLoss,
    FitNetLoss,
    PKDLoss,
)
from mmwkd.losses.logit_baselines import (
    BinaryKDLoss,
    DKDLoss,
    KDLoss,
)
from mmwkd.losses.wkd_feature_loss import WKDFeatureLoss
from mmwkd.losses.wkd_logit_loss import WKDLogitLoss

__all__ = [
    'BinaryKDLoss',
    'BoxDistillationLoss',
    'CWDLoss',
    'DKDLoss',
    'DistillationLoss',
    'FeatureLoss',
    'FitNetLoss',
    'KDLoss',
    'LogitLoss',
    'PKDLoss',
    'WKDFeatureLoss',
    'WKDLogitLoss',
]

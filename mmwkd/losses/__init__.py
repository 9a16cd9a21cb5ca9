"""Registered distillation losses."""

from mmwkd.losses.base import DistillationLoss, FeatureLoss, LogitLoss
from mmwkd.losses.baselines import (
    BoxDistillationLoss,
    CWDLoss,
    DKDLoss,
    FitNetLoss,
    KDLoss,
    PKDLoss,
)
from mmwkd.losses.wkd_feature_loss import WKDFeatureLoss
from mmwkd.losses.wkd_logit_loss import WKDLogitLoss

__all__ = [
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

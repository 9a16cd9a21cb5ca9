"""Registered distillation losses."""

from mmwkd.losses.base import DistillationLoss
from mmwkd.losses.wkd_feature_loss import WKDFeatureLoss
from mmwkd.losses.wkd_logit_loss import WKDLogitLoss

__all__ = ['DistillationLoss', 'WKDFeatureLoss', 'WKDLogitLoss']

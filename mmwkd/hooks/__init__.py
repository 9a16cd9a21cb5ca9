"""Hooks for distillation runs."""

from mmwkd.hooks.distillation_weight_hook import (
    DistillationWeightHook,
    schedule_factor,
)

__all__ = ['DistillationWeightHook', 'schedule_factor']

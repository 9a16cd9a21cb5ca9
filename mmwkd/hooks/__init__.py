"""Hooks for distillation runs."""

from mmwkd.hooks.distillation_weight_hook import DistillationWeightHook
from mmwkd.hooks.preemption_hook import PreemptionHook
from mmwkd.hooks.safe_checkpoint_hook import SafeCheckpointHook
from mmwkd.hooks.teacher_check_hook import TeacherCheckHook

__all__ = [
    'DistillationWeightHook',
    'PreemptionHook',
    'SafeCheckpointHook',
    'TeacherCheckHook',
]

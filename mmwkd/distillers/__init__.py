"""The distiller and its parts."""

from mmwkd.distillers.capture import RoIStage, TrainingPass, capture
from mmwkd.distillers.categories import dense_scores, roi_logits
from mmwkd.distillers.detector_distiller import DetectorDistiller
from mmwkd.distillers.teacher import FrozenTeacher, build_teacher

__all__ = [
    'DetectorDistiller',
    'FrozenTeacher',
    'RoIStage',
    'TrainingPass',
    'build_teacher',
    'capture',
    'dense_scores',
    'roi_logits',
]

"""The distiller and its parts."""

from mmwkd.distillers.capture import RoIStage, TrainingPass, capture
from mmwkd.distillers.categories import dense_scores, roi_logits
from mmwkd.distillers.detector_distiller import DetectorDistiller
from mmwkd.distillers.places import Place, register_place
from mmwkd.distillers.teacher import FrozenTeacher, build_teacher

__all__ = [
    'DetectorDistiller',
    'FrozenTeacher',
    'Place',
    'RoIStage',
    'TrainingPass',
    'build_teacher',
    'capture',
    'dense_scores',
    'register_place',
    'roi_logits',
]

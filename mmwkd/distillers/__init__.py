"""The distiller and its parts."""

from mmwkd.distillers.capture import RoIStage, TrainingPass, capture
from mmwkd.distillers.categories import dense_scores, roi_logits
from mmwkd.distillers.dense_boxes import dense_boxes
from mmwkd.distillers.detector_distiller import DetectorDistiller
from mmwkd.distillers.places import Place, register_place
from mmwkd.distillers.predictions import Predictions, box_predictions
from mmwkd.distillers.teacher import FrozenTeacher, build_teacher

__all__ = [
    'DetectorDistiller',
    'FrozenTeacher',
    'Place',
    'Predictions',
    'RoIStage',
    'TrainingPass',
    'box_predictions',
    'build_teacher',
    'capture',
    'dense_boxes',
    'dense_scores',
    'register_place',
    'roi_logits',
]

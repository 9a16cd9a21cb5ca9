"""Boxes and scores are those that a detector predicts."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.structures import InstanceData

from mmwkd.distillers.dense_boxes import dense_boxes
from mmwkd.distillers.predictions import box_predictions, check_predictions
from tests.test_families import CANNOT_PREDICT, PAIRS, SIZES, tiny

DENSE = [
    pair.student
    for pair in PAIRS
    if pair.student == pair.teacher
    and 'bbox_head' in tiny(pair.student, factor=8)
    and not pair.places[2]
    and not tiny(pair.student, factor=8).type.endswith(('DETR', 'DINO'))
]


def build(config):
    torch.manual_seed(0)
    detector = MODELS.build(tiny(config, factor=8))
    detector.init_weights()
    return detector.eval()


def boxes_of_head(head, outputs, metas):
    """Boxes of mmdet's own prediction, before boxes are suppressed."""
    cfg = copy.deepcopy(head.test_cfg)
    cfg.update(score_thr=0.0, nms_pre=5, conf_thr=-1, min_bbox_size=-1)
    votes = hasattr(head, 'with_score_voting')  # needs suppression
    if votes:
        head.with_score_voting = False
        cfg.nms.iou_threshold = 1.0
    results = head.predict_by_feat(
        *outputs, batch_img_metas=metas, cfg=cfg, with_nms=votes
    )
    return [results] if isinstance(results, InstanceData) else results


@pytest.mark.parametrize('config', DENSE)
def test_boxes_of_dense_heads_are_those_that_mmdet_decodes(config):
    detector = build(config)
    head = detector.bbox_head
    side = SIZES.get(config, 96)
    shapes = torch.full((2, 2), 10_000.0)  # no box is cut off
    feats = detector.extract_feat(torch.randn(2, 3, side, side))
    for training in (False, True):
        head.training = training
        with torch.no_grad():
            ours = box_predictions(head, head(feats), shapes)
        head.training = False
        if config in CANNOT_PREDICT:
            assert ours.boxes.shape[2] == 4
            continue
        with torch.no_grad():
            outputs = head(feats)
        metas = [dict(img_shape=(10_000, 10_000), scale_factor=(1, 1))] * 2
        for boxes, results in zip(
            ours.boxes, boxes_of_head(head, outputs, metas), strict=True
        ):
            expected = getattr(results, 'bboxes', None)
            assert len(expected)
            distance = (
                (expected.clamp(min=0)[:, None] - boxes.clamp(min=0))
                .abs()
                .amax(dim=2)
            )
            assert distance.amin(dim=1).max() < 0.01 * side


def test_heads_of_unknown_kind_are_refused():
    with pytest.raises(ValueError, match='type Linear box by box: .*register'):
        dense_boxes(torch.nn.Linear(1, 1), ())
    with pytest.raises(
        ValueError, match='without a head of boxes .*; use neck_loss'
    ):
        check_predictions('teacher', SimpleNamespace())
    head = MODELS.get('GARetinaHead')
    guided = head.__new__(head)  # it chooses its anchors itself
    with pytest.raises(ValueError, match='heads of type GARetinaHead: .*use'):
        check_predictions('teacher', SimpleNamespace(bbox_head=guided))

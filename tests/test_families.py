"""Detectors that mmdet ships are distilled from their config alone.

What is run stands in docs/detectors.md: each row of its tables is tested with
the places that have a yes, and must be refused at those that have a no.
"""

import copy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import mmdet
import numpy as np
import pytest
import torch
from mmdet.registry import HOOKS, MODELS
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.logging import MessageHub
from mmengine.structures import PixelData
from mmengine.utils import digit_version
from torch.testing import assert_close

from mmwkd.testing import tiny_batch
from tests.shrinking import shrink

DOCS = Path(__file__).resolve().parents[1] / 'docs/detectors.md'
LOSSES = dict(
    logit_loss=dict(type='WKDLogitLoss'),
    neck_loss=dict(type='WKDFeatureLoss', grid=2),
    roi_loss=dict(type='WKDFeatureLoss', grid=4),
)

# what the names of options do not tell shrink(); f is what widths are
# divided by
CHANGES = {
    # widths that heads choose by default
    'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py': lambda f: {
        'bbox_head.embed_dims': 256 // f
    },
    'dino/dino-4scale_r50_8xb2-12e_coco.py': lambda f: {
        'bbox_head.embed_dims': 256 // f
    },
    # the head's residual stage has the width of a full ResNet
    'faster_rcnn/faster-rcnn_r50-caffe_c4-1x_coco.py': lambda f: {
        'backbone.depth': 18,
        'rpn_head.in_channels': 256,
        'roi_head.shared_head.depth': 18,
        'roi_head.bbox_roi_extractor.out_channels': 256,
        'roi_head.bbox_head.in_channels': 512,
    },
    # VGG cannot be narrowed; a ResNet has its strides
    'ssd/ssd300_coco.py': lambda f: {
        'backbone': dict(
            _delete_=True,
            type='ResNet',
            depth=18,
            base_channels=64 // f,
            out_indices=(1, 2),
        ),
        'neck.in_channels': (128 // f, 256 // f),
        **dict.fromkeys(
            ('neck.out_channels', 'bbox_head.in_channels'),
            (128 // f, 256 // f, 32, 16, 16, 16),
        ),
    },
}
FULL_WIDTH = (
    # its decoder embeds positions in the width of the original
    'conditional_detr/conditional-detr_r50_8xb2-50e_coco.py',
    'faster_rcnn/faster-rcnn_r50-caffe_c4-1x_coco.py',
    # the widths of MobileNetV2 are rounded, and cannot be divided
    'ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py',
    'yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py',
)
if digit_version(mmdet.__version__) < digit_version('3.4'):
    # its decoder embeds positions in the width of the original there
    FULL_WIDTH += ('dino/dino-4scale_r50_8xb2-12e_coco.py',)
# sides of the images, where detectors cannot do with less
SIZES = {
    'ddod/ddod_r50_fpn_1x_coco.py': 288,
    'ssd/ssd300_coco.py': 300,
    'ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py': 320,
}
# prediction in mmdet 3.5.1 reads a loss_cls that SSDHead does not have
CANNOT_PREDICT = (
    'ssd/ssd300_coco.py',
    'ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py',
)


@dataclass(frozen=True)
class Pair:
    """A row of a table: a student, a teacher, and where they are compared."""

    student: str
    teacher: str
    places: tuple[bool, ...]  # logits, neck, RoI maps

    def __str__(self):
        names = dict.fromkeys((self.student, self.teacher))
        return '-from-'.join(Path(name).stem for name in names)

    def losses(self, wanted):
        """Configs of the losses at places that have a yes, or a no."""
        return {
            name: loss
            for (name, loss), place in zip(
                LOSSES.items(), self.places, strict=True
            )
            if place is wanted
        }


def read_pairs():
    """Rows of the tables; with one config, student and teacher have it."""
    pairs = []
    for line in DOCS.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        configs = [cell.strip('`') for cell in cells if cell.endswith('.py`')]
        if configs:
            words = [cell for cell in cells if cell in ('yes', 'no')]
            places = tuple(word == 'yes' for word in words)
            pairs.append(Pair(configs[0], configs[-1], places))
    return pairs


PAIRS = read_pairs()


@cache
def shipped(config):
    return get_config(f'mmdet::{config}')


def tiny(config, factor):
    """A small detector of the same kind as a config of mmdet's."""
    factor = 1 if config in FULL_WIDTH else factor
    cfg = Config(dict(model=shrink(shipped(config).model, factor=factor)))
    changes = CHANGES.get(config, lambda f: {})(factor)
    cfg.merge_from_dict({f'model.{k}': v for k, v in changes.items()})
    return cfg.model


def distiller_config(pair, losses):
    return dict(
        type='DetectorDistiller',
        student=tiny(pair.student, factor=8),
        teacher=dict(config=tiny(pair.teacher, factor=4), allow_random=True),
        # an adapter on all maps, also where the channels are the same
        **{
            name.replace('loss', 'adapter'): dict(kernel_size=1)
            for name in losses
            if name != 'logit_loss'
        },
        **losses,
    )


def batch_for(config):
    """Images with the annotations that the config's pipeline loads."""
    loaded = {
        name
        for step in shipped(config).train_pipeline
        for name in ('with_mask', 'with_seg')
        if step.get(name)
    }
    side = SIZES.get(config, 96)
    batch = tiny_batch(sizes=((side, side), (side, side)))
    for sample in batch['data_samples']:
        if 'with_mask' in loaded:
            boxes = sample.gt_instances.bboxes.int().tolist()
            filled = np.zeros((len(boxes), side, side), np.uint8)
            for mask, (x1, y1, x2, y2) in zip(filled, boxes, strict=True):
                mask[y1:y2, x1:x2] = 1
            sample.gt_instances.masks = BitmapMasks(filled, side, side)
        if 'with_seg' in loaded:
            sem_seg = torch.zeros(1, side, side, dtype=torch.long)
            sample.gt_sem_seg = PixelData(sem_seg=sem_seg)
    return batch


def start_epoch(config, model):
    """What a run does at the start of an epoch, hooks of the config too."""
    MessageHub.get_current_instance().update_info('epoch', 0)
    runner = SimpleNamespace(
        model=model,
        epoch=0,
        max_epochs=1,
        logger=MagicMock(),
        train_dataloader=MagicMock(),
    )
    for hook in shipped(config).get('custom_hooks', ()):
        if hook.type == 'YOLOXModeSwitchHook':
            epochs = hook.num_last_epochs
            HOOKS.build(
                dict(type=hook.type, num_last_epochs=epochs)
            ).before_train_epoch(runner)


def backward(model, batch):
    """Losses of a batch, and the names of the parameters they train."""
    data = model.data_preprocessor(copy.deepcopy(batch), training=True)
    loss, losses = model.parse_losses(model(**data, mode='loss'))
    model.zero_grad()
    loss.backward()
    return losses, {
        name
        for name, value in model.named_parameters()
        if value.grad is not None
    }


@pytest.fixture(scope='module', params=PAIRS, ids=str)
def run(request):
    """Two training steps of a pair, and what was seen in them."""
    pair = request.param
    torch.manual_seed(0)
    distiller = MODELS.build(distiller_config(pair, pair.losses(True)))
    distiller.init_weights()
    distiller.train()
    start_epoch(pair.student, distiller)
    batch = batch_for(pair.student)
    _, plainly_trained = backward(distiller.student, batch)
    before = copy.deepcopy(distiller.teacher.state_dict())
    optimizer = torch.optim.SGD(distiller.parameters(), lr=1e-3)
    steps = []
    for _ in range(2):
        steps.append(backward(distiller, batch))
        torch.nn.utils.clip_grad_norm_(distiller.parameters(), 1)
        optimizer.step()
    yield SimpleNamespace(
        pair=pair,
        distiller=distiller,
        plainly_trained=plainly_trained,
        teacher_before=before,
        losses=[losses for losses, _ in steps],
        trained=[names for _, names in steps],
    )
    MessageHub.get_current_instance().pop_info('epoch')


def test_losses_are_finite_and_have_the_same_names(run):
    first, second = run.losses
    assert first.keys() == second.keys()
    places = {name.split('_')[2] for name in first if 'loss_wkd' in name}
    assert places == {name.split('_')[0] for name in run.pair.losses(True)}
    for losses in run.losses:
        assert all(value.isfinite() for value in losses.values())


def test_all_that_plain_training_trains_is_trained(run):
    adapters = {
        f'adapters.{name}'
        for name, _ in run.distiller.adapters.named_parameters()
    }
    assert bool(adapters) == any(run.pair.places[1:])
    assert run.plainly_trained
    for names in run.trained:
        assert names >= run.plainly_trained | adapters


def test_teacher_is_frozen(run):
    teacher = run.distiller.teacher
    assert not any(module.training for module in teacher.modules())
    assert not any(value.requires_grad for value in teacher.parameters())
    for name, value in teacher.state_dict().items():
        assert_close(value, run.teacher_before[name], rtol=0, atol=0)


def test_checkpoint_is_the_plain_students(run):
    config = run.pair.student
    student = MODELS.build(tiny(config, factor=8))
    student.load_state_dict(run.distiller.state_dict(), strict=True)
    batch = batch_for(config)
    outputs = []
    for model in (run.distiller.eval(), student.eval()):
        if config in CANNOT_PREDICT:
            data = model.data_preprocessor(copy.deepcopy(batch))
            outputs.append(model(data['inputs'], mode='tensor'))
        else:
            samples = model.test_step(copy.deepcopy(batch))
            outputs.append([dict(s.pred_instances.items()) for s in samples])
    assert any(len(scores) for scores in outputs[0])
    assert_close(*outputs, rtol=0, atol=0)


def test_what_is_not_in_the_table_is_refused(run):
    for name, loss in run.pair.losses(False).items():
        with pytest.raises(ValueError, match='neck_loss'):
            MODELS.build(distiller_config(run.pair, {name: loss}))


@pytest.mark.parametrize(
    'config',
    [
        'htc/htc_r50_fpn_1x_coco.py',
        'scnet/scnet_r50_fpn_1x_coco.py',
        'double_heads/dh-faster-rcnn_r50_fpn_1x_coco.py',
        'yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py',
    ],
)
@pytest.mark.parametrize('roi_loss_alone', [False, True])
def test_equal_detectors_are_at_distance_0(config, roi_loss_alone):
    pair = next(p for p in PAIRS if p.student == p.teacher == config)
    losses = dict(pair.losses(True), logit_loss=dict(type='KDLoss'))
    if roi_loss_alone:
        losses.pop('logit_loss')
    model = tiny(config, factor=8)
    distiller = MODELS.build(
        dict(
            type='DetectorDistiller',
            student=model,
            teacher=dict(config=model, allow_random=True),
            **losses,
        )
    ).eval()
    distiller.teacher.load_state_dict(distiller.student.state_dict())
    values, _ = backward(distiller, batch_for(config))
    compared = [v for name, v in values.items() if 'kd_' in name]
    assert compared
    assert all(value.abs() < 1e-5 for value in compared)


def test_hooks_of_the_shipped_config_reach_the_student():
    config = 'yolox/yolox_tiny_8xb8-300e_coco.py'
    neck_loss = dict(neck_loss=LOSSES['neck_loss'])
    pair = Pair(config, config, (False, True, False))
    distiller = MODELS.build(distiller_config(pair, neck_loss))
    assert not distiller.student.bbox_head.use_l1
    start_epoch(config, distiller)
    assert distiller.student.bbox_head.use_l1


def test_no_row_says_anything_but_yes_or_no():
    assert all(len(pair.places) == 3 for pair in PAIRS)
    assert len(set(PAIRS)) == len(PAIRS)


def test_exceptions_are_for_rows_of_the_table():
    tested = {pair.student for pair in PAIRS}
    assert tested >= {*CHANGES, *FULL_WIDTH, *SIZES, *CANNOT_PREDICT}


def test_shrink_changes_nothing_but_what_it_returns():
    model = shipped(PAIRS[0].student).model
    before = copy.deepcopy(model)
    small = shrink(model, num_classes=5, factor=16)
    assert model == before
    assert small.backbone.base_channels == 64 // 16
    assert small.neck.in_channels == [16, 32, 64, 128]
    assert small.roi_head.bbox_head.num_classes == 5
    assert small.backbone.init_cfg is None
    assert small.test_cfg.rcnn.score_thr == 0

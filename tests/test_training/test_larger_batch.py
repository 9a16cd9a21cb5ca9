"""Two ranks, or two accumulated batches, train as one batch of their sum.

Losses are means over anchors, RoIs and images, so the mean over parts is the
mean over all if parts are of one size. Here every image has as many of each:
images are of one size, no anchor is ignored, no proposal is suppressed, ground
truth is no proposal, and nothing is left to draw. Normalisation, which sees
the images of one rank, is frozen, and FPN maps keep the teacher's units.
"""

import json
from pathlib import Path

import pytest
import torch
from mmdet.registry import HOOKS, MODELS
from mmengine.hooks import Hook
from torch.testing import assert_close

from .conftest import free_port
from .crashing import train_in_ranks

pytestmark = pytest.mark.several_processes

# sums are grouped otherwise; float32 keeps about 1e-7 of each
TOLERANCE = dict(rtol=1e-4, atol=1e-6)


@pytest.fixture
def exact_config(run_config, tmp_path):
    """Config whose losses average, starting at given weights."""
    student = run_config.model.student
    student.backbone.norm_eval = True
    run_config.model.neck_loss.standardize = False
    rpn, proposals, rcnn = (
        student.train_cfg[name] for name in ('rpn', 'rpn_proposal', 'rcnn')
    )
    rpn.assigner.neg_iou_thr = rpn.assigner.pos_iou_thr
    proposals.nms.iou_threshold = 1.0
    proposals.nms_pre = 10_000
    rcnn.sampler.add_gt_as_proposals = False
    run_config.train_cfg = dict(
        type='EpochBasedTrainLoop', max_epochs=1, val_interval=5
    )
    run_config.param_scheduler = []
    # one step: in a second, rounding may move a RoI to another level
    run_config.train_dataloader.dataset.indices = 4
    run_config.optim_wrapper.optimizer.lr = 0.05
    distiller = MODELS.build(run_config.model)
    path = tmp_path / 'initial.pth'
    torch.save(dict(state_dict=distiller.state_dict(), meta={}), path)
    run_config.load_from = str(path)
    return run_config


class RecordLosses(Hook):
    def __init__(self):
        self.losses = []

    def after_train_iter(
        self, runner, batch_idx, data_batch=None, outputs=None
    ):
        self.losses.append(
            {k: v.item() for k, v in outputs.items() if 'loss' in k}
        )


@HOOKS.register_module(force=True)
class WriteLosses(RecordLosses):
    def after_train(self, runner):
        path = Path(runner.work_dir) / f'losses_{runner.rank}.json'
        path.write_text(json.dumps(self.losses))


def weights(state_dict):
    """Tensors of a distiller's state dict, those of the adapters included."""
    adapters = state_dict._metadata['']['mmwkd_adapters']
    return {**state_dict, **adapters}


@pytest.fixture
def large_batch(exact_config, train, tmp_path):
    """Weights after a step on 4 images, and its losses."""
    record = RecordLosses()
    runner = train(
        tmp_path / 'large',
        hooks=[record],
        **{'train_dataloader.batch_size': 4},
    )
    before = torch.load(exact_config.load_from, weights_only=False)
    after = weights(runner.model.state_dict())
    before = weights(before['state_dict'])
    for name, parameter in runner.model.student.named_parameters():
        assert parameter.grad is None or not torch.equal(
            before[name], after[name]
        ), name
    return after, record.losses


@pytest.fixture
def unbalanced(run_config):
    """Norms of two batches' gradients do not add up to that of their sum."""
    run_config.model.balance_interval = 0


def test_accumulated_batches(unbalanced, train, large_batch, tmp_path):
    expected, losses = large_batch
    record = RecordLosses()
    runner = train(
        tmp_path / 'small',
        hooks=[record],
        **{'optim_wrapper.accumulative_counts': 2},
    )
    assert len(record.losses) == 2 * len(losses) == 2
    assert_close(weights(runner.model.state_dict()), expected, **TOLERANCE)


def test_two_ranks(exact_config, large_batch, tmp_path):
    expected, losses = large_batch
    exact_config.custom_imports.imports.append(__name__)
    exact_config.custom_hooks = [dict(type='WriteLosses')]
    exact_config.experiment_name = 'ranks'
    assert train_in_ranks(exact_config.to_dict(), free_port()) == [0, 0]
    run = Path(exact_config.work_dir)
    ranks = [
        json.loads((run / f'losses_{rank}.json').read_text())
        for rank in range(2)
    ]
    assert ranks[0] != ranks[1]
    for mine, other, both in zip(*ranks, losses, strict=True):
        assert mine.keys() == other.keys() == both.keys()
        for name, value in both.items():
            mean = (mine[name] + other[name]) / 2
            assert mean == pytest.approx(value, rel=1e-4, abs=1e-6), name
    saved = torch.load(run / 'epoch_1.pth', weights_only=False)
    assert_close(weights(saved['state_dict']), expected, **TOLERANCE)

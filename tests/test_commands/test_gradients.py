"""`mmwkd gradients`: how strongly each loss pulls at the student."""

import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close

from mmwkd.cli import main
from mmwkd.gradients import gradient_norms
from mmwkd.testing import tiny_batch, tiny_faster_rcnn, tiny_retinanet
from tests.test_commands.pairs import write_pair


def test_gradient_norms_scale_with_the_weight_of_a_loss():
    def norms(weight):
        torch.manual_seed(0)
        distiller = MODELS.build(
            dict(
                type='DetectorDistiller',
                student=tiny_retinanet(),
                teacher=dict(config=tiny_retinanet(), allow_random=True),
                logit_loss=dict(type='KDLoss', loss_weight=weight),
            )
        )
        return gradient_norms(distiller, tiny_batch())

    once, twice = norms(1.0), norms(2.0)
    assert set(once) == {'loss_cls', 'loss_bbox', 'loss_kd_logit_kl'}
    assert_close(twice['loss_cls'], once['loss_cls'])
    for before, after in zip(
        once['loss_kd_logit_kl'], twice['loss_kd_logit_kl'], strict=True
    ):
        assert after == pytest.approx(2 * before, rel=1e-4)
        assert before > 0


def test_a_table_sets_losses_beside_that_of_the_classes(tmp_path, capsys):
    words = write_pair(
        tmp_path, tiny_faster_rcnn(), tiny_faster_rcnn(base_channels=16)
    )
    assert main(words) == 0
    capsys.readouterr()
    config = str(tmp_path / 'distilled.py')
    assert main(['gradients', config, '--batches', '1']) == 0
    lines = capsys.readouterr().out.replace('\u2502', ' ').splitlines()
    rows = {cells[0]: cells[1:] for cells in map(str.split, lines) if cells}
    assert rows['loss_cls'][-1] == '1.00'
    assert float(rows['loss_wkd_roi_mean'][1]) > 0


def test_a_plain_config_is_refused(tmp_path, capsys):
    write_pair(tmp_path, tiny_faster_rcnn())
    assert main(['gradients', str(tmp_path / 'student.py')]) == 2
    assert 'is not the config of a distiller' in capsys.readouterr().err

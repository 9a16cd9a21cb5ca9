"""`mmwkd gradients`: how strongly each loss pulls at the student."""

import re

import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close

from mmwkd.cli import main
from mmwkd.gradients import OWN, gradient_norms
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
    assert set(once) == {OWN, 'loss_cls', 'loss_bbox', 'loss_kd_logit_kl'}
    assert_close(twice[OWN], once[OWN])
    assert_close(twice['loss_cls'], once['loss_cls'])
    for before, after in zip(
        once['loss_kd_logit_kl'], twice['loss_kd_logit_kl'], strict=True
    ):
        assert after == pytest.approx(2 * before, rel=1e-4)
        assert before > 0


def test_a_table_shows_what_the_balance_does(tmp_path, capsys):
    words = write_pair(
        tmp_path, tiny_faster_rcnn(), tiny_faster_rcnn(base_channels=16)
    )
    assert main(words) == 0
    capsys.readouterr()
    words = ['gradients', str(tmp_path / 'distilled.py'), '--batches', '1']

    def pulls(*more):
        assert main([*words, *more]) == 0
        printed = capsys.readouterr().out
        lines = printed.replace('\u2502', ' ').splitlines()
        rows = [line.split() for line in lines if ' loss_' in line]
        return {row[0]: float(row[-1]) for row in rows}, printed

    shares, printed = pulls()
    assert 0 < shares['loss_cls'] < 2
    assert re.search(r'factors of these batches: logit \S+, roi \S+', printed)
    option = '--cfg-options', 'model.roi_loss.loss_weight=3'
    stronger, _ = pulls(*option)
    name = 'loss_wkd_roi_mean'
    assert stronger[name] == pytest.approx(3 * shares[name], rel=0.1)
    raw, printed = pulls('--cfg-options', 'model.balance_interval=0')
    assert raw[name] != pytest.approx(shares[name], rel=0.1)
    assert 'factors' not in printed


def test_a_plain_config_is_refused(tmp_path, capsys):
    write_pair(tmp_path, tiny_faster_rcnn())
    assert main(['gradients', str(tmp_path / 'student.py')]) == 2
    assert 'is not the config of a distiller' in capsys.readouterr().err

"""benchmarks/iteration.py trains the model of any config."""

import math

import pytest

from .conftest import ROOT


@pytest.fixture
def iteration(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'benchmarks'))
    from iteration import iteration

    return iteration


def test_of_a_distiller_takes_its_options(iteration, run_config, tmp_path):
    run_config.dump(tmp_path / 'config.py')
    plain, silent = (
        iteration(tmp_path / 'config.py', options)()
        for options in ({}, {'model.roi_loss.loss_weight': 0.0})
    )
    terms = [name for name in plain if name.startswith('loss_wkd_roi')]
    assert terms
    assert all(plain[name] > 0 and silent[name] == 0 for name in terms)
    assert math.isfinite(plain['loss'])


def test_of_a_detector_ignores_them(iteration, run_config, tmp_path):
    run_config.model = run_config.model.student
    run_config.dump(tmp_path / 'config.py')
    losses = iteration(
        tmp_path / 'config.py', {'model.roi_loss.loss_weight': 0.0}
    )()
    assert losses['loss_cls'] > 0
    assert not any('wkd' in name for name in losses)

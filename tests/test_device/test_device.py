"""On a GPU: no mixed devices, no waiting, no copies, bounded memory."""

import json
from pathlib import Path

import pytest

import mmwkd.functional as WF
from mmwkd.losses import __all__ as LOSSES

pytestmark = pytest.mark.slow

CEILINGS = Path(__file__).resolve().parents[2] / 'benchmarks/ceilings.json'

# they look at what they estimate, and nobody estimates within a step
ESTIMATORS = {
    name for name in WF.__all__ if name.endswith('_interrelation')
} - {'add_unrelated'}
WAITING = ('DataDependentOutputException', 'DynamicOutputShapeException')


def test_what_must_be_noticed_is_noticed(probe):
    faults = probe['faults']
    assert 'DeviceMismatch' in faults['mixed devices']['error']
    for name in ('item', 'branch', 'selection'):
        assert faults[name]['error'].startswith(WAITING)
    assert len(faults['copy from host']['copies']) == 1
    assert len(faults['copy to host']['waits']) == 1
    assert faults['gradient']['peak'] == 4.0


def test_every_function_and_loss_is_run(probe):
    run = {name.split()[0] for name in probe['functions']}
    maps = {'fitnet', 'pkd', 'cwd', 'diag', 'full'}
    terms = {f'{name}_term' for name in maps} | {'gaussian_wasserstein'}
    assert {name for name in WF.__all__ if name.islower()} <= run | terms
    assert maps <= run
    concrete = {
        name
        for name in LOSSES
        if name not in ('DistillationLoss', 'FeatureLoss', 'LogitLoss')
    }
    assert {name.split()[0] for name in probe['losses']} == concrete


def test_estimators_mix_no_devices(probe):
    for name in ESTIMATORS:
        error = probe['functions'][name]['error']
        assert error is None or error.startswith(WAITING), (name, error)


def test_a_step_mixes_no_devices_and_waits_for_none(probe):
    for kind in ('functions', 'losses', 'modules', 'memory'):
        for name, result in probe[kind].items():
            if name in ESTIMATORS:
                continue
            assert result['error'] is None, (name, result['error'])
            assert result['waits'] == [], name


def test_a_step_copies_nothing_from_the_host(probe):
    for kind in ('functions', 'losses', 'modules', 'memory'):
        for name, result in probe[kind].items():
            assert result.get('copies', []) == [], name


def test_memory_stays_below_its_ceiling(probe):
    ceilings = json.loads(CEILINGS.read_text())['peak MiB']
    assert set(ceilings) == set(probe['memory'])
    for name, result in probe['memory'].items():
        assert result['peak'] <= ceilings[name], name
        # a ceiling far above is none
        assert result['peak'] > 0.9 * ceilings[name], name


def test_half_precision_takes_no_more_memory(probe):
    peaks = {name: each['peak'] for name, each in probe['memory'].items()}
    halves = [name for name in peaks if name.endswith('float16')]
    assert halves
    for name in halves:
        assert peaks[name] <= peaks[name.replace('float16', 'float32')], name

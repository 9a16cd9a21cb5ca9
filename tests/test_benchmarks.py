"""The benchmarks measure what they say and notice a slower run."""

import copy
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

FOLDER = Path(__file__).resolve().parents[1] / 'benchmarks'


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def test_candidates_solve_the_same_problem():
    from losses import LogitProblem

    problem = LogitProblem(6, 9)
    expected = problem.textbook()
    for candidate in (problem.ours, problem.unrolled):
        assert_close(candidate(), expected, rtol=1e-3, atol=1e-6)
    assert expected.abs().max() > 1e-3


def test_alternate_calls_each_candidate_in_turn():
    from timing import alternate

    calls = []
    times = alternate(
        {name: lambda name=name: calls.append(name) for name in 'ab'}, 3
    )
    assert ''.join(calls) == 'ab' * 4
    assert times['a']['median_ms'] >= 0


def test_peak_memory_sees_what_a_call_allocates():
    from timing import peak_extra_mib

    peak = peak_extra_mib(lambda: torch.ones(8 * 2**20))
    if peak is None:
        pytest.skip('needs the memory counters of Linux')
    assert 30 < peak < 40


def run_of(ours):
    return dict(
        machine=dict(cpu='one'),
        rows=[
            {'R': 512, 'K': 81, 'ours ms': ours, 'products ms': 2.0},
            {'R': 1024, 'K': 81, 'ours ms': 9.0, 'products ms': 6.0},
        ],
    )


def compare(tmp_path, old, new):
    paths = [tmp_path / 'old.json', tmp_path / 'new.json']
    for path, run in zip(paths, (old, new), strict=True):
        path.write_text(json.dumps(run))
    return subprocess.run(
        [sys.executable, 'compare.py', *paths],
        cwd=FOLDER,
        capture_output=True,
        text=True,
    )


def test_a_slower_run_is_a_regression(tmp_path):
    result = compare(tmp_path, run_of(3.0), run_of(3.6))
    assert result.returncode == 1
    assert '1.20 REGRESSION' in result.stdout
    assert '1 of 2 figures are more than 15 % above' in result.stdout
    assert compare(tmp_path, run_of(3.0), run_of(3.3)).returncode == 0


def test_other_machines_are_compared_by_their_own_products():
    from compare import ratios

    old, new = run_of(3.0), copy.deepcopy(run_of(6.0))
    new['machine']['cpu'] = 'two'
    for row in new['rows']:
        row['products ms'] *= 2
    assert [ratio for *_, ratio in ratios(old, new)] == [1.0, 0.5]


def test_unrelated_files_are_refused(tmp_path):
    new = run_of(3.0)
    for row in new['rows']:
        row['K'] = 366
    result = compare(tmp_path, run_of(3.0), new)
    assert result.returncode == 1
    assert 'have no row in common' in result.stderr


def test_gradients_of_rois_are_told_apart():
    from gradients import roi_norms, roi_rows
    from mmdet.registry import MODELS

    from mmwkd.testing import tiny_batch, tiny_faster_rcnn

    torch.manual_seed(0)
    distiller = MODELS.build(
        dict(
            type='DetectorDistiller',
            student=tiny_faster_rcnn(),
            teacher=dict(config=tiny_faster_rcnn(), allow_random=True),
            logit_loss=dict(type='WKDLogitLoss'),
        )
    )
    batch = tiny_batch()
    seen = {}
    compared = distiller.compared_logits

    def compared_logits(*args):
        seen['logits'], _, seen['target'] = compared(*args)[:3]
        return compared(*args)

    distiller.compared_logits = compared_logits
    sums = roi_norms(distiller, batch)

    p, target = seen['logits'].softmax(1), seen['target']
    slopes = (p - torch.eye(p.shape[1])[target]).norm(dim=1)
    background = target == p.shape[1] - 1
    expected = [slopes[~background].sum(), slopes[background].sum()]
    assert sums[''].tolist() == [(~background).sum(), background.sum()]
    assert_close(sums['cross-entropy'], torch.stack(expected))
    assert set(sums) == {'', 'cross-entropy', 'transport', 'target'}
    for row in roi_rows(distiller, [batch]):
        assert 0 < row['share of background'] < 1


def test_the_pack_for_a_gpu_runs_dry(tmp_path, monkeypatch):
    import gpu

    monkeypatch.setenv('TEST_DEVICE', 'as it was')  # and will be again
    out = tmp_path / 'gpu.json'
    gpu.main(['--dry-run', '--minutes', '4', '--out', str(out)])
    parts = json.loads(out.read_text())
    assert parts.pop('toy') is True
    assert parts.pop('operators of torchvision') is False
    assert 'device' in parts.pop('machine')
    assert list(parts) == list(gpu.PARTS)
    for name, rows in parts.items():
        assert rows, name
        assert [row['error'] for row in rows if 'error' in row] == []
    worst = {
        kind: max(
            max(row['error of the value'], row['error of the gradient'])
            for row in parts['agreement']
            if row['dtype'] == kind
        )
        for kind in ('float32', 'TF32', 'float16')
    }
    assert worst['float32'] < 1e-4
    assert worst['TF32'] < 1e-4
    assert worst['float16'] < 1e-2
    (row,) = parts['tests']
    assert row['run'] > row['skipped']
    assert row['failed'] == {}
    (row,) = parts['ranks']
    assert row['ranks'] == 2
    assert row['gap of the ranks'] < 1e-5 < row['largest gradient']
    assert len(parts['studies'][-1]['planned']) == 6


def test_a_row_that_fails_or_takes_too_long_leaves_the_others(
    monkeypatch, tmp_path
):
    import gpu

    def broken(setting):
        yield {'row': 1}, dict
        yield {'row': 2}, lambda: 1 / 0
        yield {'row': 3}, dict
        raise RuntimeError('no more')

    def slow(setting):
        yield {'row': 1}, dict
        yield {'row': 2}, lambda: time.sleep(60)
        yield {'row': 3}, dict

    parts = {'broken': (broken, 1), 'slow': (slow, 3)}
    monkeypatch.setattr(gpu, 'PARTS', parts)
    setting = gpu.Setting('cpu', toy=True, folder=tmp_path)
    assert [*gpu.measure('broken', setting, 60)] == [
        {'row': 1},
        {'row': 2, 'error': 'ZeroDivisionError: division by zero'},
        {'row': 3},
        {'error': 'RuntimeError: no more'},
    ]
    assert [*gpu.measure('slow', setting, 0.2)] == [
        {'row': 1},
        {'row': 2, 'error': 'cut off after 0 s'},
    ]
    assert gpu.budget('broken', [*parts], 100) == 25
    assert gpu.budget('slow', [*parts], 60) == 60


def test_failures_on_a_device_are_listed(tmp_path, monkeypatch):
    import gpu

    monkeypatch.setenv('TEST_DEVICE', 'as it was')
    file = tmp_path / 'test_it.py'
    file.write_text(
        'import torch\n\n\ndef test_it():\n'
        "    assert torch.zeros(2).device.type == 'meta'\n\n\n"
        'def test_other():\n    assert 1 + 1 == 3\n'
    )
    setting = gpu.Setting('meta', toy=True, folder=tmp_path)
    row = gpu.run_tests(str(file), setting)
    assert row['run'] == 2
    ((name, message),) = row['failed'].items()
    assert name.endswith('test_it.test_other')
    assert 'assert (1 + 1) == 3' in message


def test_the_interval_of_a_median_is_of_its_order():
    from timing import median_interval

    assert median_interval([3, 1, 2]) == (1, 3)
    # of 10 values, the second and the ninth: 2 (1 + 10) / 2**10 is 2 %
    assert median_interval([*range(10)]) == (1, 8)


def test_the_overhead_of_a_step_is_that_of_each_round(monkeypatch):
    import step

    rounds = {
        'student': [1.0, 2.0, 1.0],
        'teacher': [1.0, 2.0, 1.0],
        'whole': [2.2, 4.0, 3.0],
    }
    monkeypatch.setattr(step, 'time_rounds', lambda parts, count: rounds)
    figures = step.compare_parts({}, 3)
    assert round(figures['overhead %'], 6) == 10
    assert figures['overhead from %'] == 0
    assert figures['overhead to %'] == 50

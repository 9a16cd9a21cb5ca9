"""The tool itself, and the demo from end to end."""

import importlib.util
import io
import json
import sys
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from studies.demo.console import Display
from studies.demo.pipeline import NUM_STEPS, Options, run_demo
from studies.grid.runs import Training, TrainingFailedError
from tests.studies.test_demo.test_recipes import REPO


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['demo.py', '--seed', '7'])
    # Its handler of SIGTERM would outlive the test.
    monkeypatch.setattr('signal.signal', lambda *_: None)
    spec = importlib.util.spec_from_file_location(
        'demo_tool', REPO / 'tools' / 'demo.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_failed_training_fails_the_tool(tool, tmp_path, monkeypatch, capsys):
    log = tmp_path / 'train.log'
    log.write_text('[nothing is markup]\nOSError: disk full\n')
    training = Training('teacher', ['train'], tmp_path, 'abc', tmp_path)

    def fail(options, display):
        raise TrainingFailedError(training, 3, log)

    monkeypatch.setattr('studies.demo.pipeline.run_demo', fail)

    assert tool.main() == 1
    shown = capsys.readouterr().out
    assert 'OSError: disk full' in shown
    assert '[nothing is markup]' in shown
    assert str(log) in shown


def test_an_interrupted_tool_says_how_to_go_on(tool, monkeypatch, capsys):
    def interrupt(options, display):
        raise KeyboardInterrupt

    monkeypatch.setattr('studies.demo.pipeline.run_demo', interrupt)

    assert tool.main() == 130
    assert 'the same command continues' in capsys.readouterr().out


def test_the_tool_passes_its_options_on(tool, monkeypatch):
    seen = []

    def stop(options, display):
        seen.append(options)
        raise KeyboardInterrupt

    monkeypatch.setattr('studies.demo.pipeline.run_demo', stop)
    tool.main()

    assert seen == [
        Options(
            repo=REPO,
            work_dir=Path('work_dirs/demo'),
            command='python tools/demo.py --seed 7',
            seed=7,
        )
    ]


def test_a_schedule_too_short_is_refused_at_once(tool, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['demo.py', '--max-iters', '1'])

    assert tool.main() == 1
    assert 'max_iters must be at least 2, got 1' in capsys.readouterr().out


@pytest.mark.slow
def test_the_demo_runs_and_is_not_repeated(tmp_path, monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    options = Options(
        repo=REPO,
        work_dir=tmp_path,
        command='python tools/demo.py',
        max_iters=2,
        num_train=8,
        num_val=8,
    )

    def run():
        output = io.StringIO()
        console = Console(file=output, width=100)
        return *run_demo(options, Display(console, NUM_STEPS)), output

    results, outputs, output = run()

    assert output.getvalue().count('done  [') == NUM_STEPS
    for model in results.models:
        assert model.iterations == 2
        assert model.ap_in_training == pytest.approx(
            model.accuracy.ap, abs=0.11
        )
        assert model.gflops is not None
    teacher, baseline, distilled = results.models
    assert distilled.parameters == baseline.parameters < teacher.parameters
    assert distilled.command.endswith(str(tmp_path / 'distilled'))
    document = json.loads(outputs.results.read_text())
    assert document['models']['distilled']['checkpoint'] == 'iter_2.pth'
    assert f'{baseline.images_per_second:.1f}' in outputs.report.read_text()
    for picture in outputs.detections, outputs.curves:
        with Image.open(picture) as image:
            assert len(image.convert('RGB').getcolors(1 << 24)) > 50

    _, _, output = run()

    assert output.getvalue().count('already done') == 4

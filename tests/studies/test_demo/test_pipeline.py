"""The tool, the plans of its trainings, and the demo from end to end."""

import importlib.util
import io
import json
import sys
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from PIL import Image
from rich.console import Console

from studies.demo import pictures
from studies.demo.measure import load_detector
from studies.demo.pipeline import (
    CONFIGS,
    NUM_STEPS,
    Options,
    plan,
    run_demo,
    show_results,
)
from studies.demo.results import TITLES, table_rows
from studies.grid.console import Steps
from studies.grid.runs import (
    Finished,
    Training,
    TrainingFailedError,
    run_training,
)
from studies.grid.scalars import History
from studies.grid.schedule import Workshop, mmdet_command
from studies.toydata.minicoco.generate import generate_minicoco
from tests.studies.test_demo.conftest import REPO
from tests.studies.test_grid.conftest import scalars_text

# Stands for tools/train.py: takes its checkpoint from elsewhere
FAKE_TRAINING = """
import os, pathlib, sys

weights, work_dir, log_text = sys.argv[1:]
log = pathlib.Path(work_dir) / '1' / 'vis_data' / 'scalars.json'
log.parent.mkdir(parents=True)
log.write_text(log_text)
os.link(weights, pathlib.Path(work_dir) / 'iter_2.pth')
(pathlib.Path(work_dir) / 'last_checkpoint').write_text('iter_2.pth')
"""


@pytest.fixture(scope='session')
def weights(tmp_path_factory):
    """Checkpoints of untrained detectors, by row."""
    folder = tmp_path_factory.mktemp('weights')
    files = {}
    for role in 'teacher', 'baseline':
        torch.manual_seed(0)
        model = MODELS.build(Config.fromfile(REPO / CONFIGS[role]).model)
        files[role] = folder / f'{role}.pth'
        torch.save({'state_dict': model.state_dict()}, files[role])
    return {**files, 'distilled': files['baseline']}


@pytest.fixture(scope='session')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('demo') / 'minicoco'
    return generate_minicoco(folder, num_train=8, num_val=2).root


@pytest.fixture
def options(tmp_path):
    return Options(
        repo=REPO,
        work_dir=tmp_path,
        command='python tools/demo.py',
        max_iters=2,
        num_train=2,
        num_val=2,
    )


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

    def fail(options, steps):
        raise TrainingFailedError(training, 3, log)

    monkeypatch.setattr('studies.demo.pipeline.run_demo', fail)

    assert tool.main() == 1
    shown = capsys.readouterr().out
    assert 'OSError: disk full' in shown
    assert '[nothing is markup]' in shown
    assert str(log) in shown


def test_the_tool_passes_its_options_on(tool, monkeypatch, capsys):
    given = []

    def stop(options, steps):
        given.append(options)
        raise KeyboardInterrupt

    monkeypatch.setattr('studies.demo.pipeline.run_demo', stop)

    assert tool.main() == 130
    assert 'the same command continues' in capsys.readouterr().out
    assert given == [
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


def planned(options, data, role='teacher', teacher=None):
    """The config that a plan trains with."""
    run = plan(role, options, data, teacher)
    config = Config.fromfile(REPO / run.config)
    given = dict(option.split('=', 1) for option in run.options)
    config.merge_from_dict(
        {k: int(v) if v.isdigit() else v for k, v in given.items()}
    )
    return config


@pytest.mark.parametrize('max_iters', [2, 3, 60])
def test_a_quick_look_shrinks_the_whole_schedule(options, data, max_iters):
    options = Options(REPO, options.work_dir, '', max_iters=max_iters)
    config = planned(options, data)

    assert plan('teacher', options, data).max_iters == max_iters
    assert config.train_cfg.max_iters == max_iters
    assert 1 <= config.train_cfg.val_interval <= max_iters
    assert 1 <= config.default_hooks.checkpoint.interval <= max_iters
    assert 1 <= config.default_hooks.logger.interval <= max_iters
    warm_up, decay = config.param_scheduler
    assert 0 == warm_up.begin < warm_up.end == decay.begin
    assert decay.begin < decay.end == max_iters


def test_a_whole_training_has_the_hyper_parameters_of_its_config(data):
    config = planned(Options(REPO, Path(), ''), data)
    shipped = Config.fromfile(REPO / CONFIGS['teacher'])

    for key in 'model', 'optim_wrapper', 'param_scheduler', 'train_cfg':
        assert config[key] == shipped[key]
    for split in 'train', 'val', 'test':
        assert config[f'{split}_dataloader'].dataset.data_root == f'{data}/'


def fake_command(weights, box_ap):
    script = weights['teacher'].with_name('fake.py')
    script.write_text(FAKE_TRAINING)
    log = scalars_text([1, 2]).replace('mAP": 0.00', f'mAP": {box_ap}')

    def command(run, work_dir):
        files = [script, weights[run.row], work_dir]
        return [sys.executable, *map(str, files), log]

    return command


@pytest.fixture(scope='session')
def demo(weights, tmp_path_factory):
    """What a demo leaves whose trainings are not trainings, twice."""
    folder = tmp_path_factory.mktemp('demo')
    options = Options(
        repo=REPO,
        work_dir=folder / 'demo',
        command='python tools/demo.py --max-iters 2',
        max_iters=2,
        num_train=2,
        num_val=2,
    )

    def run():
        output = io.StringIO()
        steps = Steps(Console(file=output, width=100), NUM_STEPS)
        return *run_demo(
            options, steps, fake_command(weights, '0.000')
        ), output

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, '_DPI', 40)
        return run(), run()


def test_the_demo_measures_three_models_and_draws_them(demo):
    _, (results, outputs, output) = demo

    assert output.getvalue().count('done  [') == NUM_STEPS
    teacher, baseline, distilled = results.models
    for model in results.models:
        assert model.iterations == 2
        assert model.ap_in_training == model.accuracy.ap == 0.0
        assert model.gflops > 0
        assert model.images_per_second > 0
    assert distilled.parameters == baseline.parameters < teacher.parameters
    assert distilled.gflops == pytest.approx(baseline.gflops, rel=0.2)
    document = json.loads(outputs.results.read_text())
    assert document['models']['distilled']['checkpoint'] == 'iter_2.pth'
    assert f'{baseline.images_per_second:.1f}' in outputs.report.read_text()
    for picture in outputs.detections, outputs.curves:
        with Image.open(picture) as image:
            assert len(image.convert('RGB').getcolors(1 << 24)) > 50


def test_the_demo_is_not_repeated(demo):
    _, (_, _, output) = demo

    assert output.getvalue().count('already done') == 4


def test_the_end_has_the_table_and_the_files(results, demo):
    output = io.StringIO()
    steps = Steps(Console(file=output, width=100), NUM_STEPS)

    show_results(steps, results, demo[0][1])

    for row in table_rows(results):
        assert all(cell in output.getvalue() for cell in row)
    assert '+4.1 box AP' in output.getvalue()
    assert str(demo[0][1].report) in output.getvalue()


def test_a_checkpoint_that_scores_otherwise_is_no_result(weights, options):
    steps = Steps(Console(file=io.StringIO()), NUM_STEPS)

    with pytest.raises(RuntimeError, match='teacher: .* 0.0 .* 22'):
        run_demo(options, steps, fake_command(weights, '0.22'))


@pytest.mark.slow
def test_the_distilled_student_trains_with_the_commands_of_the_demo(
    options, data, weights, monkeypatch
):
    """Really; the other trainings are plain ones of mmdet."""
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.setenv('PYTHONPATH', str(REPO / 'tests' / 'quick_dump'))
    teacher = Finished(weights['teacher'], History(), 0.0, 1)
    run = plan('distilled', options, data, teacher)
    workshop = Workshop(
        repo=REPO,
        work_dir=options.work_dir,
        table=options.work_dir / 'runs.csv',
        jobs=1,
        make_command=mmdet_command,
    )
    training = workshop.prepare(run, {'CUDA_VISIBLE_DEVICES': ''})

    finished = run_training(training, lambda history: None)

    assert finished.history.ap_at(2) is not None
    assert any('wkd' in t for t in finished.history.train[-1].terms)
    plain = Config.fromfile(REPO / CONFIGS['baseline'])
    load_detector(plain, finished.checkpoint)


def test_titles_are_those_of_the_rows():
    assert list(TITLES) == list(CONFIGS)

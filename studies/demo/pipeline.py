"""The demo from end to end: data, three trainings, measurements, report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from mmdet.models.detectors import BaseDetector
from mmengine.config import Config
from rich.table import Table
from rich.text import Text

from mmwkd.files import atomic_write
from mmwkd.version import __version__
from studies.demo.measure import (
    Evaluation,
    check_promise,
    count_gflops,
    evaluate,
    load_detector,
    time_detectors,
)
from studies.demo.pictures import (
    Column,
    draw_curves,
    draw_detections,
    pick_samples,
)
from studies.demo.report import Pictures, render_report
from studies.demo.results import (
    TITLES,
    Dataset,
    Model,
    Results,
    table_rows,
    verdict,
    write_results,
)
from studies.grid.console import Step, Steps
from studies.grid.grid import Grid, Row
from studies.grid.machine import describe_machine, git_commit
from studies.grid.plan import Run, plan_runs
from studies.grid.runs import (
    Finished,
    Start,
    clear,
    how_to_start,
    run_training,
)
from studies.grid.scalars import History
from studies.grid.schedule import MakeCommand, Workshop, mmdet_command
from studies.grid.theme import DARK, LIGHT
from studies.toydata.minicoco.categories import CLASSES
from studies.toydata.minicoco.generate import MiniCoco, generate_minicoco

# the rows of the grid, by what they are to each other
CONFIGS = {
    'teacher': 'configs/minicoco/faster-rcnn_r18-half_fpn_800_minicoco.py',
    'baseline': 'configs/minicoco/faster-rcnn_r18-eighth_fpn_800_minicoco.py',
    'distilled': 'configs/minicoco/'
    'wkd-lf_faster-rcnn_r18-eighth-from-r18-half_fpn_800_minicoco.py',
}
# minicoco, three trainings, accuracy, speed, report
NUM_STEPS = 7

# Iterations between two lines of the log: one line every few seconds, which
# is what the progress display lives on.
_LOG_INTERVAL = 10
_REMARKS: dict[Start, str] = {
    'done': ', already done',
    'resume': ', resumed',
    'afresh': '',
}


@dataclass(frozen=True)
class Options:
    """Options of the command line."""

    repo: Path
    work_dir: Path
    command: str  # the command line itself, for the record
    seed: int = 0
    max_iters: int | None = None  # None: the configs' own
    num_train: int | None = None  # None: minicoco's default
    num_val: int | None = None
    force: bool = False

    def __post_init__(self) -> None:
        # a schedule has a warm-up and a decay
        if self.max_iters is not None and self.max_iters < 2:
            raise ValueError(
                f'max_iters must be at least 2, got {self.max_iters}'
            )


class Outputs(NamedTuple):
    """The files that a demo leaves."""

    report: Path
    detections: Path
    curves: Path
    results: Path


class _Trained(NamedTuple):
    command: str  # as one would type it
    run: Finished

    @property
    def ap_in_training(self) -> float | None:
        """Box AP of the last iteration; None if killed just before it."""
        return self.run.history.ap_at(self.run.history.iteration)


def run_demo(
    options: Options,
    steps: Steps,
    make_command: MakeCommand = mmdet_command,
) -> tuple[Results, Outputs]:
    """Run all steps that an earlier call has not finished.

    Args:
        options: What to do.
        steps: Where to show it.
        make_command: Makes the command line of a training.

    Returns:
        The numbers and where the files are.

    Raises:
        TrainingFailedError: If a training fails.
        ValueError: If an option cannot be.
        RuntimeError: If a checkpoint is not the detector that was trained.
    """
    # Trainings run in the repository, wherever this process does.
    options = replace(options, work_dir=options.work_dir.resolve())
    options.work_dir.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    steps.console.print('mmwkd demo: distil a detector on this CPU')
    facts = (
        f'{machine.cpu}, {machine.threads} of {machine.cores} cores; '
        f'PyTorch {machine.versions["torch"]}; all files go to '
        f'{options.work_dir}\n'
    )
    steps.console.print(Text(facts, style='dim'), soft_wrap=True)
    data = _draw_data(options, steps)
    workshop = Workshop(
        repo=options.repo,
        work_dir=options.work_dir,
        table=options.work_dir / 'runs.csv',
        jobs=1,
        make_command=make_command,
    )
    trained: dict[str, _Trained] = {}
    for role in CONFIGS:
        teacher = trained['teacher'].run if role == 'distilled' else None
        run = plan(role, options, data.root, teacher)
        trained[role] = _train(run, workshop, options, data, steps)
    # A distilled student is a plain student: it has no config of its own.
    configs = {
        role: _plain_config(role, options, data.root) for role in CONFIGS
    }
    detectors: dict[str, BaseDetector] = {}
    evaluations: dict[str, Evaluation] = {}
    with steps.step('accuracy') as step:
        for role, made in trained.items():
            detector = load_detector(configs[role], made.run.checkpoint)
            detectors[role] = detector
            evaluations[role] = _evaluate(
                role, made, detector, configs[role], step
            )
        step.outcome = 'each checkpoint scored as a plain detector'
    with steps.step('speed and size') as step:
        speeds = time_detectors(
            list(detectors.values()), configs['baseline'], on_image=step.update
        )
        step.outcome = 'in turns on the same images'
        models = {
            role: Model(
                title=TITLES[role],
                config=CONFIGS[role],
                command=made.command,
                checkpoint=made.run.checkpoint.name,
                accuracy=evaluations[role].accuracy,
                ap_in_training=made.ap_in_training,
                parameters=sum(
                    w.numel() for w in detectors[role].parameters()
                ),
                gflops=count_gflops(detectors[role], configs[role]),
                images_per_second=speed,
                iterations=made.run.history.iteration,
                minutes=made.run.minutes,
                attempts=made.run.attempts,
            )
            for (role, made), speed in zip(
                trained.items(), speeds, strict=True
            )
        }
    parameters = data.parameters
    results = Results(
        command=options.command,
        date=datetime.now().astimezone().isoformat(timespec='seconds'),
        commit=git_commit(options.repo),
        seed=options.seed,
        machine=machine,
        dataset=Dataset(
            num_train=parameters.num_train,
            num_val=parameters.num_val,
            image_size=parameters.image_size,
            num_categories=len(CLASSES),
            seed=parameters.seed,
        ),
        **models,
    )
    with steps.step('report') as step:
        histories = {r: made.run.history for r, made in trained.items()}
        outputs = _write_outputs(
            options, results, histories, evaluations, data.root
        )
        step.outcome = f'{len(outputs)} files'
    return results, outputs


def show_results(steps: Steps, results: Results, outputs: Outputs) -> None:
    """Print the table of results, the verdict and where the files are."""
    header, *rows = table_rows(results)
    table = Table(box=None, header_style='bold', pad_edge=False)
    for index, name in enumerate(header):
        table.add_column(
            name, justify='right' if index else 'left', no_wrap=True
        )
    for row in rows:
        table.add_row(*row)
    outcome = verdict(results)
    colour = {'good': 'green', 'bad': 'red', 'even': 'yellow'}[outcome.tone]
    show = steps.console.print
    show()
    show(table)
    show()
    show(Text(outcome.headline, style=f'bold {colour}'))
    show(Text(f'{outcome.text}\n'))
    for name, file in outputs._asdict().items():
        show(Text(f'{name:<12}{file}'), soft_wrap=True)


def plan(
    role: str,
    options: Options,
    data_root: Path,
    teacher: Finished | None = None,
) -> Run:
    """The run of one row.

    Args:
        role: A key of ``CONFIGS``.
        options: The seed, and iterations, with which the schedule shrinks.
        data_root: Where minicoco is.
        teacher: The teacher of a distillation.
    """
    config = Config.fromfile(options.repo / CONFIGS[role])
    length = options.max_iters or config.train_cfg.max_iters
    changes: dict[str, Any] = {
        **_data_options(data_root),
        **_schedule_options(config, length),
        'default_hooks.logger.interval': min(_LOG_INTERVAL, length // 2),
    }
    if teacher is not None:
        changes['model.teacher.checkpoint'] = str(teacher.checkpoint)
    seeds = (options.seed,)
    grid = Grid(
        dataset='minicoco',
        seeds=seeds,
        baseline='baseline',
        rows={role: Row(CONFIGS[role], changes, seeds)},
        options={},
    )
    (run,) = plan_runs(grid, options.repo)
    return run


def _data_options(root: Path) -> dict[str, str]:
    annotations = str(root / 'annotations' / 'instances_val.json')
    return {
        **{
            f'{split}_dataloader.dataset.data_root': f'{root}/'
            for split in ('train', 'val', 'test')
        },
        'val_evaluator.ann_file': annotations,
        'test_evaluator.ann_file': annotations,
    }


def _schedule_options(config: Config, length: int) -> dict[str, int]:
    """Shrink a schedule; only points at 0 become 0."""
    full = config.train_cfg.max_iters
    if length == full:
        return {}
    points = {
        'train_cfg.max_iters': full,
        'train_cfg.val_interval': config.train_cfg.val_interval,
        'default_hooks.checkpoint.interval': (
            config.default_hooks.checkpoint.interval
        ),
        **{
            f'param_scheduler.{index}.{key}': scheduler[key]
            for index, scheduler in enumerate(config.param_scheduler)
            for key in ('begin', 'end')
        },
    }
    return {key: -(-point * length // full) for key, point in points.items()}


def _draw_data(options: Options, steps: Steps) -> MiniCoco:
    asked = {'num_train': options.num_train, 'num_val': options.num_val}
    with steps.step('minicoco') as step:
        data = generate_minicoco(
            options.work_dir / 'minicoco',
            **{name: n for name, n in asked.items() if n is not None},
            force=options.force,
            progress=step.track,
        )
        parameters = data.parameters
        step.outcome = f'{parameters.num_train} + {parameters.num_val} images'
        if not data.generated:
            step.outcome += ', already done'
    return data


def _train(
    run: Run,
    workshop: Workshop,
    options: Options,
    data: MiniCoco,
    steps: Steps,
) -> _Trained:
    # The demo is about CPUs, also on a machine that has a GPU.
    training = workshop.prepare(run, {'CUDA_VISIBLE_DEVICES': ''})
    drawn = asdict(data.parameters)
    training = training._replace(
        title=TITLES[run.row],
        fingerprint=f'{training.fingerprint} {__version__} {drawn}',
    )
    if options.force:
        clear(training.work_dir)
    start = how_to_start(training)
    with steps.step(training.title) as step:

        def show(history: History) -> None:
            step.update(history.iteration, run.max_iters or 0, _note(history))

        finished = run_training(training, show)
        ap = finished.history.validations[-1].accuracy.ap
        step.outcome = (
            f'box AP {ap:.1f}, {run.max_iters} iterations, '
            f'{finished.minutes:.1f} min{_REMARKS[start]}'
        )
    command = ['python', *training.command[1:]]
    # paths inside the repository as one types them there
    prefix = f'{options.repo}/'
    typed = shlex.join(part.removeprefix(prefix) for part in command)
    return _Trained(typed, finished)


def _note(history: History) -> str:
    parts = []
    if history.train:
        parts.append(f'loss {history.train[-1].loss:.3f}')
    if history.validations:
        parts.append(f'box AP {history.validations[-1].accuracy.ap:.1f}')
    return '  '.join(parts) or 'starting'


def _plain_config(role: str, options: Options, data_root: Path) -> Config:
    plain = 'baseline' if role == 'distilled' else role
    config = Config.fromfile(options.repo / CONFIGS[plain])
    config.merge_from_dict(_data_options(data_root))
    return config


def _evaluate(
    role: str,
    made: _Trained,
    detector: BaseDetector,
    config: Config,
    step: Step,
) -> Evaluation:
    """Score one of three detectors, and check that it is what was trained."""
    part = list(CONFIGS).index(role)

    def show(done: int, total: int) -> None:
        step.update(part * total + done, len(CONFIGS) * total, TITLES[role])

    evaluation = evaluate(detector, config, show)
    if made.ap_in_training is not None:
        check_promise(
            evaluation.accuracy.ap, made.ap_in_training, TITLES[role]
        )
    return evaluation


def _write_outputs(
    options: Options,
    results: Results,
    histories: Mapping[str, History],
    evaluations: Mapping[str, Evaluation],
    data_root: Path,
) -> Outputs:
    outputs = Outputs(
        report=options.work_dir / 'report.html',
        detections=options.work_dir / 'detections.png',
        curves=options.work_dir / 'curves.png',
        results=options.work_dir / 'results.json',
    )
    samples = pick_samples(data_root)
    columns = [
        Column(
            f'{TITLES[role]}: {evaluation.accuracy.ap:.1f} AP',
            [evaluation.detections[sample.image_id] for sample in samples],
        )
        for role, evaluation in evaluations.items()
    ]
    pictures = Pictures(
        curves=draw_curves(histories, TITLES, LIGHT),
        curves_dark=draw_curves(histories, TITLES, DARK),
        detections=draw_detections(samples, columns, CLASSES),
    )
    distilled = options.repo / CONFIGS['distilled']
    page = render_report(results, pictures, distilled)
    contents = {
        outputs.curves: pictures.curves,
        outputs.detections: pictures.detections,
        outputs.report: page.encode(),
    }
    for path, content in contents.items():
        with atomic_write(path, force=True) as file:
            file.write(content)
    write_results(results, outputs.results)
    return outputs

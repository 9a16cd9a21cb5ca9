"""The demo from end to end: data, three trainings, measurements, report."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from mmdet.models.detectors import BaseDetector
from mmengine.config import Config
from PIL import Image

from mmwkd.files import atomic_write
from studies.demo.console import Display, Step
from studies.demo.curves import Curves, draw_curves
from studies.demo.detections import (
    Column,
    draw_detections,
    pick_samples,
)
from studies.demo.measure import (
    Evaluation,
    check_promise,
    count_gflops,
    count_parameters,
    evaluate,
    load_detector,
    time_detectors,
)
from studies.demo.recipes import (
    BASELINE,
    DISTILLED,
    TEACHER,
    Recipe,
    TrainedTeacher,
    plan_training,
    write_config,
)
from studies.demo.report import Pictures, Snippet, render_report
from studies.demo.results import (
    Dataset,
    Model,
    Results,
    write_results,
)
from studies.grid.machine import describe_machine, git_commit
from studies.grid.runs import (
    Finished,
    Start,
    Training,
    clear,
    how_to_start,
    run_training,
)
from studies.grid.scalars import History
from studies.grid.theme import DARK, LIGHT
from studies.toydata.minicoco.categories import CLASSES
from studies.toydata.minicoco.generate import MiniCoco, generate_minicoco

# minicoco, three trainings, accuracy, speed, report
NUM_STEPS = 7

_REMARKS: dict[Start, str] = {
    'done': ', already done',
    'resume': ', resumed',
    'afresh': '',
}


@dataclass(frozen=True)
class Options:
    """What the command line says."""

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
    recipe: Recipe
    config: Path
    command: str  # as one would type it
    fingerprint: str
    run: Finished

    @property
    def ap_in_training(self) -> float | None:
        """Box AP of the last iteration; None if killed just before it."""
        return self.run.history.ap_at(self.run.history.iteration)


def run_demo(options: Options, display: Display) -> tuple[Results, Outputs]:
    """Run all steps; those that an earlier call has finished are kept.

    Args:
        options: What to do.
        display: Where to show it.

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
    display.headline(
        'mmwkd demo: distil a detector on this CPU',
        f'{machine.cpu}, {machine.threads} of {machine.cores} cores; '
        f'PyTorch {machine.versions["torch"]}; all files go to '
        f'{options.work_dir}',
    )
    data = _draw_data(options, display)
    teacher = _train(TEACHER, options, data, display)
    baseline = _train(BASELINE, options, data, display)
    distilled = _train(
        DISTILLED,
        options,
        data,
        display,
        teacher=TrainedTeacher(
            teacher.config, teacher.run.checkpoint, teacher.fingerprint
        ),
    )
    trained = (teacher, baseline, distilled)
    # A distilled student is a plain student: it has no config of its own.
    configs = [
        Config.fromfile(made.config) for made in (teacher, baseline, baseline)
    ]
    with display.step('accuracy', 'batches') as step:
        detectors, evaluations = _score(trained, configs, step)
        step.outcome = 'each checkpoint scored as a plain detector'
    with display.step('speed and size', 'images') as step:
        speeds = time_detectors(detectors, configs[1], on_image=step.update)
        step.outcome = 'in turns on the same images'
        models = list(
            map(_model, trained, configs, detectors, evaluations, speeds)
        )
    results = Results(
        command=options.command,
        date=datetime.now().astimezone().isoformat(timespec='seconds'),
        commit=git_commit(options.repo),
        seed=options.seed,
        machine=machine,
        dataset=_describe(data),
        **dict(zip((m.recipe.role for m in trained), models, strict=True)),
    )
    with display.step('report', 'files') as step:
        outputs = _write_outputs(options, results, trained, evaluations, data)
        step.outcome = f'{len(outputs)} files'
    return results, outputs


def _draw_data(options: Options, display: Display) -> MiniCoco:
    asked = {'num_train': options.num_train, 'num_val': options.num_val}
    with display.step('minicoco', 'images') as step:
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


def _describe(data: MiniCoco) -> Dataset:
    parameters = data.parameters
    return Dataset(
        num_train=parameters.num_train,
        num_val=parameters.num_val,
        image_size=parameters.image_size,
        num_categories=len(CLASSES),
        seed=parameters.seed,
    )


def _train(
    recipe: Recipe,
    options: Options,
    data: MiniCoco,
    display: Display,
    teacher: TrainedTeacher | None = None,
) -> _Trained:
    plan = plan_training(
        recipe,
        repo=options.repo,
        data_root=data.root,
        data_parameters=asdict(data.parameters),
        seed=options.seed,
        max_iters=options.max_iters,
        teacher=teacher,
    )
    config = options.work_dir / 'configs' / f'{recipe.role}.py'
    write_config(plan, config, repo=options.repo)
    work_dir = options.work_dir / recipe.role
    arguments = [
        str(options.repo / 'tools' / 'train.py'),
        str(config),
        '--work-dir',
        str(work_dir),
    ]
    training = Training(
        title=recipe.title,
        command=[sys.executable, *arguments],
        work_dir=work_dir,
        fingerprint=plan.fingerprint,
        cwd=options.repo,
        # The demo is about CPUs, also on a machine that has a GPU.
        environment={'CUDA_VISIBLE_DEVICES': ''},
    )
    if options.force:
        clear(work_dir)
    start = how_to_start(training)
    with display.step(recipe.title, 'iterations') as step:

        def show(history: History) -> None:
            step.update(history.iteration, plan.max_iters, _note(history))

        run = run_training(training, show)
        step.outcome = (
            f'box AP {run.history.validations[-1].accuracy.ap:.1f}, '
            f'{plan.max_iters} iterations, {run.minutes:.1f} min'
            f'{_REMARKS[start]}'
        )
    command = shlex.join(['python', *_as_typed(arguments, options.repo)])
    return _Trained(recipe, config, command, plan.fingerprint, run)


def _note(history: History) -> str:
    parts = []
    if history.train:
        parts.append(f'loss {history.train[-1].loss:.3f}')
    if history.validations:
        parts.append(f'box AP {history.validations[-1].accuracy.ap:.1f}')
    return '  '.join(parts) or 'starting'


def _as_typed(arguments: Sequence[str], repo: Path) -> list[str]:
    """Paths inside the repository as one types them there."""
    return [argument.removeprefix(f'{repo}/') for argument in arguments]


def _score(
    trained: Sequence[_Trained], configs: Sequence[Config], step: Step
) -> tuple[list[BaseDetector], list[Evaluation]]:
    detectors: list[BaseDetector] = []
    evaluations: list[Evaluation] = []
    for part, (made, config) in enumerate(zip(trained, configs, strict=True)):
        detector = load_detector(config, made.run.checkpoint)
        detectors.append(detector)
        evaluations.append(_evaluate(made, detector, config, step, part))
    return detectors, evaluations


def _evaluate(
    made: _Trained,
    detector: BaseDetector,
    config: Config,
    step: Step,
    part: int,
) -> Evaluation:
    """Score one of three detectors, and check that it is what was trained."""

    def show(done: int, total: int) -> None:
        step.update(part * total + done, 3 * total, made.recipe.title)

    evaluation = evaluate(detector, config, show)
    if made.ap_in_training is not None:
        check_promise(
            evaluation.accuracy.ap, made.ap_in_training, made.recipe.title
        )
    return evaluation


def _model(
    made: _Trained,
    config: Config,
    detector: BaseDetector,
    evaluation: Evaluation,
    speed: float,
) -> Model:
    return Model(
        title=made.recipe.title,
        config=made.recipe.config,
        command=made.command,
        checkpoint=made.run.checkpoint.name,
        accuracy=evaluation.accuracy,
        ap_in_training=made.ap_in_training,
        parameters=count_parameters(detector),
        gflops=count_gflops(detector, config),
        images_per_second=speed,
        iterations=made.run.history.iteration,
        minutes=made.run.minutes,
        attempts=made.run.attempts,
    )


def _write_outputs(
    options: Options,
    results: Results,
    trained: Sequence[_Trained],
    evaluations: Sequence[Evaluation],
    data: MiniCoco,
) -> Outputs:
    outputs = Outputs(
        report=options.work_dir / 'report.html',
        detections=options.work_dir / 'detections.png',
        curves=options.work_dir / 'curves.png',
        results=options.work_dir / 'results.json',
    )
    curves = Curves(*(made.run.history for made in trained))
    titles = {made.recipe.role: made.recipe.title for made in trained}
    pictures = Pictures(
        curves=draw_curves(curves, titles, LIGHT),
        curves_dark=draw_curves(curves, titles, DARK),
        detections=_draw_detections(data, results, evaluations),
    )
    with atomic_write(outputs.curves, force=True) as file:
        file.write(pictures.curves)
    with atomic_write(outputs.detections, force=True) as file:
        pictures.detections.save(file, format='PNG')
    write_results(results, outputs.results)
    page = render_report(
        results,
        pictures,
        shipped=_snippet(options.repo / DISTILLED.config),
        derived=[_snippet(made.config) for made in trained],
    )
    with atomic_write(outputs.report, force=True) as file:
        file.write(page.encode())
    return outputs


def _draw_detections(
    data: MiniCoco, results: Results, evaluations: Sequence[Evaluation]
) -> Image.Image:
    samples = pick_samples(data.root)
    columns = [
        Column(
            f'{model.title}: {model.accuracy.ap:.1f} AP',
            [evaluation.detections[s.image_id] for s in samples],
        )
        for model, evaluation in zip(results.models, evaluations, strict=True)
    ]
    return draw_detections(samples, columns, CLASSES)


def _snippet(file: Path) -> Snippet:
    return Snippet(file.name, file.read_text(encoding='utf-8').strip())

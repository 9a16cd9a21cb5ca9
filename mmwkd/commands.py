"""What the commands do: their arguments, and what can be wrong with them.

An error that users can mend is a ValueError or an OSError of one sentence.
Nothing here loads torch before the command line is found to be in order.
"""

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import tyro

from mmwkd.cost_options import CollectOptions, EstimateOptions
from mmwkd.files import check_writable
from mmwkd.quiet import quiet

_ESTIMATE, _COLLECT = EstimateOptions(), CollectOptions()

# what starts the processes of a training, before `-m mmwkd train ...`
_STARTS = {
    'pytorch': (
        *(sys.executable, '-m', 'torch.distributed.run'),
        *('--nproc-per-node', 'auto'),
    ),
    'slurm': ('srun', sys.executable),
}


def distil(
    student: Path,
    /,
    *train_options: str,
    teacher: Annotated[
        tuple[str, str], tyro.conf.arg(metavar='CONFIG CHECKPOINT')
    ],
    out: Path = Path('my_distillation.py'),
    train: bool = False,
    dry_run: bool = False,
    force: bool = False,
) -> list[str] | None:
    """Look at a student and a teacher, and write the config that distils.

    Both detectors are built and run once, to find the places where they can
    be compared. One training step on images of the student's own config
    shows that it works, and what it costs. The written config is short: read
    it, and change what you like.

    Args:
        student: Config that trains the student with plain mmdet.
        *train_options: Options of mmdet's train.py, such as --amp, --resume
            or --cfg-options key=value; they need --train.
        teacher: Config and checkpoint of the teacher, a detector of the same
            classes. The config may be of mmdet, as in 'mmdet::...'; the
            checkpoint may be a URL.
        out: Config to write.
        train: Whether to train it then, with mmdet's own runner. All options
            of train.py can be added, such as --amp, or --launcher pytorch
            for all GPUs of the machine; --launcher slurm goes through srun.
        dry_run: Whether nothing is written.
        force: Whether an existing config may be replaced.

    Returns:
        Command line of mmdet's train.py, if it is to be run.
    """
    if train and dry_run:
        raise ValueError('--dry-run writes no config to --train')
    if train_options and not train:
        raise ValueError(
            f'{" ".join(train_options)} is no option of distil; options of '
            'training need --train'
        )
    processes = os.environ.get('WORLD_SIZE', '1')
    if processes != '1':
        raise ValueError(
            f'{processes} processes would look at the same detectors: start '
            'distil alone, and --train --launcher pytorch starts one training '
            'process for each GPU'
        )
    launcher = _launcher(train_options)
    if '::' in str(student):
        raise ValueError(
            f'{student} is no file: write a config that inherits it, with '
            f'_base_ = {str(student)!r} and your data'
        )
    _check_files(
        config=student, teacher_config=teacher[0], checkpoint=teacher[1]
    )
    for read in (student, *map(Path, teacher)):
        if out.resolve() == read.resolve():
            raise ValueError(
                f'--out {out} would replace what is read: choose another name'
            )
    if not dry_run:
        check_writable(out, force=force)
    _load()
    from mmwkd.distil import write_distillation

    write_distillation(student, teacher, out=out, dry_run=dry_run, force=force)
    if launcher != 'none':  # an option of training
        start = *_STARTS[launcher], '-m', 'mmwkd', 'train'
        os.execvp(start[0], [*start, str(out), *train_options])
    if train:
        return [str(out), *train_options]
    if not dry_run:
        print(f'to train it: mmwkd train {out}')
    return None


def export(
    config: Path,
    checkpoint: Path,
    /,
    *,
    out_dir: Path = Path('.'),
    force: bool = False,
) -> None:
    """Write a run's student as a checkpoint and a config of plain mmdet.

    Args:
        config: Config of the distillation run.
        checkpoint: Checkpoint of the run.
        out_dir: Folder to write to.
        force: Whether existing files may be replaced.
    """
    _check_files(config=config, checkpoint=checkpoint)
    _load()
    from mmwkd.export import export_student

    for path in export_student(config, checkpoint, out_dir, force=force):
        print(path)


def cost_estimate(
    config: str,
    checkpoint: str | None = None,
    /,
    *,
    out: Path,
    estimate: EstimateOptions = _ESTIMATE,
    collect: CollectOptions = _COLLECT,
    cfg_options: tuple[str, ...] = (),
    device: str | None = None,
    force: bool = False,
) -> None:
    """Estimate how related a teacher's categories are, as the cost of WKD-L.

    On several GPUs it runs on all ranks of torchrun together. That the
    output can be written is found out first.

    Args:
        config: Config of a detector, or of a distillation run, whose teacher
            is taken.
        checkpoint: Weights of the detector; may be left out where the
            config of a run names them.
        out: File to write, .npz.
        estimate: How interrelations are estimated.
        collect: What is measured, and on which boxes.
        cfg_options: Changes to the config, as key=value.
        device: Such as cuda:0 or cpu; by default a GPU where there is one.
        force: Whether an existing file may be replaced.
    """
    out = Path(out)
    check_writable(out, force=force)
    _check_files(config=config, checkpoint=checkpoint)
    _load()
    from mmengine import dist

    from mmwkd.configs import enter_scope, read_config, teacher_options
    from mmwkd.costs.estimate import estimate_cost_matrix, join_ranks
    from mmwkd.distillers.teacher import build_teacher

    loaded = read_config(config, cfg_options)
    enter_scope(loaded)
    device = join_ranks(device)
    options = teacher_options(loaded, checkpoint, name=config)
    teacher = build_teacher(options)
    teacher.detector.to(device)
    named = options['config']
    matrix = estimate_cost_matrix(
        loaded,
        teacher,
        estimate,
        collect,
        name=named if isinstance(named, str) else config,
    )
    if dist.get_rank() == 0:
        matrix.save(out, force=force)
        print(f'{out}: {len(matrix.categories)} categories')
    dist.barrier()


def cost_inspect(
    file: Path,
    /,
    *,
    ann_file: Path | None = None,
    kappa: float = 2.0,
    out_dir: Path | None = None,
    force: bool = False,
) -> None:
    """Show how good a cost matrix is: figures, a heatmap and a map.

    Args:
        file: Cost matrix file.
        ann_file: Annotations in COCO format, for their supercategories.
        kappa: Sharpness of the drawn cost.
        out_dir: Folder for the pictures; by default one named as the file,
            in work_dirs/cost_matrix.
        force: Whether earlier pictures may be replaced.
    """
    _check_files(file=file, ann_file=ann_file)
    from mmwkd.costs.cost_matrix import CostMatrix
    from mmwkd.costs.inspection import (
        PICTURES,
        figures_of,
        read_supercategories,
    )
    from mmwkd.costs.plots import draw_heatmap, draw_map, write_pictures
    from mmwkd.functional.checks import check_positive

    check_positive(kappa=kappa)
    out_dir = out_dir or Path('work_dirs/cost_matrix') / file.stem
    heatmap, plane = (out_dir / name for name in PICTURES)
    for path in (heatmap, plane):
        check_writable(path, force=force)
    matrix = CostMatrix.load(file)
    families = None
    if ann_file is not None:
        families = read_supercategories(ann_file, matrix.categories[:-1])
    print(f'{file}, estimator {matrix.estimator}')
    print('\n'.join(figures_of(matrix, families)))
    pictures = {
        heatmap: draw_heatmap(matrix, families, kappa=kappa),
        plane: draw_map(matrix, families),
    }
    write_pictures(pictures, force=force)


def cost_transport(
    config: str,
    checkpoint: str | None = None,
    /,
    *,
    num_images: int = 8,
    num_rois: int = 32,
    num_plans: int = 6,
    seed: int = 0,
    cfg_options: tuple[str, ...] = (),
    out_dir: Path = Path('work_dirs/transport'),
    force: bool = False,
) -> None:
    """Show what entropic transport does on RoIs, and what reg does to it.

    The distiller of a config is run on a few training images.

    Args:
        config: Config of a distillation run.
        checkpoint: The student's checkpoint; by default its initial weights.
        num_images: Training images to run on.
        num_rois: Foreground RoIs to take at most.
        num_plans: Plans to draw, of the RoIs with the largest distance.
        seed: Seed of initial weights, images and RoI sampling.
        cfg_options: Changes to the config, as key=value, such as
            model.logit_loss.reg=0.05.
        out_dir: Folder for the pictures.
        force: Whether earlier pictures may be replaced.
    """
    _check_files(config=config, checkpoint=checkpoint)
    _load()
    from mmwkd.configs import read_config
    from mmwkd.costs.transport import PICTURES, inspect_transport, subject_of
    from mmwkd.functional.checks import check_at_least

    check_at_least(
        1, num_images=num_images, num_rois=num_rois, num_plans=num_plans
    )
    for name in PICTURES:
        check_writable(out_dir / name, force=force)
    subject = subject_of(
        read_config(config, cfg_options),
        checkpoint,
        num_images=num_images,
        num_rois=num_rois,
        seed=seed,
    )
    inspect_transport(subject, out_dir, num_plans=num_plans, force=force)


def _check_files(**paths: str | Path | None) -> None:
    """Refuse a path that is mistyped; names of packages and URLs pass."""
    for name, path in paths.items():
        if path is None or '::' in str(path) or '://' in str(path):
            continue
        if not Path(path).is_file():
            raise FileNotFoundError(
                f'{name.replace("_", " ")} {path} does not exist'
            )


def _launcher(train_options: tuple[str, ...]) -> str:
    """Name of the launcher in options of train.py, 'none' without one."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument('--launcher', default='none')
    launcher: str = parser.parse_known_args(train_options)[0].launcher
    if launcher not in ('none', *_STARTS):
        raise ValueError(
            f'distil cannot start --launcher {launcher}: write the config '
            'without --train, then start `mmwkd train` with it'
        )
    return launcher


def _load() -> None:
    """Load mmdet, and register its components and ours."""
    with quiet():
        import_module('mmwkd.components')
        import_module('mmdet.utils').register_all_modules()

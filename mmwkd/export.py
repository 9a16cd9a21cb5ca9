"""Turn a training checkpoint into a file to hand out."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from mmwkd.configs import is_distiller, type_name
from mmwkd.distillers.checkpoint import load_strictly, read_weights
from mmwkd.distillers.places import PIECES
from mmwkd.files import atomic_write

_OUR_HOOKS = ('DistillationWeightHook', 'TeacherCheckHook')


def student_config(config: Config) -> Config:
    """Config of the plain student inside a distiller's config.

    Args:
        config: Config of a distillation run, or of a plain detector, which
            is returned as it is.

    Returns:
        The config with the student as its model, without what only
        distillation reads.
    """
    config = Config(config.to_dict())
    if not is_distiller(config.model):
        return config
    student = config.model.student
    if 'data_preprocessor' in config.model:
        student.setdefault('data_preprocessor', config.model.data_preprocessor)
    config.model = student
    for name in PIECES:
        config.pop(name, None)
    config.custom_hooks = [
        hook
        for hook in config.get('custom_hooks', [])
        if type_name(hook) not in _OUR_HOOKS
    ]
    checkpoint = config.get('default_hooks', {}).get('checkpoint', {})
    if checkpoint.get('type') == 'SafeCheckpointHook':
        checkpoint.type = 'CheckpointHook'
    # plain mmdet need not have mmwkd
    imports = config.get('custom_imports', {}).get('imports', [])
    if isinstance(imports, str):
        imports = [imports]
    config.setdefault('custom_imports', {}).update(
        imports=[name for name in imports if name != 'mmwkd']
    )
    return config


def export_student(
    config: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str],
    out_dir: str | os.PathLike[str],
    *,
    force: bool = False,
) -> tuple[Path, Path]:
    """Write the student's weights alone, and the config they load with.

    Optimizer state, adapters and logs are left behind; the weights are
    first loaded strictly into the student that the config describes.

    Args:
        config: Config of the run.
        checkpoint: Checkpoint of the run.
        out_dir: Folder for ``<config name>.py`` and ``<config name>.pth``.
        force: Whether existing files may be replaced.

    Returns:
        Paths of the config and of the checkpoint.

    Raises:
        FileExistsError: If a file is there and ``force`` is not set.
        ValueError: If the checkpoint does not fit the student.
    """
    name = Path(config).stem
    config_path = Path(out_dir) / f'{name}_student.py'
    weights_path = Path(out_dir) / f'{name}_student.pth'
    exported = student_config(Config.fromfile(config))
    weights = read_weights(str(checkpoint), 'checkpoint')
    load_strictly(
        MODELS.build(exported.model), weights, str(checkpoint), 'checkpoint'
    )

    meta: dict[str, object] = dict(source_sha256=weights.sha256)
    if weights.classes is not None:
        meta['dataset_meta'] = dict(classes=weights.classes)
    with atomic_write(config_path, force=force) as file:
        file.write(exported.pretty_text.encode())
    with atomic_write(weights_path, force=force) as file:
        torch.save(dict(state_dict=dict(weights.state_dict), meta=meta), file)
    return config_path, weights_path

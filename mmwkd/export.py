"""Turn a training checkpoint into a file to hand out."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import HOOKS, MODELS
from mmengine.config import Config

from mmwkd.configs import (
    enter_scope,
    imported,
    is_distiller,
    registered_class,
    student_of,
)
from mmwkd.distillers.checkpoint import load_strictly, read_weights
from mmwkd.distillers.places import pieces
from mmwkd.files import atomic_write, check_writable


def student_config(config: Config) -> Config:
    """Config of the plain student inside a distiller's config.

    Without what only distillation reads; a plain detector's stays.
    """
    config = Config(config.to_dict())
    if not is_distiller(config.model):
        return config
    config.model = student_of(config.model)
    for name in pieces():
        config.pop(name, None)
    config.custom_hooks = [
        plain
        for hook in config.get('custom_hooks') or []
        if (plain := _plain_hook(hook)) is not None
    ]
    if 'default_hooks' in config:
        config.default_hooks = {
            name: plain
            for name, hook in config.default_hooks.items()
            if (plain := _plain_hook(hook)) is not None
        }
    # plain mmdet need not have mmwkd
    others = [
        name for name in imported(config) if name.partition('.')[0] != 'mmwkd'
    ]
    config.setdefault('custom_imports', {}).update(imports=others)
    return config


def _plain_hook(hook: Any) -> Any:
    """What plain mmdet has in the place of a hook; None for nothing.

    Hooks of mmwkd name it in ``plain_hook``; every other hook stays.
    """
    if not isinstance(hook, Mapping):
        return hook
    cls = registered_class(HOOKS, hook.get('type'))
    if not hasattr(cls, 'plain_hook'):
        return hook
    return cls.plain_hook and {**hook, 'type': cls.plain_hook}


def python_text(config: Config) -> str:
    """Source of a config that reads as the same config.

    Types that are classes become their names. An entry that cannot be
    written is a ValueError that names it.
    """
    return Config(_plain(config.to_dict())).pretty_text


def _plain(node: Any, place: str = '') -> Any:
    """A copy with classes by their names, as registries take them."""
    if isinstance(node, Mapping):
        kind = node.get('type')
        if callable(kind) and '<' not in kind.__qualname__:
            node = {**node, 'type': f'{kind.__module__}.{kind.__qualname__}'}
        return {
            key: _plain(value, f'{place}.{key}'.lstrip('.'))
            for key, value in node.items()
        }
    if isinstance(node, (list, tuple)):
        return type(node)(
            _plain(value, f'{place}.{index}')
            for index, value in enumerate(node)
        )
    if type(node) not in (str, int, float, bool, type(None)) or (
        isinstance(node, float) and not math.isfinite(node)
    ):
        raise ValueError(
            f'the config cannot be written as a Python file: {place} is '
            f'{node!r}; put plain data there, with finite numbers'
        )
    return node


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
    Arguments are those of :func:`mmwkd.commands.export`.

    Returns:
        Paths of ``<config name>_student.py`` and ``<config name>_student.pth``
        in ``out_dir``.
    """
    name = Path(config).stem
    config_path = Path(out_dir) / f'{name}_student.py'
    weights_path = Path(out_dir) / f'{name}_student.pth'
    loaded = Config.fromfile(config)
    if 'model' not in loaded:
        raise ValueError(f'{config} has no model')
    exported = student_config(loaded)
    text = python_text(exported)
    weights = read_weights(str(checkpoint), 'checkpoint')
    enter_scope(exported)
    model = MODELS.build(exported.model)
    load_strictly(model, weights, str(checkpoint), 'checkpoint')
    names = model.state_dict()
    state = {
        name: value
        for name, value in weights.state_dict.items()
        if name in names
    }

    meta: dict[str, object] = dict(source_sha256=weights.sha256)
    if weights.classes is not None:
        meta['dataset_meta'] = dict(classes=weights.classes)
    # neither beside one of another run
    for path in (config_path, weights_path):
        check_writable(path, force=force)
    with atomic_write(config_path, force=force) as file:
        file.write(text.encode())
    with atomic_write(weights_path, force=force) as file:
        torch.save(dict(state_dict=state, meta=meta), file)
    return config_path, weights_path

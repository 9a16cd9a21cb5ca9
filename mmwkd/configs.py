"""Read what configs say of models, and their lists of classes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import Registry


def config_name(config: Any) -> str:
    return config if isinstance(config, str) else f'a {config.get("type")}'


def read_model(config: Any) -> Config:
    """Model config of a teacher, without weights to download."""
    if isinstance(config, str):
        try:
            loaded = (
                get_config(config)
                if '::' in config
                else Config.fromfile(config)
            )
        except (FileNotFoundError, AssertionError) as error:
            raise FileNotFoundError(
                f'teacher config {config} does not exist; give a path, or '
                "'mmdet::<folder>/<file>.py' for one that mmdet ships"
            ) from error
        except ImportError as error:
            raise ImportError(
                f'teacher config {config} imports what is not installed '
                f'({error.__cause__ or error}): install its package, such as '
                'mmpretrain for ConvNeXt'
            ) from error
        if 'model' not in loaded:
            raise ValueError(f'teacher config {config} has no model')
        model = loaded.model
        if 'data_preprocessor' in loaded:
            model.setdefault('data_preprocessor', loaded.data_preprocessor)
    else:
        model = Config(dict(model=config)).model
    if is_distiller(model):
        model = model.student  # a distilled student may teach in its turn
    return without_pretrained(copy.deepcopy(model))


def is_distiller(model: Mapping[str, Any]) -> bool:
    """Whether a model config, by name or by class, is of a distiller."""
    cls = registered_class(MODELS, model.get('type'))
    return getattr(cls, 'is_distiller', False)


def registered_class(registry: Registry, kind: Any) -> Any:
    """Class that a config's ``type`` stands for, by name or by itself.

    Args:
        registry: Where the name is looked up.
        kind: The ``type``.

    Returns:
        The class; None if nothing of that name is registered.
    """
    return registry.get(kind) if isinstance(kind, str) else kind


def type_name(config: Mapping[str, Any]) -> str:
    """Name that a config's ``type`` has, given by name or by class."""
    kind = config.get('type')
    return str(getattr(kind, '__name__', kind)).rpartition('.')[2]


def class_names(classes: Any) -> tuple[str, ...] | None:
    if classes is None:
        return None
    if isinstance(classes, str):
        raise ValueError(
            f'teacher.classes must be a list of names, got {classes!r}'
        )
    return tuple(classes)


def without_pretrained(node: Any) -> Any:
    """Drop all initialisation that loads weights from elsewhere.

    Args:
        node: Config of a model, changed in place.

    Returns:
        The config.
    """
    if isinstance(node, dict):
        # of all initialisers only the one that loads has a checkpoint
        init_cfg = node.get('init_cfg')
        if isinstance(init_cfg, (list, tuple)):
            node['init_cfg'] = [
                init for init in init_cfg if 'checkpoint' not in init
            ]
        elif isinstance(init_cfg, dict) and 'checkpoint' in init_cfg:
            node['init_cfg'] = None
        node.pop('pretrained', None)
        for value in node.values():
            without_pretrained(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            without_pretrained(value)
    return node

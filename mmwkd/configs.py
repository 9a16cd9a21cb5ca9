"""Read what configs say of models, and their lists of classes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.hub import get_config


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
    return _without_pretrained(copy.deepcopy(model))


def is_distiller(model: Mapping[str, Any]) -> bool:
    """Whether a model config, by name or by class, is of a distiller."""
    return type_name(model) == 'DetectorDistiller'


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


def _without_pretrained(node: Any) -> Any:
    """Drop pretrained initialisation: the checkpoint has all weights."""
    if isinstance(node, dict):
        init_cfg = node.get('init_cfg')
        if isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained':
            node['init_cfg'] = None
        node.pop('pretrained', None)
        for value in node.values():
            _without_pretrained(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            _without_pretrained(value)
    return node

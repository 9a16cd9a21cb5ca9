"""Pretrained weights that a student's config names."""

from importlib import import_module
from pathlib import Path
from typing import Any

import mmengine

from mmwkd.files import read_json

_SCHEMES = ('torchvision://', 'modelzoo://')


def without_torchvision(config: Any) -> Any:
    """Name torchvision's weights by URL where torchvision is not installed.

    mmengine asks torchvision for the URLs, although it has a table of them.
    Dicts, lists and tuples of the config are searched.

    Example:
        >>> without_torchvision(dict(depth=18))
        {'depth': 18}
    """
    if isinstance(config, dict):
        return type(config)(
            {key: without_torchvision(value) for key, value in config.items()}
        )
    if type(config) in (list, tuple):
        return type(config)(map(without_torchvision, config))
    if isinstance(config, str) and config.startswith(_SCHEMES):
        return _public_name(config)
    return config


def _public_name(source: str) -> str:
    try:
        import_module('torchvision')
    except Exception as error:  # one that is of another torch raises anything
        urls = read_json(
            Path(mmengine.__file__).parent / 'hub' / 'torchvision_0.12.json'
        )
        name = source.partition('://')[2]
        if name in urls:
            return urls[name]
        raise ValueError(
            f"the student's weights {source} need torchvision, which cannot "
            f'be imported ({error}): install it, or give the URL of the '
            'weights'
        ) from error
    return source

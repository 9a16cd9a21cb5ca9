"""Make the detectors that mmdet ships small enough for tests."""

import copy
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from torch import nn

from mmwkd.configs import registered_class, without_pretrained

# how backbones name their width
_WIDTHS = ('base_channels', 'embed_dims', 'widen_factor')
# what is as wide as channels, beside options that end with 'channels'
_WIDE = {
    *_WIDTHS,
    'num_feats',
    'num_groups',
    'proposal_feature_channel',
}
_AT_MOST = {
    'conf_thr': 0.0,  # nothing is certain to random weights
    'depths': 2,
    'max_per_img': 20,
    'nms_pre': 100,
    'num': 32,  # of a sampler
    'num_convs': 1,
    'num_dn_queries': 10,
    'num_layers': 1,
    'num_proposals': 30,
    'num_queries': 30,
    'score_thr': 0.0,
    'stacked_convs': 1,
}


def shrink(
    model: Mapping[str, Any], *, num_classes: int = 3, factor: int = 8
) -> ConfigDict:
    """Shrink a detector that mmdet ships, so that a step takes a blink.

    The names of options decide: numbers of channels are divided, numbers of
    layers, queries and proposals are limited. Where the backbone's width is
    no option (VGG, Darknet), nothing is divided. Nothing is loaded from
    elsewhere, all weights are trained, and score thresholds are 0, so that
    random weights detect something. Widths that a config leaves to the
    defaults of a head have to be set by the caller.

    Args:
        model: Model config; it is not changed.
        num_classes: Foreground classes of all heads.
        factor: What widths are divided by.

    Returns:
        The config of a detector of the same kind.
    """
    small: ConfigDict = copy.deepcopy(Config(dict(model=model)).model)
    without_pretrained(small)
    backbone = small.backbone
    kind = registered_class(MODELS, backbone.type)
    options = inspect.signature(kind).parameters
    for width in set(_WIDTHS) & set(options):
        backbone.setdefault(width, options[width].default)
    if not set(_WIDTHS) & set(backbone):
        factor = 1
    for name, value in (('norm_eval', False), ('frozen_stages', -1)):
        if name in options:
            backbone[name] = value
    # they resize to the sizes that full detectors are trained on
    small.get('data_preprocessor', {}).pop('batch_augments', None)
    _shrink(small, num_classes, factor)
    return small


def _shrink(node: Any, num_classes: int, factor: int) -> None:
    if isinstance(node, (list, tuple)):
        for value in node:
            _shrink(value, num_classes, factor)
    if not isinstance(node, dict):
        return
    kind = registered_class(MODELS, node.get('type'))
    if kind is nn.SyncBatchNorm:  # not for a CPU
        node['type'] = 'BN'
    for name, value in node.items():
        if name == 'num_classes':
            node[name] = num_classes
        elif name in _WIDE or name.endswith('channels'):
            node[name] = _map_numbers(value, partial(_divide, factor))
        elif name in _AT_MOST:
            node[name] = _map_numbers(value, partial(min, _AT_MOST[name]))
        else:
            _shrink(value, num_classes, factor)


def _divide(factor: int, width: float) -> float:
    if isinstance(width, float):
        return width / factor
    return width if width == 3 else max(width // factor, 1)  # 3: an image's


def _map_numbers(value: Any, change: Callable[[float], float]) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_map_numbers(entry, change) for entry in value)
    return change(value) if isinstance(value, (int, float)) else value

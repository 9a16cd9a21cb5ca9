"""Every config of the project builds, and nothing in it is unread."""

from pathlib import Path

import pytest
from mmdet.registry import MODELS
from mmengine.config import Config

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
LEAVES = sorted(
    path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts
)
# pieces that leaf configs pick their model from
PIECES = {'student', 'teacher', 'logit_loss', 'neck_loss', 'roi_loss'}
READ = PIECES | {
    'auto_scale_lr',
    'backend_args',
    'custom_imports',
    'custom_hooks',
    'data_root',
    'dataset_type',
    'default_hooks',
    'default_scope',
    'env_cfg',
    'load_from',
    'log_level',
    'log_processor',
    'max_iters',
    'model',
    'optim_wrapper',
    'param_scheduler',
    'randomness',
    'resume',
    'test_cfg',
    'test_dataloader',
    'test_evaluator',
    'test_pipeline',
    'train_cfg',
    'train_dataloader',
    'train_pipeline',
    'val_cfg',
    'val_dataloader',
    'val_evaluator',
    'vis_backends',
    'visualizer',
}


def without_downloads(node):
    """Let a model build on a machine without a network."""
    if isinstance(node, dict):
        if dict.get(node, 'init_cfg', {}) and (
            'checkpoint' in (node['init_cfg'] or {})
        ):
            node['init_cfg'] = None
        for value in node.values():
            without_downloads(value)
    return node


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_config_builds(path):
    cfg = Config.fromfile(path)
    model = without_downloads(cfg.model)
    if model.type == 'DetectorDistiller':
        assert model.teacher.checkpoint.endswith('.pth')
        model.teacher.update(checkpoint=None, allow_random=True)
        if not Path(model.teacher.config).is_absolute() and (
            '::' not in model.teacher.config
        ):
            model.teacher.config = str(CONFIGS.parent / model.teacher.config)
    detector = MODELS.build(model)
    if model.type == 'DetectorDistiller':
        places = {
            name.removesuffix('_loss')
            for name in model
            if name in ('logit_loss', 'neck_loss', 'roi_loss')
        }
        assert set(detector.places) == places
    assert 'base_batch_size' in cfg.auto_scale_lr
    assert set(cfg) <= READ


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_leaf_config_is_short(path):
    assert len(path.read_text().splitlines()) <= 30


@pytest.mark.parametrize(
    'path',
    [p for p in LEAVES if p.stem.startswith('wkd')],
    ids=lambda path: path.stem,
)
def test_name_says_which_losses(path):
    model = Config.fromfile(path).model
    expected = {
        'wkd-l': {'logit_loss'},
        'wkd-f': {'neck_loss'},
        'wkd-f-roi': {'roi_loss'},
        'wkd-lf': {'logit_loss', 'roi_loss'},
    }[path.stem.split('_')[0]]
    assert {name for name in model if name.endswith('_loss')} == expected


def test_every_pair_has_every_method():
    stems = {path.stem for path in LEAVES}
    for pair in ('r18-from-r101', 'mobilenetv2-from-r50', 'r50-from-r101'):
        for method in ('wkd-l', 'wkd-f', 'wkd-f-roi', 'wkd-lf'):
            assert f'{method}_faster-rcnn_{pair}_fpn_1x_coco' in stems

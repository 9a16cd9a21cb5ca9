"""COCO configs as they are train on photographs, at a part of the size."""

from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.runner import Runner

from mmwkd.configs import without_pretrained

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'
SIZES = ('scale', 'img_scale', 'size', 'crop_size')


def shrink_images(node, factor):
    """Divide the sizes of all transforms."""
    for value in node.values() if isinstance(node, dict) else node:
        if isinstance(value, (dict, list)):
            shrink_images(value, factor)
    for key in SIZES:
        if isinstance(node, dict) and key in node:
            node[key] = tuple(side // factor for side in node[key])


@pytest.fixture
def train_on_photos(coco_tiny, tmp_path):
    """Train a config for 2 epochs of 2 iterations with 2 images each."""

    def train(name, factor):
        cfg = Config.fromfile(CONFIGS / f'{name}.py')
        without_pretrained(cfg.model)
        cfg.model.teacher.update(checkpoint=None, allow_random=True)
        loader = cfg.train_dataloader
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
        loader.dataset.update(data_root=f'{coco_tiny}/', indices=4)
        hooks = cfg.get('custom_hooks', [])
        shrink_images(loader.dataset.pipeline, factor)
        shrink_images(hooks, factor)
        for hook in hooks:
            if hook.type == 'PipelineSwitchHook':
                hook.switch_epoch = 1
        for split in ('val', 'test'):
            cfg[f'{split}_dataloader'] = None
            cfg[f'{split}_evaluator'] = None
            cfg[f'{split}_cfg'] = None
        cfg.train_cfg = dict(by_epoch=True, max_epochs=2)
        cfg.default_hooks.checkpoint.interval = 2
        cfg.default_hooks.logger.interval = 1
        cfg.vis_backends, cfg.visualizer.vis_backends = [], []
        cfg.work_dir, cfg.log_level = str(tmp_path), 'ERROR'
        cfg.randomness = dict(seed=0)
        cfg.experiment_name = f'{tmp_path.name}_{Path(name).name}'
        runner = Runner.from_cfg(cfg)
        runner.train()
        return cfg, runner

    return train


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'factor'),
    [
        ('retinanet/wkd-ln_retinanet_r18-from-r50_fpn_1x_coco', 8),
        ('rtmdet/wkd-ln_rtmdet_tiny-from-s_8xb32-300e_coco', 4),
    ],
)
def test_coco_config_trains_on_photographs(
    train_on_photos, tmp_path, name, factor
):
    cfg, runner = train_on_photos(name, factor)
    losses = {
        key: scalar
        for key, scalar in runner.message_hub.log_scalars.items()
        if key.startswith('train/loss')
    }
    assert {key for key in losses if 'wkd' in key or 'l1' in key} == {
        'train/loss_wkd_logit_target',
        'train/loss_wkd_logit_transport',
        'train/loss_wkd_neck_cov',
        'train/loss_wkd_neck_mean',
    }
    for key, scalar in losses.items():
        values, _ = scalar.data
        assert len(values) == 4, key
        assert torch.tensor(values).isfinite().all(), key
        assert values.max() > 0, key

    plain = MODELS.build(cfg.model.student)
    saved = torch.load(tmp_path / 'epoch_2.pth', weights_only=False)
    plain.load_state_dict(saved['state_dict'], strict=True)
    hooks = {type(hook).__name__: hook for hook in runner.hooks}
    if 'EMAHook' in hooks:  # the checkpoint holds the averaged student
        averaged = hooks['EMAHook'].ema_model.module.state_dict()
        for key, value in saved['state_dict'].items():
            assert value.equal(averaged[key]), key
        switched = runner.train_dataloader.dataset.pipeline.transforms
        assert 'CachedMosaic' not in [type(step).__name__ for step in switched]

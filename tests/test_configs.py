"""Every config of the project starts training, and nothing is unread."""

import re
import sys
from pathlib import Path

import mmdet
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.fileio import load
from mmengine.runner import Runner, checkpoint

from mmwkd.configs import is_distiller, read_model, without_pretrained
from tests.shrinking import shrink

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
LEAVES = sorted(
    path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts
)
# pieces that leaf configs pick their model from
PIECES = {
    'student',
    'teacher',
    'logit_loss',
    'neck_loss',
    'roi_loss',
    'box_loss',
}
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
    'labelled',
    'load_from',
    'log_level',
    'log_processor',
    'max_iters',
    'metainfo',
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
# variables of mmdet's own configs, that these inherit
INHERITED = {
    'base_lr',
    'checkpoint',
    'img_scales',
    'interval',
    'max_epochs',
    'stage2_num_epochs',
    'train_pipeline_stage2',
    'tta_model',
    'tta_pipeline',
}


@pytest.fixture
def fetched(monkeypatch):
    """URLs that mmengine downloads, where there is no torchvision."""
    urls = []

    def load_url(url, **options):
        urls.append(url)
        return {'backbone.unknown': torch.zeros(1)}

    monkeypatch.setattr(checkpoint, 'load_url', load_url)
    monkeypatch.setitem(sys.modules, 'torchvision', None)
    return urls


# the widths of these are not all proportional to one number
FACTORS = {'MobileNetV2': 1, 'CSPNeXt': 2}


def small(model):
    """A narrow detector that starts from the same weights."""
    factor = FACTORS.get(model.backbone.type, 8)
    shrunk = shrink(model, num_classes=80, factor=factor)
    shrunk.backbone.init_cfg = model.backbone.get('init_cfg')
    return shrunk


def with_small_detectors(model):
    if not is_distiller(model):
        return small(model)
    model.student = small(model.student)
    return with_random_teacher(model, small)


def with_random_teacher(model, change=without_pretrained):
    if isinstance(model.teacher.config, str) and '::' not in (
        model.teacher.config
    ):
        model.teacher.config = str(CONFIGS.parent / model.teacher.config)
    assert model.teacher.pop('checkpoint').endswith('.pth')
    config = change(read_model(model.teacher.config))
    model.teacher.update(config=config, allow_random=True)
    return model


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_training_starts_up_to_its_downloads(path, fetched, tmp_path):
    """What mmdet's train.py does, with narrow detectors."""
    cfg = Config.fromfile(path)
    assert set(cfg) <= READ | INHERITED
    batch = re.search(r'_(\d+)xb(\d+)-', path.stem)  # GPUs, images on each
    sizes = [int(batch[1]) * int(batch[2])] if batch else [8, 16]
    assert cfg.auto_scale_lr.base_batch_size in sizes
    places = {
        name.removesuffix('_loss')
        for name in cfg.model
        if name.endswith('_loss')
    }
    if path.stem.endswith('_coco'):
        cfg.model = with_small_detectors(cfg.model)
    elif is_distiller(cfg.model):
        cfg.model = with_random_teacher(cfg.model)
    cfg.work_dir, cfg.log_level = str(tmp_path), 'ERROR'
    cfg.experiment_name = path.stem
    model = Runner.from_cfg(cfg).model
    assert set(getattr(model, 'places', ())) == places
    if path.stem.endswith('_coco'):
        model.init_weights()
        assert len(fetched) == 1  # the student's backbone
        assert fetched[0].startswith('https://')


FULL_WIDTH = [
    'faster_rcnn/wkd-lf_faster-rcnn_r18-from-r101_fpn_1x_coco',
    'cascade_rcnn/wkd-lf_cascade-rcnn_r50-from-r101_fpn_1x_coco',
    'mask_rcnn/wkd-lf_mask-rcnn_r18-from-r50_fpn_1x_coco',
    'retinanet/wkd-ln_retinanet_r18-from-r50_fpn_1x_coco',
    'gfl/wkd-ln_gfl_r50-from-r101_fpn_1x_coco',
    'rtmdet/wkd-ln_rtmdet_tiny-from-s_8xb32-300e_coco',
]


@pytest.mark.parametrize('name', FULL_WIDTH)
def test_a_pair_of_each_family_is_built_as_it_is(name):
    model = Config.fromfile(CONFIGS / f'{name}.py').model
    without_pretrained(model.student)
    MODELS.build(with_random_teacher(model))


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_leaf_config_is_short(path):
    assert len(path.read_text().splitlines()) <= 30


# where the losses of each method are
PLACES = {
    'wkd-l': {'logit_loss'},
    'wkd-f': {'neck_loss'},
    'wkd-f-roi': {'roi_loss'},
    'wkd-lf': {'logit_loss', 'roi_loss'},
    'wkd-lf-neck': {'logit_loss', 'roi_loss', 'neck_loss'},
    'wkd-ln': {'logit_loss', 'neck_loss'},
    'kd': {'logit_loss'},
    'dkd': {'logit_loss'},
    'fitnet': {'neck_loss'},
    'fitnet-roi': {'roi_loss'},
    'pkd': {'neck_loss'},
    'pkd-roi': {'roi_loss'},
    'kd-pkd-roi': {'logit_loss', 'roi_loss'},
    'cwd': {'neck_loss'},
    'cwd-roi': {'roi_loss'},
    'box': {'box_loss'},
}
DENSE_METHODS = ('wkd-l', 'wkd-f', 'wkd-ln', 'kd')
# where losses are named otherwise
METHODS = {'box': {'l1'}, 'kd-pkd-roi': {'kd', 'pkd'}}


@pytest.mark.parametrize(
    'path',
    [p for p in LEAVES if '-from-' in p.stem],
    ids=lambda path: path.stem,
)
def test_name_says_which_losses(path):
    model = Config.fromfile(path).model
    method = path.stem.split('_')[0].removesuffix('-fast')
    places = {name for name in model if name.endswith('_loss')}
    assert places == PLACES[method]
    losses = {MODELS.get(model[place].type).method for place in places}
    assert losses == METHODS.get(method, {method.split('-')[0]})


def test_every_pair_has_every_method():
    stems = {path.stem for path in LEAVES}
    for pair in ('r18-from-r101', 'mobilenetv2-from-r50', 'r50-from-r101'):
        for method in ('wkd-l', 'wkd-f', 'wkd-f-roi', 'wkd-lf'):
            assert f'{method}_faster-rcnn_{pair}_fpn_1x_coco' in stems
    for method in ('kd', 'dkd', 'pkd'):
        assert f'{method}_faster-rcnn_r18-from-r101_fpn_1x_coco' in stems
    for method in DENSE_METHODS:
        assert f'{method}_retinanet_r18-from-r50_fpn_1x_coco' in stems


def test_only_the_loss_differs_between_methods():
    def config(method):
        name = f'{method}_faster-rcnn_r18-eighth-from-r18-half_fpn_800'
        return Config.fromfile(CONFIGS / 'minicoco' / f'{name}_minicoco.py')

    plain = config('wkd-l')
    for method in ('wkd-lf', 'pkd-roi'):
        cfg = config(method)
        for name in set(cfg) - PIECES - {'model'}:
            assert cfg[name] == plain[name], (method, name)
        for name in set(cfg.model) | set(plain.model):
            if name.endswith('_loss'):
                continue
            assert cfg.model[name] == plain.model[name], (method, name)


@pytest.mark.parametrize(
    'path', sorted(CONFIGS.glob('*/*-fast_*')), ids=lambda path: path.stem
)
def test_fast_distillation_stops_at_half_of_the_schedule(path):
    fast = Config.fromfile(path)
    twin = Config.fromfile(path.with_name(path.name.replace('-fast', '', 1)))
    (hook,) = fast.pop('custom_hooks')
    assert hook.stop == fast.train_cfg.max_iters / 2
    assert not hook.by_epoch
    assert fast.to_dict() == twin.to_dict()


MODEL_ZOO = Path(mmdet.__file__).parent / '.mim' / 'configs'


@pytest.mark.parametrize(
    'path',
    [
        path
        for path in sorted(CONFIGS.glob('_base_/teachers/*_coco.py'))
        if 'https://' in path.read_text()  # others bring their own file
    ],
    ids=lambda path: path.stem,
)
def test_teachers_are_those_of_the_model_zoo(path):
    """Config, checkpoint and the AP in the comment belong together."""
    teacher = Config.fromfile(path).teacher
    name = teacher.config.removeprefix('mmdet::').removesuffix('.py')
    metafile = (MODEL_ZOO / name).parent / 'metafile.yml'
    (model,) = (
        model
        for model in load(metafile)['Models']
        if model['Config'] == f'configs/{name}.py'
    )
    assert teacher.checkpoint == model['Weights']
    box_ap = model['Results'][0]['Metrics']['box AP']
    assert path.read_text().startswith(f'# {box_ap} box AP')

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

import mmwkd.costs.estimate
from mmwkd.cli import main
from mmwkd.commands import cost_estimate
from mmwkd.configs import teacher_options
from mmwkd.cost_options import (
    CollectOptions,
    EstimateOptions,
    EstimatorName,
)
from mmwkd.costs import CostMatrix
from mmwkd.costs.estimate import (
    ESTIMATORS,
    estimate_cost_matrix,
)
from mmwkd.functional import classifier_interrelation
from mmwkd.testing import tiny_faster_rcnn

from .conftest import CLASSES, NUM_IMAGES, save_checkpoint

ROOT = Path(__file__).resolve().parents[2]
COLLECT = CollectOptions(num_workers=0, batch_size=4)


@pytest.fixture
def write(config_file, checkpoint, tmp_path):
    """Write a cost matrix with changes to the arguments."""

    def call(
        out='cost.npz',
        *,
        estimator='centroid',
        checkpoint=str(checkpoint),
        **changes,
    ):
        options = dict(
            out=tmp_path / out,
            estimate=EstimateOptions(estimator=estimator),
            collect=COLLECT,
            device='cpu',
        )
        options.update(changes)
        cost_estimate(str(config_file), checkpoint, **options)
        return CostMatrix.load(options['out'])

    return call


def test_the_table_has_every_name():
    assert tuple(ESTIMATORS) == get_args(EstimatorName)


def test_ranks_take_a_gpu_each(monkeypatch, group):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    chosen = []
    monkeypatch.setattr(torch.cuda, 'set_device', chosen.append)
    monkeypatch.setenv('LOCAL_RANK', '3')

    device = mmwkd.costs.estimate.join_ranks(None)

    assert (device, chosen) == ('cuda:3', ['cuda:3'])


@pytest.mark.parametrize('estimator', ESTIMATORS)
def test_matrix_says_where_it_is_from(
    write, estimator, tmp_path, checkpoint, config_file
):
    matrix = write(estimator=estimator)
    assert matrix.categories == (*CLASSES, 'background')
    assert matrix.estimator == estimator
    assert matrix.teacher_config == str(config_file)
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert matrix.checkpoint_sha256 == digest
    assert matrix.versions['torch'] == torch.__version__
    assert [p.name for p in tmp_path.glob('cost.npz*')] == ['cost.npz']
    if estimator == 'classifier':
        assert matrix.samples is None
        return
    assert matrix.samples[:3].tolist() == [NUM_IMAGES] * 3
    assert matrix.samples[3] > 0
    assert matrix.options['fallback'] == []


def test_classifier_needs_no_data(write, config_file, checkpoint):
    matrix = write(
        estimator='classifier',
        cfg_options=('train_dataloader.dataset.data_root=/nowhere',),
    )
    weight = torch.load(checkpoint)['state_dict'][
        'roi_head.bbox_head.fc_cls.weight'
    ]
    np.testing.assert_array_equal(
        matrix.interrelation, classifier_interrelation(weight)
    )


def test_categories_with_few_samples_take_the_classifier(
    config, teacher, monkeypatch
):
    messages = []
    monkeypatch.setattr(
        mmwkd.costs.estimate,
        'print_log',
        lambda message, *args, **kwargs: messages.append(message),
    )
    matrix = estimate_cost_matrix(
        config,
        teacher,
        EstimateOptions(),
        CollectOptions(num_workers=0, negatives=0),
    )
    (message,) = messages
    assert 'classifier weights: background' in message
    assert matrix.options['fallback'] == ['background']
    expected = classifier_interrelation(
        teacher.detector.roi_head.bbox_head.fc_cls.weight
    )
    np.testing.assert_array_equal(matrix.interrelation[3], expected[3])
    assert abs(matrix.interrelation - expected.numpy())[:3, :3].max() > 0.01


def test_too_few_categories_are_refused_with_what_was_found(config, teacher):
    with pytest.raises(ValueError, match='0 .* have 99 samples .* one has is'):
        estimate_cost_matrix(
            config,
            teacher,
            EstimateOptions(min_samples=99),
            CollectOptions(num_workers=0, negatives=0),
        )


@pytest.mark.parametrize(
    ('estimate', 'collect', 'message'),
    [
        (dict(min_samples=0), {}, 'min_samples must be at least 1'),
        (dict(cap=1), {}, 'cap must be at least 2'),
        ({}, dict(max_images=-3), 'max_images must be at least 1, got -3'),
        ({}, dict(batch_size=0), 'batch_size must be at least 1'),
        ({}, dict(negatives=-1), 'negatives must be at least 0'),
        ({}, dict(num_workers=-1), 'num_workers must be at least 0'),
    ],
)
def test_counts_that_make_no_sense_are_named(
    config, teacher, estimate, collect, message
):
    with pytest.raises(ValueError, match=message):
        estimate_cost_matrix(
            config,
            teacher,
            EstimateOptions(**estimate),
            CollectOptions(**collect),
        )


@pytest.fixture
def no_teacher(monkeypatch):
    """Fail where a teacher is built: that is too late for some errors."""

    def build(*args):
        raise AssertionError('the teacher was built')

    monkeypatch.setattr('mmwkd.distillers.teacher.build_teacher', build)


@pytest.mark.usefixtures('no_teacher')
def test_existing_file_is_refused_before_the_pass(write, tmp_path):
    path = tmp_path / 'cost.npz'
    path.write_text('precious')
    with pytest.raises(FileExistsError, match='cost.npz exists .*--force'):
        write()
    assert path.read_text() == 'precious'
    with pytest.raises(AssertionError, match='teacher was built'):
        write(force=True)


@pytest.mark.usefixtures('no_teacher')
def test_unwritable_place_is_refused_before_the_pass(write, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError, match='file/cost.npz cannot be written'):
        write('file/cost.npz')
    (tmp_path / 'folder').mkdir()
    with pytest.raises(OSError, match='folder is a folder'):
        write('folder', force=True)


def test_checkpoint_of_other_classes_is_refused(write, config, tmp_path):
    detector = MODELS.build(config.model)
    save_checkpoint(detector, tmp_path / 'o.pth', ('cat', 'bus', 'dog'))
    with pytest.raises(ValueError, match="1 is 'dog' instead of 'bus'"):
        write(checkpoint=str(tmp_path / 'o.pth'))
    save_checkpoint(
        MODELS.build(tiny_faster_rcnn(num_classes=5)), tmp_path / 'five.pth'
    )
    with pytest.raises(ValueError, match='does not fit its config'):
        write(checkpoint=str(tmp_path / 'five.pth'))


def test_distiller_config_gives_its_teacher(
    config, config_file, checkpoint, tmp_path
):
    config.model = dict(
        type='DetectorDistiller',
        student=tiny_faster_rcnn(base_channels=4),
        teacher=dict(config=str(config_file), checkpoint=str(checkpoint)),
        logit_loss=dict(type='WKDLogitLoss'),
    )
    config.dump(tmp_path / 'run.py')
    cost_estimate(
        str(tmp_path / 'run.py'),
        out=tmp_path / 'cost.npz',
        collect=COLLECT,
        device='cpu',
    )
    matrix = CostMatrix.load(tmp_path / 'cost.npz')
    assert matrix.teacher_config == str(config_file)
    assert matrix.estimator == 'centroid'
    other = teacher_options(config, 'other.pth', name='run.py')
    assert other['checkpoint'] == 'other.pth'


def test_missing_checkpoint_and_model_are_refused(config):
    with pytest.raises(ValueError, match='a.py names no checkpoint'):
        teacher_options(config, None, name='a.py')
    with pytest.raises(ValueError, match='a.py has no model'):
        teacher_options(Config(dict(lr=1)), 'a.pth', name='a.py')


def test_options_of_the_config_are_pairs(write):
    with pytest.raises(ValueError, match="key=value pairs, got 'model'"):
        write(cfg_options=('model',))


def test_the_validation_split_is_other_images(write):
    matrices = [
        write(
            f'{split}.npz',
            estimator='confusion',
            collect=CollectOptions(split=split, num_workers=0),
        )
        for split in ('train', 'val')
    ]
    assert not np.array_equal(*(m.interrelation for m in matrices))


DISTRIBUTED = """
import sys
from mmwkd.commands import cost_estimate
from mmwkd.cost_options import CollectOptions, EstimateOptions
if __name__ == '__main__':
    for estimator in ('centroid', 'confusion', 'paired_cka'):
        cost_estimate(
            sys.argv[1], sys.argv[2], out=f'{sys.argv[3]}/{estimator}.npz',
            estimate=EstimateOptions(estimator=estimator, cap=6),
            collect=CollectOptions(num_workers=0, batch_size=3),
            device='cpu')
"""


@pytest.mark.slow
def test_two_processes_estimate_what_one_does(
    write, config_file, checkpoint, tmp_path
):
    (tmp_path / 'run.py').write_text(DISTRIBUTED)
    out = tmp_path / 'two'
    completed = subprocess.run(
        [
            *(sys.executable, '-m', 'torch.distributed.run', '--standalone'),
            *('--nproc_per_node', '2', str(tmp_path / 'run.py')),
            *(str(config_file), str(checkpoint), str(out)),
        ],
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=240,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout[-3000:]
    assert len(list(out.iterdir())) == 3
    for path in out.iterdir():
        two = CostMatrix.load(path)
        one = write(
            path.name, estimate=EstimateOptions(estimator=path.stem, cap=6)
        )
        np.testing.assert_allclose(
            two.interrelation, one.interrelation, atol=1e-5, err_msg=path.stem
        )
        np.testing.assert_array_equal(two.samples, one.samples)


def test_the_command_writes_and_refuses(
    config_file, checkpoint, tmp_path, capsys
):
    out = tmp_path / 'cost.npz'
    words = [config_file, checkpoint, '--out', out, '--num-workers', 0]
    words += ['--device', 'cpu', '--max-images', 6, '--estimator', 'confusion']
    words += ['--cfg-options', 'val_dataloader.batch_size=1', 'a.b=(1,2)']
    words = list(map(str, words))
    assert main(['cost', 'estimate', *words]) == 0
    captured = capsys.readouterr()
    assert f'{out}: 4 categories' in captured.out
    assert '1/1' in captured.err  # the progress bar
    matrix = CostMatrix.load(out)
    assert matrix.estimator == 'confusion'
    assert matrix.options['max_images'] == 6
    assert main(['cost', 'estimate', *words]) == 2
    assert 'cost.npz exists' in capsys.readouterr().err
    words[0] = 'no_config.py'
    assert main(['cost', 'estimate', *words, '--force']) == 2
    error = capsys.readouterr().err
    assert error == 'error: config no_config.py does not exist\n'


@pytest.mark.slow
def test_coco_config_on_photographs(coco_tiny, tmp_path):
    """A COCO config as it is, but for the sizes of images and of layers."""
    config = ROOT / 'configs/faster_rcnn/faster-rcnn_r18_fpn_1x_coco.py'
    changes = {
        'model.backbone.init_cfg': None,
        'model.roi_head.bbox_head.fc_out_channels': 64,
        'train_dataloader.dataset.data_root': f'{coco_tiny}/',
        'test_dataloader.dataset.pipeline.1.scale': (320, 200),
    }
    loaded = Config.fromfile(config)
    loaded.merge_from_dict(changes)
    detector = MODELS.build(loaded.model)
    torch.save(detector.state_dict(), tmp_path / 'random.pth')
    cost_estimate(
        str(config),
        str(tmp_path / 'random.pth'),
        out=tmp_path / 'cost.npz',
        estimate=EstimateOptions(min_samples=2),
        collect=CollectOptions(num_workers=0, max_images=16),
        cfg_options=tuple(f'{k}={v}' for k, v in changes.items()),
        device='cpu',
    )
    matrix = CostMatrix.load(tmp_path / 'cost.npz')
    assert len(matrix.categories) == 81
    assert matrix.samples[0] > 5  # people are everywhere
    assert matrix.samples[80] > 100
    assert 0 < len(matrix.options['fallback']) < 79

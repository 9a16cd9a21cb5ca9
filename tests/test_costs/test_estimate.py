import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

import mmwkd.costs.estimate
from mmwkd.costs import CostMatrix
from mmwkd.costs.collect import CollectOptions
from mmwkd.costs.estimate import (
    ESTIMATORS,
    EstimateOptions,
    collect_confusion,
    estimate_cost_matrix,
    interrelation_of,
    teacher_source,
    write_cost_matrix,
)
from mmwkd.costs.statistics import ClassStatistics, StatisticsPlan
from mmwkd.functional import classifier_interrelation
from mmwkd.testing import tiny_faster_rcnn

from .conftest import CLASSES, NUM_IMAGES, save_checkpoint

ROOT = Path(__file__).resolve().parents[2]
COLLECT = CollectOptions(num_workers=0, batch_size=4)


@pytest.fixture
def write(config_file, checkpoint, tmp_path):
    """Write a cost matrix with changes to the arguments."""

    def call(out='cost.npz', *, estimator='centroid', **changes):
        arguments = dict(
            config=config_file,
            checkpoint=str(checkpoint),
            out=tmp_path / out,
            options=EstimateOptions(estimator=estimator),
            collect=COLLECT,
            device='cpu',
        )
        return write_cost_matrix(**{**arguments, **changes})

    return call


def test_ranks_take_a_gpu_each(monkeypatch, group):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    chosen = []
    monkeypatch.setattr(torch.cuda, 'set_device', chosen.append)
    monkeypatch.setenv('LOCAL_RANK', '3')

    device = mmwkd.costs.estimate._join_ranks(None)

    assert (device, chosen) == ('cuda:3', ['cuda:3'])


@pytest.mark.parametrize('estimator', ESTIMATORS)
def test_matrix_says_where_it_is_from(
    write, estimator, tmp_path, checkpoint, config_file
):
    import hashlib

    made = write(estimator=estimator)
    matrix = CostMatrix.load(tmp_path / 'cost.npz')
    np.testing.assert_array_equal(made.interrelation, matrix.interrelation)
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
    assert matrix.options['tensor'] == 'fc'
    assert matrix.options['fallback'] == []


def test_classifier_needs_no_data(write, config_file, checkpoint):
    matrix = write(
        estimator='classifier',
        cfg_options={'train_dataloader.dataset.data_root': '/nowhere'},
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
    said = []
    monkeypatch.setattr(
        mmwkd.costs.estimate,
        'print_log',
        lambda message, *args, **kwargs: said.append(message),
    )
    matrix = estimate_cost_matrix(
        config,
        teacher,
        EstimateOptions(),
        CollectOptions(num_workers=0, negatives=0),
    )
    assert len(said) == 1
    assert 'classifier weights: background' in said[0]
    assert matrix.options['fallback'] == ['background']
    expected = classifier_interrelation(
        teacher.detector.roi_head.bbox_head.fc_cls.weight
    )
    np.testing.assert_array_equal(matrix.interrelation[3], expected[3])
    assert abs(matrix.interrelation - expected.numpy())[:3, :3].max() > 0.01


def test_too_few_categories_are_refused():
    statistics = ClassStatistics(
        StatisticsPlan(num_categories=3, num_features=2)
    )
    seen = torch.tensor([False, True, False])
    with pytest.raises(ValueError, match='1 categories have enough samples'):
        interrelation_of('centroid', statistics, seen, torch.eye(3))


def test_small_memory_projects_the_covariances(write):
    """32 features of 4 categories would take 33 kB."""
    full = write('full.npz', estimator='covariance')
    small = write(
        'small.npz',
        options=EstimateOptions(estimator='covariance', memory_limit=20_000),
    )
    assert full.options['projected_features'] is None
    assert 8 <= small.options['projected_features'] < 32
    assert abs(full.interrelation - small.interrelation).max() < 0.5


@pytest.fixture
def no_teacher(monkeypatch):
    """Fail where a teacher is built: that is too late for some errors."""

    def build(*args):
        raise AssertionError('the teacher was built')

    monkeypatch.setattr(mmwkd.costs.estimate, 'build_teacher', build)


@pytest.mark.usefixtures('no_teacher')
def test_existing_file_is_refused_before_the_pass(write, tmp_path):
    path = tmp_path / 'cost.npz'
    path.write_text('mine')
    with pytest.raises(FileExistsError, match='cost.npz exists .*--force'):
        write()
    assert path.read_text() == 'mine'
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


def test_interrupted_write_loses_nothing(write, tmp_path, monkeypatch):
    """What was there stays, and the pass need not be repeated."""
    path = tmp_path / 'cost.npz'
    write(estimator='classifier')
    before = path.read_bytes()

    def full_disk(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(CostMatrix, 'save', full_disk)
        with pytest.raises(OSError, match='No space left'):
            write(force=True)
    assert path.read_bytes() == before
    batches = []
    write(
        force=True,
        progress=lambda loader, **_: batches.extend(loader) or batches,
    )
    assert batches == []
    assert CostMatrix.load(path).estimator == 'centroid'


def test_checkpoint_of_other_classes_is_refused(write, config, tmp_path):
    detector = MODELS.build(config.model)
    save_checkpoint(detector, tmp_path / 'o.pth', ('cat', 'bus', 'dog'))
    with pytest.raises(ValueError, match="1: 'bus' in the teacher, 'dog' in"):
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
    matrix = write_cost_matrix(
        tmp_path / 'run.py',
        None,
        tmp_path / 'cost.npz',
        collect=COLLECT,
        device='cpu',
    )
    assert matrix.teacher_config == str(config_file)
    assert matrix.estimator == 'centroid'
    other = teacher_source(config, 'other.pth', name='run.py')
    assert other['checkpoint'] == 'other.pth'


def test_missing_checkpoint_and_model_are_refused(config):
    with pytest.raises(ValueError, match='a.py names no checkpoint'):
        teacher_source(config, None, name='a.py')
    with pytest.raises(ValueError, match='a.py has no model'):
        teacher_source(Config(dict(lr=1)), 'a.pth', name='a.py')


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(estimator='cka'), "estimator must be one of .* got 'cka'"),
        (dict(cap=1), 'cap must be at least 2, got 1'),
        (dict(min_samples=0), 'min_samples must be at least 2, got 0'),
    ],
)
def test_bad_options_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        EstimateOptions(**changes)


def test_confusion_of_the_validation_split(config, teacher):
    statistics = collect_confusion(
        config, teacher, CollectOptions(split='val', num_workers=0)
    )
    confusion = statistics.mean_probabilities()
    assert confusion.shape == (4, 4)
    np.testing.assert_allclose(confusion.sum(dim=1), np.ones(4), rtol=1e-5)
    train = collect_confusion(
        config, teacher, CollectOptions(split='train', num_workers=0)
    )
    assert not torch.equal(train.means, statistics.means)


DISTRIBUTED = """
import sys
from mmdet.utils import register_all_modules
from mmwkd.costs.collect import CollectOptions
from mmwkd.costs.estimate import EstimateOptions, write_cost_matrix
if __name__ == '__main__':
    register_all_modules()
    for estimator in ('centroid', 'whitened_centroid', 'covariance',
                      'confusion', 'paired_cka'):
        write_cost_matrix(
            sys.argv[1], sys.argv[2], f'{sys.argv[3]}/{estimator}.npz',
            options=EstimateOptions(estimator=estimator, cap=6),
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
    assert len(list(out.iterdir())) == 5  # no partial files are left
    for path in out.iterdir():
        two = CostMatrix.load(path)
        one = write(
            path.name, options=EstimateOptions(estimator=path.stem, cap=6)
        )
        np.testing.assert_allclose(
            two.interrelation, one.interrelation, atol=1e-5, err_msg=path.stem
        )
        np.testing.assert_array_equal(two.samples, one.samples)


def run_tool(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['tool', *map(str, arguments)])
    runpy.run_path(
        str(ROOT / 'tools' / 'estimate_cost_matrix.py'), run_name='__main__'
    )


def test_tool_writes_and_refuses(
    monkeypatch, config_file, checkpoint, tmp_path, capsys
):
    out = tmp_path / 'cost.npz'
    command = [config_file, checkpoint, '--out', out, '--num-workers', 0]
    command += ['--device', 'cpu', '--max-images', 6, '--estimator']
    run_tool(monkeypatch, *command, 'confusion')
    captured = capsys.readouterr()
    assert f'{out}: 4 categories' in captured.out
    assert '1/1' in captured.err  # the progress bar
    matrix = CostMatrix.load(out)
    assert matrix.estimator == 'confusion'
    assert matrix.options['max_images'] == 6
    with pytest.raises(SystemExit, match='error: .*cost.npz exists'):
        run_tool(monkeypatch, *command, 'centroid')
    command[0], command[3] = 'no_config.py', tmp_path / 'other.npz'
    with pytest.raises(SystemExit, match='config no_config.py does not exist'):
        run_tool(monkeypatch, *command, 'centroid')


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
    matrix = write_cost_matrix(
        config,
        str(tmp_path / 'random.pth'),
        tmp_path / 'cost.npz',
        options=EstimateOptions(min_samples=2),
        collect=CollectOptions(num_workers=0, max_images=16),
        cfg_options=changes,
        device='cpu',
    )
    assert len(matrix.categories) == 81
    assert matrix.samples[0] > 5  # people are everywhere
    assert matrix.samples[80] > 100
    assert 0 < len(matrix.options['fallback']) < 79

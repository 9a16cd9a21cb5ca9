"""`mmwkd distil`: what it chooses, writes, prints and refuses."""

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import init_default_scope

from mmwkd.cli import main
from mmwkd.testing import tiny_faster_rcnn, tiny_retinanet
from tests.test_commands.pairs import write_pair


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch):
    monkeypatch.setenv('COLUMNS', '200')
    init_default_scope('mmdet')  # a student's own is kept


def run(words, capsys):
    """Exit code and what was printed, without line breaks."""
    code = main(words)
    printed = capsys.readouterr()
    return code, ' '.join((printed.out + printed.err).split())


def wider(family):
    return family(base_channels=16, neck_channels=32)


def test_two_stage_detectors_are_compared_by_rois(tmp_path, capsys):
    words = write_pair(tmp_path, tiny_faster_rcnn(), wider(tiny_faster_rcnn))
    code, printed = run(words, capsys)
    assert code == 0, printed
    model = Config.fromfile(tmp_path / 'distilled.py').model
    assert model.logit_loss == dict(type='WKDLogitLoss')
    assert model.roi_loss == dict(type='WKDFeatureLoss')
    assert 'neck_loss' not in model
    distiller = MODELS.build(model)
    sha = distiller._teacher.sha256[:8]
    for part in (
        f'teacher sha256 {sha}',
        'circle, square, star',
        'names and order agree',
        '16x7x7 32x7x7',
        '1x1 convolution',
        '64 rows of 2 images',
        'loss_wkd_roi_mean',
        'plain training',
    ):
        assert part in printed, part
    assert 'loading annotations' not in printed


def test_dense_detectors_are_compared_by_locations_and_necks(tmp_path, capsys):
    words = write_pair(tmp_path, tiny_retinanet(), wider(tiny_retinanet))
    code, printed = run(words, capsys)
    assert code == 0, printed
    model = Config.fromfile(tmp_path / 'distilled.py').model
    assert model.logit_loss == dict(type='WKDLogitLoss')
    assert model.neck_loss == dict(type='WKDFeatureLoss')
    assert 'neck maps, levels of stride 8, 16, 32, 64, 128' in printed


def test_other_pairs_are_compared_by_what_they_share(tmp_path, capsys):
    words = write_pair(tmp_path, tiny_retinanet(), wider(tiny_faster_rcnn))
    code, printed = run([*words, '--dry-run'], capsys)
    assert code == 0, printed
    assert 'neck_loss=dict(' in printed
    assert 'neck maps, levels of stride' in printed
    assert 'box_loss' not in printed
    assert not (tmp_path / 'distilled.py').exists()


def test_a_place_of_ones_own_is_found(tmp_path, capsys, monkeypatch):
    """Whatever a place is called: if it is recommended, it is tried."""
    import mmwkd.distil

    monkeypatch.setattr(
        mmwkd.distil,
        'recommended',
        lambda: dict(box_loss=dict(type='BoxDistillationLoss')),
    )
    words = write_pair(tmp_path, tiny_retinanet(), wider(tiny_retinanet))
    code, printed = run([*words, '--dry-run'], capsys)
    assert code == 0, printed
    assert "box_loss=dict(type='BoxDistillationLoss')" in printed
    assert 'BoxDistillationLoss on boxes' in printed
    assert '# boxes' in printed


def test_recommended_losses_are_those_of_the_shipped_configs():
    from mmwkd.distil import recommended

    config = get_config(
        'mmwkd::faster_rcnn/wkd-lf_faster-rcnn_r18-from-r101_fpn_1x_coco.py'
    )
    assert recommended()['roi_loss'] == config.model.roi_loss
    assert recommended()['logit_loss'] == config.model.logit_loss


def test_a_student_in_pure_python_keeps_its_style(tmp_path, capsys):
    words = write_pair(tmp_path, tiny_faster_rcnn(), wider(tiny_faster_rcnn))
    path = tmp_path / 'student.py'
    path.write_text('from mmdet.models import FPN\n' + path.read_text())
    code, printed = run(words, capsys)
    assert code == 0, printed
    assert 'with read_base()' in (tmp_path / 'distilled.py').read_text()
    model = Config.fromfile(tmp_path / 'distilled.py').model
    assert model.type == 'DetectorDistiller'
    elsewhere = tmp_path / 'elsewhere' / 'distilled.py'
    code, printed = run([*words[:-1], str(elsewhere)], capsys)
    assert code == 2
    assert f'set --out {tmp_path}' in printed


def as_pure_python(path, **changes):
    config = Config.fromfile(path)
    config.update(changes)
    config.dump(path)
    path.write_text('from mmdet.models import FPN\n' + path.read_text())


@pytest.mark.parametrize('pure', [False, True])
@pytest.mark.parametrize(
    ('hooks', 'checkpoint'),
    [
        (
            dict(checkpoint=dict(type='CheckpointHook', interval=7)),
            dict(type='SafeCheckpointHook', interval=7),
        ),
        (
            dict(timer=dict(type='IterTimerHook')),
            dict(type='SafeCheckpointHook'),
        ),
        ({}, dict(type='SafeCheckpointHook')),
        # of the student's own choice
        (dict(checkpoint=None), None),
        (
            dict(checkpoint=dict(type='EMAHook', momentum=0.1)),
            dict(type='EMAHook', momentum=0.1),
        ),
    ],
)
def test_options_of_the_checkpoint_hook_stay(
    tmp_path, capsys, hooks, checkpoint, pure
):
    words = write_pair(tmp_path, tiny_retinanet(), wider(tiny_retinanet))
    path = tmp_path / 'student.py'
    config = Config.fromfile(path)
    config.pop('default_hooks')
    if hooks:
        config.default_hooks = hooks
    config.dump(path)
    if pure:
        as_pure_python(path)
    code, printed = run(words, capsys)
    assert code == 0, printed
    written = Config.fromfile(tmp_path / 'distilled.py')
    assert written.default_hooks.get('checkpoint') == checkpoint


def test_what_the_student_imports_is_imported(tmp_path, capsys, monkeypatch):
    words = write_pair(tmp_path, tiny_retinanet(), wider(tiny_retinanet))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'shapes_of_mine.py').write_text(
        'from mmdet.datasets import CocoDataset\n'
        'from mmdet.registry import DATASETS\n'
        "@DATASETS.register_module(name='MyShapes', force=True)\n"
        'class MyShapes(CocoDataset):\n    """A dataset of a user\'s."""\n'
    )
    path = tmp_path / 'student.py'
    config = Config.fromfile(path)
    config.custom_imports = dict(imports='shapes_of_mine')
    config.train_dataloader.dataset.type = 'MyShapes'
    config.dump(path)
    code, printed = run(words, capsys)
    assert code == 0, printed
    written = Config.fromfile(tmp_path / 'distilled.py')
    assert written.custom_imports.imports == ['shapes_of_mine', 'mmwkd']


def test_students_of_another_scope_train(tmp_path, capsys, monkeypatch):
    words = write_pair(tmp_path, tiny_retinanet(), wider(tiny_retinanet))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'student.py'
    config = Config.fromfile(path)
    config.default_scope = 'mmengine'
    config.model._scope_ = 'mmdet'
    dataset = config.train_dataloader.dataset
    for part in (dataset, *dataset.pipeline):
        part.type = f'mmdet.{part.type}'
    config.dump(path)
    options = ['--train', '--work-dir', 'run']
    code, printed = run([*words, *options], capsys)
    assert code == 0, printed
    assert (tmp_path / 'run' / 'iter_2.pth').exists()


@pytest.mark.parametrize('index', [1, 3, 4])
def test_nothing_that_is_read_is_replaced(tmp_path, capsys, index):
    words = write_pair(tmp_path, tiny_retinanet(), wider(tiny_retinanet))
    before = Path(words[index]).read_bytes()
    words[-1] = str(tmp_path / '.' / Path(words[index]).name)
    code, printed = run([*words, '--force'], capsys)
    assert code == 2
    assert 'would replace what is read' in printed
    assert Path(words[index]).read_bytes() == before


def test_written_configs_are_kept_unless_forced(tmp_path, capsys):
    words = write_pair(tmp_path, tiny_faster_rcnn(), wider(tiny_faster_rcnn))
    (tmp_path / 'distilled.py').write_text('mine')
    code, printed = run(words, capsys)
    assert code == 2
    assert 'distilled.py exists already' in printed
    assert run([*words, '--force'], capsys)[0] == 0
    assert 'mine' not in (tmp_path / 'distilled.py').read_text()


def test_training_follows_with_the_options_of_mmdet(
    tmp_path, capsys, monkeypatch
):
    words = write_pair(tmp_path, tiny_faster_rcnn(), wider(tiny_faster_rcnn))
    monkeypatch.chdir(tmp_path)
    options = ['--work-dir', 'run', '--cfg-options', 'train_cfg.max_iters=1']
    code, printed = run([*words, '--train', *options], capsys)
    assert code == 0, printed
    assert (tmp_path / 'run' / 'iter_1.pth').exists()


@pytest.mark.parametrize(
    ('more', 'said'),
    [
        (['--amp'], '--amp is no option of distil'),
        (['--train', '--dry-run'], '--dry-run writes no config'),
        (['--teacher', 'none.py', 'none.pth'], 'none.py does not exist'),
    ],
)
def test_what_makes_no_sense_is_a_sentence(tmp_path, capsys, more, said):
    words = write_pair(tmp_path, tiny_faster_rcnn())
    code, printed = run([*words, *more], capsys)
    assert code == 2
    assert said in printed
    assert 'Traceback' not in printed


@pytest.mark.parametrize(
    ('options', 'start'),
    [
        ('--launcher pytorch --amp', '-m torch.distributed.run'),
        ('--resume --launcher=slurm', f'srun {sys.executable} -m mmwkd train'),
    ],
)
def test_a_launcher_takes_over_after_the_config_is_written(
    options, start, tmp_path, monkeypatch
):
    def execvp(program, command):
        sys.exit(' '.join(command))

    monkeypatch.setattr(os, 'execvp', execvp)
    words = write_pair(tmp_path, tiny_faster_rcnn(), wider(tiny_faster_rcnn))
    with pytest.raises(SystemExit) as end:
        main([*words, '--train', *options.split()])
    command = end.value.code
    out = words[words.index('--out') + 1]
    assert start in command
    assert command.endswith(f'-m mmwkd train {out} {options}')
    assert Path(out).is_file()


@pytest.mark.parametrize(
    ('processes', 'options', 'said'),
    [
        ('2', '--launcher pytorch', '2 processes would look'),
        ('1', '--launcher mpi', 'cannot start --launcher mpi'),
    ],
)
def test_other_launchers_are_refused(
    processes, options, said, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv('WORLD_SIZE', processes)
    words = write_pair(tmp_path, tiny_faster_rcnn())
    code, printed = run([*words, '--train', *options.split()], capsys)
    assert code == 2
    assert said in printed
    assert not (tmp_path / 'my_distillation.py').exists()


def test_other_classes_are_refused(tmp_path, capsys):
    words = write_pair(tmp_path, tiny_faster_rcnn(), wider(tiny_faster_rcnn))
    path = tmp_path / 'student.py'
    path.write_text(path.read_text().replace("'star'", "'moon'"))
    (tmp_path / 'data' / 'boxes.json').write_text(
        (tmp_path / 'data' / 'boxes.json').read_text().replace('star', 'moon')
    )
    code, printed = run(words, capsys)
    assert code == 2
    assert "is 'moon' instead of 'star'" in printed
    assert not (tmp_path / 'distilled.py').exists()


def test_a_distiller_is_no_student(tmp_path, capsys):
    words = write_pair(tmp_path, tiny_faster_rcnn(), wider(tiny_faster_rcnn))
    assert run(words, capsys)[0] == 0
    words[1] = words[-1]
    words[-1] = str(tmp_path / 'again.py')
    code, printed = run(words, capsys)
    assert code == 2
    assert 'distils already' in printed


def test_classes_that_differ_are_not_said_to_agree(tmp_path, capsys):
    teacher = wider(tiny_retinanet)
    teacher.bbox_head.num_classes = 5
    words = write_pair(tmp_path, tiny_retinanet(), teacher)
    path = tmp_path / 'teacher.pth'
    content = torch.load(path, weights_only=False)
    content['meta']['dataset_meta']['classes'] = tuple('abcde')
    torch.save(content, path)
    code, printed = run(words, capsys)
    assert code == 0, printed
    assert "not the same: class 0 is 'circle' instead of 'a'" in printed
    assert 'agree' not in printed


@pytest.mark.parametrize('name', ['model', 'train_dataloader'])
def test_a_config_that_does_not_train_is_named(tmp_path, capsys, name):
    words = write_pair(tmp_path, tiny_retinanet(), wider(tiny_retinanet))
    config = Config.fromfile(tmp_path / 'student.py')
    config.pop(name)
    config.dump(tmp_path / 'student.py')
    code, printed = run(words, capsys)
    assert code == 2
    assert f'student.py has no {name}' in printed


def test_data_without_images_are_a_sentence(tmp_path, capsys):
    words = write_pair(tmp_path, tiny_retinanet(), wider(tiny_retinanet))
    path = tmp_path / 'data' / 'boxes.json'
    document = json.loads(path.read_text())
    path.write_text(json.dumps(dict(document, images=[], annotations=[])))
    code, printed = run(words, capsys)
    assert code == 2
    assert 'error: the training dataset has no images' in printed
    assert not (tmp_path / 'distilled.py').exists()


def test_fewer_images_than_a_batch_are_a_sentence(tmp_path, capsys):
    words = write_pair(tmp_path, tiny_retinanet(), wider(tiny_retinanet))
    path = tmp_path / 'student.py'
    config = Config.fromfile(path)
    config.train_dataloader.update(batch_size=9, drop_last=True)
    config.dump(path)
    code, printed = run(words, capsys)
    assert code == 2
    assert 'fewer images than a batch of 9' in printed


def test_a_student_must_be_a_file(capsys):
    name = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
    code, printed = run(['distil', name, '--teacher', 'a', 'b'], capsys)
    assert code == 2
    assert f"_base_ = '{name}'" in printed


def test_a_broken_teacher_config_is_not_said_to_be_missing(tmp_path, capsys):
    words = write_pair(tmp_path, tiny_retinanet(), wider(tiny_retinanet))
    (tmp_path / 'teacher.py').write_text("assert False, 'set DATA_ROOT'\n")
    with pytest.raises(AssertionError, match='set DATA_ROOT'):
        main(words)


def test_a_missing_folder_is_named(tmp_path, capsys):
    words = write_pair(tmp_path, tiny_retinanet(), wider(tiny_retinanet))
    words[-1] = str(tmp_path / 'none' / 'distilled.py')
    code, printed = run([*words, '--dry-run'], capsys)
    assert code == 2
    assert f'{tmp_path / "none"}, the folder of --out, does not' in printed

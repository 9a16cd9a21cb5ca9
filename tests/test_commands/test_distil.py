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

from mmwkd.cli import main
from mmwkd.testing import tiny_faster_rcnn, tiny_retinanet
from tests.test_commands.pairs import write_pair


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch):
    monkeypatch.setenv('COLUMNS', '200')


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
    words[1] = str(tmp_path / 'distilled.py')
    code, printed = run([*words, '--force'], capsys)
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
    assert 'error: the training data cannot be read' in printed
    assert not (tmp_path / 'distilled.py').exists()


def test_a_missing_folder_is_named(tmp_path, capsys):
    words = write_pair(tmp_path, tiny_retinanet(), wider(tiny_retinanet))
    words[-1] = str(tmp_path / 'none' / 'distilled.py')
    code, printed = run([*words, '--dry-run'], capsys)
    assert code == 2
    assert f'{tmp_path / "none"}, the folder of --out, does not' in printed

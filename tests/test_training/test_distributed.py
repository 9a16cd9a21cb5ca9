"""Two processes joined by gloo, through the project's own launcher."""

import json
import os
import signal

import pytest
import torch

from .conftest import ROOT, free_port, launch
from .crashing import train_in_ranks

pytestmark = pytest.mark.several_processes


def without_every_second_annotation(minicoco, path):
    """Rank 1 of 2 then sees no ground truth at all."""
    document = json.loads(
        (minicoco / 'annotations' / 'instances_train.json').read_text()
    )
    kept = {image['id'] for image in document['images'][::2]}
    document['annotations'] = [
        a for a in document['annotations'] if a['image_id'] in kept
    ]
    path.write_text(json.dumps(document))


@pytest.mark.slow
@pytest.mark.parametrize('has_rois', [True, False])
def test_a_rank_without_ground_truth_keeps_step(
    run_config, minicoco, tmp_path, has_rois
):
    """find_unused_parameters=False: a missing gradient would be an error."""
    without_every_second_annotation(minicoco, tmp_path / 'train.json')
    dataset = run_config.train_dataloader.dataset
    dataset.ann_file = str(tmp_path / 'train.json')
    if not has_rois:
        proposals = run_config.model.student.train_cfg.rpn_proposal
        proposals.min_bbox_size = 10_000  # ground truth alone is left
        dataset.pipeline[1] = dict(  # ranks draw other sizes
            type='RandomChoiceResize', scales=[(64, 64), (96, 96), (128, 128)]
        )
    run_config.train_cfg = dict(
        type='EpochBasedTrainLoop', max_epochs=1, val_interval=5
    )
    run_config.default_hooks.checkpoint.type = 'SafeCheckpointHook'
    run_config.log_level = 'INFO'
    if has_rois:
        run_config.dump(tmp_path / 'config.py')
        code, output = launch(tmp_path / 'config.py', tmp_path / 'run')
        assert code == 0, output[-3000:]
    else:
        run_config.experiment_name = 'ranks'
        assert train_in_ranks(run_config.to_dict(), free_port()) == [0, 0]
    saved = torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=False)
    assert saved['meta']['iter'] == 2
    assert not any(
        'teacher' in key or 'module.' in key for key in saved['state_dict']
    )


KILLER = """
import os
import signal
from mmdet.registry import HOOKS
from mmengine.hooks import Hook

@HOOKS.register_module()
class KillRank1(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.rank == 1 and batch_idx == 1:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_killed_rank_ends_the_others(run_config, tmp_path, monkeypatch):
    """The launch itself would raise TimeoutExpired if a rank waited on."""
    (tmp_path / 'killer.py').write_text(KILLER)
    monkeypatch.setenv('PYTHONPATH', f'{ROOT}{os.pathsep}{tmp_path}')
    run_config.custom_imports = dict(imports=['mmwkd', 'killer'])
    run_config.custom_hooks = [dict(type='KillRank1')]
    run_config.dump(tmp_path / 'config.py')
    code, output = launch(tmp_path / 'config.py', tmp_path / 'run')
    assert code != 0
    assert f'exitcode  : -{signal.SIGKILL:d}' in output, output[-3000:]
    assert not list((tmp_path / 'run').glob('*.pth'))


@pytest.mark.slow
def test_all_ranks_refuse_a_teacher_with_the_same_score(
    run_config, train, trained_teacher
):
    options = dict(min_ap=1)
    run_config.model.teacher.checkpoint = str(trained_teacher)
    with pytest.raises(ValueError, match='below min_ap=1') as alone:
        train(custom_hooks=[dict(type='TeacherCheckHook', **options)])

    run_config.custom_hooks = [dict(type='TeacherCheckHook', **options)]
    run_config.experiment_name = 'ranks'
    said = train_in_ranks(run_config.to_dict(), free_port())
    assert said == 2 * [str(alone.value)]

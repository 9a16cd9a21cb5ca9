"""Two processes joined by gloo, through the project's own launcher."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


def free_port():
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


def launch(config, work_dir, *options, processes=2):
    """Run tools/dist_train.sh; its combined output."""
    environment = dict(
        os.environ,
        PYTHON=sys.executable,
        PORT=str(free_port()),
        OMP_NUM_THREADS='1',
    )
    completed = subprocess.run(
        [
            ROOT / 'tools' / 'dist_train.sh',
            config,
            str(processes),
            '--work-dir',
            work_dir,
            '--cfg-options',
            'model_wrapper_cfg.type=MMDistributedDataParallel',
            'model_wrapper_cfg.device_ids=None',
            'model_wrapper_cfg.find_unused_parameters=False',
            *options,
        ],
        env=environment,
        cwd=work_dir.parent,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=240,
        check=False,
    )
    return completed.returncode, completed.stdout


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
def test_a_rank_without_ground_truth_keeps_step(
    run_config, minicoco, tmp_path
):
    """find_unused_parameters=False: a missing gradient would be an error."""
    without_every_second_annotation(minicoco, tmp_path / 'train.json')
    run_config.train_dataloader.dataset.ann_file = str(tmp_path / 'train.json')
    run_config.train_cfg = dict(
        type='EpochBasedTrainLoop', max_epochs=1, val_interval=5
    )
    run_config.default_hooks.checkpoint.type = 'SafeCheckpointHook'
    run_config.log_level = 'INFO'
    run_config.dump(tmp_path / 'config.py')
    code, output = launch(tmp_path / 'config.py', tmp_path / 'run')
    assert code == 0, output[-3000:]
    saved = torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=False)
    assert saved['meta']['iter'] == 2
    assert not any(
        'teacher' in key or 'module.' in key for key in saved['state_dict']
    )


WITNESS = """
import os
from pathlib import Path
import torch
from mmdet.registry import HOOKS
from mmwkd.hooks import TeacherCheckHook

@HOOKS.register_module()
class WitnessedCheckHook(TeacherCheckHook):
    def before_train(self, runner):
        try:
            super().before_train(runner)
        except ValueError as error:
            Path(f'rank_{runner.rank}.txt').write_text(str(error))
            torch.distributed.barrier()  # so that no rank is killed
            os._exit(0)  # gloo's threads may abort an ordinary exit
"""


@pytest.mark.slow
def test_all_ranks_refuse_a_teacher_with_the_same_score(
    run_config, train, trained_teacher, tmp_path, monkeypatch
):
    options = dict(min_ap=1, max_images=2)
    run_config.model.teacher.checkpoint = str(trained_teacher)
    with pytest.raises(ValueError, match='on 2 validation images') as alone:
        train(custom_hooks=[dict(type='TeacherCheckHook', **options)])

    (tmp_path / 'witness.py').write_text(WITNESS)
    monkeypatch.setenv('PYTHONPATH', f'{ROOT}{os.pathsep}{tmp_path}')
    run_config.custom_imports = dict(imports=['mmwkd', 'witness'])
    run_config.custom_hooks = [dict(type='WitnessedCheckHook', **options)]
    run_config.dump(tmp_path / 'config.py')
    code, output = launch(tmp_path / 'config.py', tmp_path / 'run')
    assert code == 0, output[-3000:]
    for rank in range(2):
        said = (tmp_path / f'rank_{rank}.txt').read_text()
        assert said == str(alone.value)

from pathlib import Path

import pytest
from mmengine.config import Config

from studies.demo.recipes import (
    DISTILLED,
    RECIPES,
    TEACHER,
    TrainedTeacher,
    plan_training,
    write_config,
)

REPO = Path(__file__).resolve().parents[3]
COACH = TrainedTeacher(Path('t/teacher.py'), Path('t/iter_7.pth'), 'abc')


def plan(recipe=TEACHER, **changes):
    arguments = {
        'repo': REPO,
        'data_root': Path('/data/minicoco'),
        'data_parameters': {'num_train': 2000, 'seed': 0},
        'seed': 0,
    }
    return plan_training(recipe, **{**arguments, **changes})


def written(made, tmp_path):
    write_config(made, tmp_path / 'derived.py', repo=REPO)
    return Config.fromfile(tmp_path / 'derived.py')


def test_the_derived_config_reads_the_drawn_data(tmp_path):
    config = written(plan(seed=5), tmp_path)

    for split in 'train', 'val', 'test':
        loader = config[f'{split}_dataloader']
        assert loader.dataset.data_root == '/data/minicoco/'
    annotations = '/data/minicoco/annotations/instances_val.json'
    assert config.val_evaluator.ann_file == annotations
    assert config.test_evaluator.ann_file == annotations
    assert config.randomness.seed == 5


def test_the_derived_config_changes_no_hyper_parameter(tmp_path):
    made = plan()
    config = written(made, tmp_path)
    shipped = Config.fromfile(REPO / TEACHER.config)

    for key in 'model', 'optim_wrapper', 'param_scheduler', 'train_cfg':
        assert config[key] == shipped[key]
        assert key not in made.overrides


def test_distillation_takes_the_teacher_that_was_trained(tmp_path):
    config = written(plan(DISTILLED, teacher=COACH), tmp_path)

    assert config.model.type == 'DetectorDistiller'
    assert config.model.teacher.config == 't/teacher.py'
    assert config.model.teacher.checkpoint == 't/iter_7.pth'


@pytest.mark.parametrize('max_iters', [2, 3, 60])
def test_a_quick_look_shrinks_the_whole_schedule(tmp_path, max_iters):
    made = plan(max_iters=max_iters)
    config = written(made, tmp_path)

    assert made.max_iters == config.train_cfg.max_iters == max_iters
    assert 1 <= config.train_cfg.val_interval <= max_iters
    assert 1 <= config.default_hooks.checkpoint.interval <= max_iters
    assert 1 <= config.default_hooks.logger.interval <= max_iters
    warm_up, decay = config.param_scheduler
    assert 0 == warm_up.begin < warm_up.end == decay.begin
    assert decay.begin < decay.end == max_iters


def test_the_fingerprint_knows_what_a_training_depends_on():
    plans = [
        plan(),
        plan(seed=1),
        plan(max_iters=4),
        plan(data_parameters={'num_train': 2001, 'seed': 0}),
        plan(DISTILLED, teacher=COACH),
        plan(DISTILLED, teacher=COACH._replace(fingerprint='abd')),
        *(plan(recipe) for recipe in RECIPES[1:]),
    ]

    assert len({made.fingerprint for made in plans}) == len(plans)


def test_another_version_of_mmwkd_trains_again(monkeypatch):
    before = plan().fingerprint
    monkeypatch.setattr('studies.demo.recipes.__version__', '99.0')

    assert plan().fingerprint != before


def test_the_fingerprint_does_not_depend_on_where_things_are():
    moved = COACH._replace(checkpoint=Path('elsewhere/iter_7.pth'))

    assert plan(data_root=Path('/b')).fingerprint == plan().fingerprint
    assert (
        plan(DISTILLED, teacher=moved).fingerprint
        == plan(DISTILLED, teacher=COACH).fingerprint
    )


def test_recipes_log_validations_by_iteration(tmp_path):
    # otherwise each of them is logged at step 0
    config = written(plan(), tmp_path)

    assert config.default_hooks.logger.log_metric_by_epoch is False
    assert config.default_hooks.logger.type == 'LoggerHook'

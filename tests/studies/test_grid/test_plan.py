from pathlib import Path

import pytest
from mmengine.config import Config

from studies.grid.grid import read_grid
from studies.grid.plan import plan_runs
from tests.studies.test_grid.test_grid import change

ROOT = Path(__file__).resolve().parents[3]


def plan(repo):
    return plan_runs(read_grid(repo / 'grid.py'), repo)


def hashes(repo):
    return {run.row: run.config_hash for run in plan(repo)}


def test_every_row_gets_its_first_seed_before_any_gets_its_second(repo):
    runs = plan(repo)

    assert [(run.row, run.role, run.seed) for run in runs] == [
        ('teacher', 'teacher', None),
        ('student', 'baseline', 0),
        ('kd', 'method', 0),
        ('student', 'baseline', 1),
        ('kd', 'method', 1),
    ]
    assert len({run.key for run in runs}) == 5


def test_a_row_with_fewer_seeds_is_left_out_of_the_later_ones(repo):
    change(repo, "config='kd.py'", "config='kd.py', num_seeds=1")

    runs = [(run.row, run.seed) for run in plan(repo)]

    assert runs[1:] == [('student', 0), ('kd', 0), ('student', 1)]


def test_options_go_where_they_have_a_place(repo):
    teacher, student, kd, *_ = plan(repo)

    by_iteration = 'default_hooks.logger.log_metric_by_epoch=False'
    assert student.options == (by_iteration,)
    assert kd.options == (
        by_iteration,
        'model.teacher.checkpoint=big.pth',
        'model.loss.weight=2.0',
    )
    assert teacher.options == ()
    assert (teacher.checkpoint, student.checkpoint) == ('big.pth', None)
    assert student.max_iters == 40


def test_the_teacher_gets_options_of_its_test_only(repo):
    change(
        repo,
        "cfg_options = {'model",
        "cfg_options = {'model.depth': 34, 'test_evaluator.x': 1, 'model",
    )

    teacher, student, *_ = plan(repo)

    assert teacher.options == ('test_evaluator.x=1',)
    assert 'model.depth=34' in student.options


def test_the_same_files_have_the_same_hashes(repo):
    before = hashes(repo)
    (repo / 'student.py').write_text(
        '# a comment\n' + (repo / 'student.py').read_text()
    )

    assert hashes(repo) == before


def test_a_loss_that_a_config_leaves_over_is_not_in_its_hash(repo):
    before = hashes(repo)
    with (repo / 'kd.py').open('a') as file:
        file.write("roi_loss = dict(type='PKDLoss')\n")

    assert hashes(repo) == before


def test_what_a_config_calls_its_own_is_not_in_its_hash(repo):
    before = hashes(repo)
    with (repo / 'student.py').open('a') as file:
        file.write("_norm = dict(type='BN')\n")

    assert hashes(repo) == before


@pytest.mark.parametrize(
    ('file', 'old', 'new', 'changed'),
    [
        ('student.py', 'max_iters=40', 'max_iters=50', {'student'}),
        ('grid.py', '2.0', '3.0', {'kd'}),
        ('big.pth', 'weights', 'others', {'kd', 'teacher'}),
    ],
)
def test_what_a_training_depends_on_is_in_its_hash(
    repo, file, old, new, changed
):
    before = hashes(repo)
    path = repo / file
    path.write_text(path.read_text().replace(old, new))
    after = hashes(repo)

    assert {row for row in before if before[row] != after[row]} == changed


def test_a_config_that_does_not_exist(repo):
    change(repo, "'kd.py'", "'kdd.py'")

    with pytest.raises(
        FileNotFoundError, match=r"row 'kd': config kdd.py does not exist"
    ):
        plan(repo)


def test_an_option_without_a_place(repo):
    change(repo, 'model.loss.weight', 'model.los.weight')

    with pytest.raises(
        ValueError,
        match=r"row 'kd': the option 'model.los.weight' has no place in "
        r"kd.py, which has no 'model.los'",
    ):
        plan(repo)


def test_an_option_for_all_that_no_row_has_a_place_for(repo):
    change(repo, 'model.teacher.checkpoint', 'model.teachr.checkpoint')

    with pytest.raises(
        ValueError, match=r"no row has a place for .* 'model.teachr.checkpoint"
    ):
        plan(repo)


@pytest.mark.parametrize('value', ["'1'", '{}', "'a, b'", "'(a,'"])
def test_an_option_that_a_command_line_would_change(repo, value):
    change(repo, '2.0', value)

    with pytest.raises(ValueError, match=r"'model.loss.weight' cannot be"):
        plan(repo)


@pytest.mark.parametrize(
    'value', ['None', 'True', '1', "'text'", '[1, 2]', "('a', 'b')"]
)
def test_options_that_a_command_line_keeps(repo, value):
    change(repo, '2.0', value)

    assert f'model.loss.weight={eval(value)}' in plan(repo)[2].options


def test_a_score_by_another_metric(repo):
    config = repo / 'kd.py'
    config.write_text(config.read_text().replace('CocoMetric', 'VOCMetric'))

    with pytest.raises(
        ValueError, match=r"row 'kd': .* must be a CocoMetric .*'VOCMetric'"
    ):
        plan(repo)


@pytest.mark.parametrize('gone', ['train.json', 'images'])
def test_missing_data_are_found_first(repo, gone):
    (repo / 'data' / gone).rename(repo / 'elsewhere')

    with pytest.raises(
        FileNotFoundError,
        match=f"row 'student': the data are missing: data/{gone} does not",
    ):
        plan(repo)


def test_a_missing_teacher_is_found_first(repo):
    (repo / 'big.pth').unlink()

    with pytest.raises(
        FileNotFoundError,
        match=r"row 'kd': model.teacher.checkpoint = big.pth does not exist",
    ):
        plan(repo)


def test_a_checkpoint_on_the_web_is_left_to_the_training(repo):
    change(
        repo,
        "model.teacher.checkpoint': 'big.pth'",
        "model.teacher.checkpoint': 'https://there/big.pth'",
    )

    assert 'https://there/big.pth' in ' '.join(plan(repo)[2].options)


def test_two_rows_that_are_equal(repo):
    change(
        repo,
        'student=dict(',
        "twin=dict(config='student.py', cfg_options={'model.depth': 18}),"
        'student=dict(',
    )

    with pytest.raises(
        ValueError, match="the rows 'twin' and 'student' are the same training"
    ):
        plan(repo)


GRIDS = sorted((ROOT / 'studies' / 'grids').glob('*.py'))


@pytest.mark.parametrize('path', GRIDS, ids=lambda path: path.stem)
def test_the_shipped_grids_fit_the_shipped_configs(path, tmp_path):
    """Everything but the data and files that their user makes."""
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    grid = read_grid(path)
    made = [
        value
        for row in grid.rows.values()
        for value in row.options.values()
        if str(value).endswith(('.npz', '.pth'))
    ]
    if grid.teacher:
        made.append(grid.teacher.checkpoint)
    made += [
        f'data/{weights}.pth'
        for weights in ('mobilenetv2_imagenet', 'yolox_nano_coco_mmdet')
    ]
    (tmp_path / 'data/coco_photos/images').mkdir(parents=True)
    made += [
        f'data/coco_photos/annotations/instances_{split}.json'
        for split in ('train', 'tune', 'val')
    ]
    made += [
        f'work_dirs/{teacher}_r18-half_fpn_800_minicoco/iter_800.pth'
        for teacher in ('faster-rcnn', 'cascade-rcnn', 'retinanet')
    ]
    made.append(
        'work_dirs/faster-rcnn_mobilenetv2_pafpn64_1000_cocophotos/'
        'iter_1000.pth'
    )
    for data in ('minicoco', 'minicoco_tune', 'iconcoco'):
        for split in ('train', 'val'):
            (tmp_path / 'data' / data / split).mkdir(parents=True)
            made.append(f'data/{data}/annotations/instances_{split}.json')
    for file in set(made):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(file)

    runs = plan_runs(grid, tmp_path)

    trained = sum(len(row.seeds) for row in grid.rows.values())
    assert len(runs) == trained + (grid.teacher is not None)
    assert len({run.key for run in runs}) == len(runs)


def test_a_row_may_name_losses_and_places_of_a_pair(composing):
    change(composing, "config='kd.py', ", "losses='kd', places=['logit'], ")
    *_, kd = plan(composing)

    config = Config.fromstring(kd.composed, '.py')
    assert config.model == dict(
        type='DetectorDistiller',
        student=dict(type='Detector', depth=18),
        teacher=dict(checkpoint='big.pth'),
        logit_loss=dict(type='KDLoss', weight=1.0),
    )
    assert kd.options[-1] == 'model.logit_loss.weight=2.0'
    assert 'losses/kd' not in kd.config
    assert kd.config.endswith('kd at logit')


def test_losses_without_places_are_for_all_their_places(composing):
    change(composing, "config='kd.py', ", "losses=['kd', 'pkd'], ")

    model = Config.fromstring(plan(composing)[-1].composed, '.py').model
    assert {k for k in model if k.endswith('_loss')} == {
        *('logit_loss', 'neck_loss', 'roi_loss')
    }


def test_a_changed_loss_is_another_training(composing):
    change(composing, "config='kd.py', ", "losses='kd', ")
    before = hashes(composing)
    losses = composing / 'configs/_base_/losses/kd.py'
    losses.write_text(losses.read_text().replace('KDLoss', 'DKDLoss'))
    after = hashes(composing)

    assert {row for row in before if before[row] != after[row]} == {'kd'}


@pytest.mark.parametrize(
    ('row', 'message'),
    [
        ("losses='no', ", r'config .*losses/no.py does not exist'),
        ("losses='kd', places=['roi'], ", r"'roi'; it is for logit"),
        ("losses=['pkd', 'cwd'], ", r"'pkd' and 'cwd' are both for 'neck'"),
        ("losses='kd', config='kd.py', ", r'either config, .* or losses'),
        ("places=['roi'], ", r'either config, .* or losses'),
        ("losses='kd', pair=dict(student='x'), ", r"pair: key 'teacher'"),
    ],
)
def test_losses_that_cannot_be(composing, row, message):
    change(composing, "config='kd.py', ", row)

    with pytest.raises((FileNotFoundError, ValueError), match=message):
        plan(composing)


def test_losses_need_a_pair(composing):
    change(composing, "config='kd.py', ", "losses='kd', ")
    change(composing, 'pair = ', '_pair = ')

    with pytest.raises(ValueError, match="row 'kd': losses need a pair"):
        plan(composing)


@pytest.fixture
def composing(repo):
    """A repository whose grid can name losses."""
    losses = repo / 'configs' / '_base_' / 'losses'
    losses.mkdir(parents=True)
    (losses / 'kd.py').write_text(
        "logit_loss = dict(type='KDLoss', weight=1.0)"
    )
    (losses / 'pkd.py').write_text(
        "neck_loss = dict(type='PKDLoss')\nroi_loss = dict(type='PKDLoss')"
    )
    (losses / 'cwd.py').write_text("neck_loss = dict(type='CWDLoss')")
    (repo / 'teacher.py').write_text("teacher = dict(checkpoint='big.pth')")
    change(repo, 'model.loss', 'model.logit_loss')
    with (repo / 'grid.py').open('a') as file:
        file.write("pair = dict(student='student.py', teacher='teacher.py')\n")
    return repo

import pytest

from studies.grid.grid import Row, Teacher, read_grid


def change(repo, old, new):
    grid = repo / 'grid.py'
    text = grid.read_text()
    assert old in text
    grid.write_text(text.replace(old, new))
    return grid


def test_reads_what_the_file_says(repo):
    grid = read_grid(repo / 'grid.py')

    assert grid.dataset == 'minicoco'
    assert grid.seeds == (0, 1)
    assert grid.baseline == 'student'
    assert grid.teacher == Teacher('big.py', 'big.pth')
    assert grid.options == {'model.teacher.checkpoint': 'big.pth'}
    assert grid.rows == {
        'student': Row('student.py', {}, (0, 1)),
        'kd': Row('kd.py', {'model.loss.weight': 2.0}, (0, 1)),
    }


def test_a_row_may_have_the_first_seeds_only(repo):
    change(repo, "config='kd.py'", "config='kd.py', num_seeds=1")

    assert read_grid(repo / 'grid.py').rows['kd'].seeds == (0,)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r'grid file .*none.py does not exist'
    ):
        read_grid(tmp_path / 'none.py')


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        (
            'dataset =',
            'data_set =',
            r"unknown key 'data_set'; known are",
        ),
        ("dataset = 'minicoco'", '', r"key 'dataset' is missing"),
        ('seeds = [0, 1]', 'seeds = [1, 1]', r'seeds must be different'),
        ('seeds = [0, 1]', 'seeds = []', r'seeds must be different'),
        (
            "baseline = 'student'",
            "baseline = 'pupil'",
            r"baseline 'pupil' is not one of the rows: student, kd",
        ),
        ('checkpoint=', 'weights=', r"teacher: unknown key 'weights'"),
        (
            "config='student.py'",
            "confg='student.py'",
            r"row 'student': unknown key 'confg'",
        ),
        ('kd=dict', 'teacher=dict', r"row 'teacher': a name has letters"),
        (
            "config='kd.py'",
            "config='kd.py', num_seeds=3",
            r"row 'kd': num_seeds must be from 1 to 2, .*; got 3",
        ),
    ],
)
def test_refuses_what_is_no_grid(repo, old, new, message):
    with pytest.raises(ValueError, match=message):
        read_grid(change(repo, old, new))


def test_a_name_of_a_row_is_no_path(repo):
    grid = change(repo, 'kd=dict(', "**{'../kd': dict(")
    grid.write_text(grid.read_text().replace('2.0}),', '2.0})},'))

    with pytest.raises(ValueError, match="row '../kd': a name has letters"):
        read_grid(grid)

"""The pages say what the tables of runs say."""

import io
from dataclasses import replace

import pytest
from mmengine.config import Config
from PIL import Image

from studies import pages
from studies.grid.table import add_record
from tests.studies.test_grid.conftest import make_record, teacher_record

RUNS = pages.RUNS


@pytest.fixture
def results(monkeypatch, tmp_path):
    """The script, with tables of runs that a test writes."""
    monkeypatch.setattr(pages, 'RUNS', tmp_path / 'runs.csv')
    return pages


def write(folder, dataset, *records):
    for record in records:
        add_record(folder / 'runs.csv', replace(record, dataset=dataset))


def cells(table):
    lines = table.splitlines()
    return [[c.strip() for c in line.strip('|').split('|')] for line in lines]


def test_the_pages_have_the_numbers_of_the_tables():
    for page in pages.PAGES:
        text = page.read_text(encoding='utf-8')
        assert pages.fill(text) == text, (
            f'{page.name}: run python studies/pages.py'
        )


def test_every_row_of_the_grids_is_in_a_table(results):
    listed = {*results.MAIN}.union(*results.BESIDE.values())
    listed |= {*results.RIVALS, *results.VARIANTS, *results.TEACHERS}
    listed |= {*results.FAST}
    for name in ('minicoco_methods', 'iconcoco'):
        grid = Config.fromfile(results.GRIDS / f'{name}.py')
        assert set(grid.rows) <= listed
    grid = Config.fromfile(results.GRIDS / 'cocophotos.py')
    assert grid.dataset == results.PHOTOGRAPHS
    assert set(grid.rows) <= set(results.PHOTOGRAPHED)


def test_only_what_is_between_the_marks_is_replaced(results, tmp_path):
    write(
        tmp_path,
        results.TUNING,
        teacher_record(39.0),
        make_record('student', 10, 20.0),
        make_record('dkd_1', 10, 24.0),
        make_record('kd_1', 10, 25.0),
        make_record('kd_0.3', 10, 26.0),
    )
    page = 'before\n\n<!-- table tuning -->\nold\n<!-- end -->\n\nafter\n'

    filled = results.fill(page)

    start, rest = filled.split('<!-- table tuning -->\n')
    table, end = rest.split('\n<!-- end -->')
    assert (start, end) == ('before\n\n', '\n\nafter\n')
    assert cells(table)[2:] == [
        ['kd', '**0.3: 26.0**, 1: 25.0'],
        ['dkd', '**1: 24.0**'],
    ]
    assert results.fill(filled) == filled
    with pytest.raises(KeyError, match='no such'):
        results.fill('<!-- table no such -->\n<!-- end -->')


def test_equal_time_counts_from_the_student_that_trained_longer(
    results, tmp_path
):
    for dataset, longer in (('minicoco', 1360), ('iconcoco', 1085)):
        write(tmp_path, dataset, teacher_record(40.0))
        for seed in (0, 1):
            write(
                tmp_path,
                dataset,
                make_record('student', seed, 20.0),
                make_record('wkd-lf', seed, 35.0),
                make_record(f'student_{longer}', seed, 30.0 + 2 * seed),
            )
    # a seed that only one has
    write(tmp_path, 'minicoco', make_record('wkd-lf', 2, 10.0))

    table = cells(results.TABLES['equal time']())

    assert [line[:4] for line in table[2:]] == [
        ['minicoco', 'wkd-lf', '35.0', '31.0 (`student_1360`)'],
        ['iconcoco', 'wkd-lf', '35.0', '31.0 (`student_1085`)'],
    ]
    assert table[2][4] == '+4.0'
    assert table[2][6:] == ['44 %', '2']  # 4 of 9


def test_equal_time_closes_the_gap_to_the_teacher_of_the_row(
    results, tmp_path
):
    write(
        tmp_path,
        'minicoco',
        teacher_record(40.0),
        make_record('teacher_2400', 0, 60.0),
    )
    write(tmp_path, 'iconcoco', make_record('student', 0, 20.0))
    for seed in (0, 1):
        write(
            tmp_path,
            'minicoco',
            make_record('student', seed, 20.0),
            make_record('student_1360', seed, 30.0),
            make_record('wkd-lf_teacher-2400', seed, 45.0),
        )

    table = cells(results.TABLES['equal time']())

    assert [(line[1], line[6]) for line in table[2:]] == [
        ('wkd-lf_teacher-2400', '50 %')  # 15 of 30, not of 10
    ]


def test_the_stop_is_compared_with_the_whole_schedule(results, tmp_path):
    write(tmp_path, 'minicoco', teacher_record(40.0))
    write(tmp_path, 'iconcoco', teacher_record(30.0))
    for row, *aps in [
        ('student', 20.0, 20.0),
        ('wkd-lf', 35.0, 36.0),
        ('wkd-lf-fast', 38.0, 37.0),
        ('cwd-roi', 34.0, 36.0),
        ('cwd-roi-fast', 36.0, 36.0),
    ]:
        for seed, ap in enumerate(aps):
            write(tmp_path, 'minicoco', make_record(row, seed, ap))

    table = cells(results.TABLES['stop']())

    assert [line[:5] + line[6:7] + line[8:] for line in table[2:]] == [
        ['minicoco', 'wkd-lf', '35.5', '37.5', '+2.0', '–', '2'],
        ['minicoco', 'cwd-roi', '35.0', '36.0', '+1.0', '+1.5', '2'],
    ]


def test_other_teachers_are_compared_among_themselves(results, tmp_path):
    for dataset, gain in (
        ('iconcoco', 9.0),
        ('iconcoco, second teacher', 2.0),
    ):
        for seed, rival in enumerate((24.0, 26.0)):
            write(
                tmp_path,
                dataset,
                make_record('fitnet-roi-fast', seed, rival),
                make_record('wkd-lf-fast', seed, rival + gain),
            )
    write(
        tmp_path, 'minicoco, second teacher', make_record('student', 0, 20.0)
    )

    (line,) = cells(results.TABLES['second teacher']())[2:]

    assert line == [
        *('iconcoco', 'wkd-lf-fast', '27.0', 'fitnet-roi-fast', '25.0'),
        *('+2.0', '+2.0 to +2.0', '2'),
    ]


def test_wkd_is_compared_with_rivals_on_the_same_tensors(results, tmp_path):
    for dataset in ('minicoco', 'iconcoco'):
        write(tmp_path, dataset, make_record('student', 0, 20.0))
    for seed, (ours, kd) in enumerate([(25.0, 24.0), (27.0, 25.0)]):
        write(tmp_path, 'iconcoco', make_record('wkd-l', seed, ours))
        write(tmp_path, 'iconcoco', make_record('kd', seed, kd))
    # a seed and a method without their twins
    write(tmp_path, 'iconcoco', make_record('kd', 2, 0.0))
    write(tmp_path, 'iconcoco', make_record('pkd', 0, 0.0))

    (line,) = cells(results.TABLES['same place']())[2:]

    assert line[:7] == [
        *('logits', 'iconcoco', 'wkd-l', '26.0', 'kd', '24.5', '+1.5'),
    ]
    assert line[-1] == '2'


def test_a_rival_that_is_behind_makes_a_positive_difference(results, tmp_path):
    for seed, (ours, kd) in enumerate([(34.0, 30.0), (35.0, 30.0)]):
        write(
            tmp_path,
            'minicoco',
            make_record('student', seed, 20.0),
            make_record('wkd-lf', seed, ours),
            make_record('kd', seed, kd),
        )

    table = cells(results.TABLES['minicoco, against']())

    # half a width: 12.7 times 0.71 over the root of 2
    assert table[2] == ['kd', '+4.5', '-1.9 to +10.9', '2']
    assert [row[0] for row in table[3:]] == ['student']


def test_photographs_have_gains_over_the_student(results, tmp_path):
    for seed, ap in ((0, 4.0), (1, 4.4)):
        write(
            tmp_path,
            results.PHOTOGRAPHS,
            make_record('student', seed, 2.0),
            make_record('kd', seed, 3.0),
            make_record('wkd-ln', seed, ap),
        )
    write(tmp_path, results.PHOTOGRAPHS, teacher_record(18.7))

    gains = cells(results.TABLES['photographs']())

    assert [line[:3] for line in gains[2:]] == [
        ['teacher', '18.7', ''],
        ['student alone', '2.0 ± 0.0 (2)', '–'],
        ['`kd`', '3.0 ± 0.0 (2)', '+1.0'],
        ['`wkd-ln`', '4.2 ± 0.3 (2)', '+2.2'],
    ]


def test_defaults_are_compared_with_tuned_weights(results, tmp_path):
    for seed, (default, tuned) in enumerate([(35.0, 36.0), (35.4, 36.0)]):
        write(tmp_path, 'minicoco', make_record('wkd-lf', seed, tuned))
        write(
            tmp_path,
            'minicoco, untuned',
            make_record('wkd-lf', seed, default),
            make_record('pkd-roi', seed, 30.0),  # has no tuned run
        )
    write(tmp_path, 'minicoco', make_record('wkd-lf', 2, 50.0))
    _, _, *lines = cells(results.TABLES['untuned']())
    assert [line[:4] + line[5:] for line in lines] == [
        ['Faster R-CNN, `wkd-lf`', '35.2', '36.0', '-0.8', '2']
    ]


def test_a_variant_is_compared_with_its_method(results, tmp_path):
    for seed, (method, variant) in enumerate([(26.0, 28.0), (24.0, 27.0)]):
        write(
            tmp_path,
            'minicoco',
            make_record('student', seed, 20.0),
            make_record('wkd-f-roi', seed, method),
            make_record('wkd-f-roi_grid-2', seed, variant),
        )

    table = cells(results.TABLES['variants, against']())

    # half a width: 12.7 times 0.71 over the root of 2
    assert table[2:] == [
        ['wkd-f-roi_grid-2', 'wkd-f-roi', '+2.5', '-3.9 to +8.9', '2']
    ]


def test_a_scan_has_the_values_and_the_default(results, tmp_path):
    for row, ap in [
        ('student', 20.0),
        ('wkd-l', 26.0),
        ('wkd-l_kappa-1', 25.0),
        ('wkd-l_kappa-4', 24.0),
    ]:
        write(tmp_path, 'minicoco', make_record(row, 0, ap))
    # a seed that the scan does not have
    write(tmp_path, 'minicoco', make_record('wkd-l', 3, 36.0))

    scans = results._scans()

    assert [scan.name for scan in scans] == ['kappa']
    assert scans[0].aps == {1.0: [25.0], 2.0: [26.0], 4.0: [24.0]}
    assert ['kappa', '**2**', '26.0'] in [
        row[:3] for row in cells(results.TABLES['sensitivity']())
    ]
    picture = Image.open(
        io.BytesIO(results.draw_sensitivity(scans, 20.0))
    ).convert('RGB')
    assert len(picture.getcolors(1 << 24)) > 50

import io

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from studies.grid import figures, summary
from studies.grid.figures import draw_ap_curves, draw_comparison
from studies.grid.report import table_lines, to_markdown, write_summary
from studies.grid.summary import estimate, iterations_to, mean_curve
from studies.grid.theme import DARK, LIGHT
from tests.studies.test_demo.test_pictures import pixels, share_of
from tests.studies.test_demo.test_report import Page
from tests.studies.test_grid.conftest import (
    make_record,
    table_of,
    teacher_record,
)

STUDENT = (21.8, 20.9, 22.7)
KD = (23.1, 22.9, 23.5)


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Pictures of few pixels."""
    monkeypatch.setattr(figures, '_DPI', 50)


def summarise(records, baseline=None):
    return summary.summarise(table_of(records), baseline)


@pytest.fixture
def records():
    return [
        teacher_record(39.6),
        *(make_record('student', s, ap) for s, ap in enumerate(STUDENT)),
        *(
            make_record('kd', s, ap, train_seconds=150.0)
            for s, ap in enumerate(KD)
        ),
    ]


def by_name(shown):
    return {row.name: row for row in shown.rows}


def test_means_deviations_and_times(records):
    shown = summarise(records)

    assert [row.name for row in shown.rows] == ['kd', 'student']
    kd, student = shown.rows
    assert kd.ap.mean == pytest.approx(np.mean(KD))
    assert kd.std == pytest.approx(np.std(KD, ddof=1))
    assert kd.aps == dict(enumerate(KD))
    assert (kd.train_seconds, kd.time_ratio) == (150.0, 1.5)
    assert (student.time_ratio, student.difference) == (1.0, None)
    assert shown.teacher_ap == 39.6
    assert shown.notes == ()


def test_the_interval_is_that_of_the_paired_t_test(records):
    oracle = stats.ttest_rel(KD, STUDENT).confidence_interval(0.95)

    difference = by_name(summarise(records))['kd'].difference

    assert difference.mean == pytest.approx(np.mean(KD) - np.mean(STUDENT))
    assert difference.interval == pytest.approx((oracle.low, oracle.high))
    assert difference.num_seeds == 3


def test_the_gap_is_that_of_the_means(records):
    expected = (np.mean(KD) - np.mean(STUDENT)) / (39.6 - np.mean(STUDENT))

    assert by_name(summarise(records))['kd'].gap_closed == pytest.approx(
        expected
    )


def test_without_a_better_teacher_there_is_no_gap(records):
    assert by_name(summarise(records[1:]))['kd'].gap_closed is None
    worse = [teacher_record(20.0), *records[1:]]
    assert by_name(summarise(worse))['kd'].gap_closed is None


def test_differences_are_of_shared_seeds_only(records):
    records.append(make_record('kd', 7, 90.0))

    shown = summarise(records)

    kd = by_name(shown)['kd']
    assert len(kd.aps) == 4
    assert kd.difference.num_seeds == 3
    assert kd.gap_closed < 0.2
    assert any('same seeds' in note for note in shown.notes)


def test_one_seed_has_no_interval():
    records = [make_record('student', 0, 20.0), make_record('kd', 0, 22.0)]

    kd = by_name(summarise(records))['kd']

    assert kd.difference == (2.0, None, 1)
    assert kd.std is None
    assert kd.ap.interval is None


def test_without_the_baseline_nothing_is_paired():
    (kd,) = summarise([make_record('kd', 0, 22.0)]).rows

    assert (kd.difference, kd.gap_closed, kd.time_ratio) == (None, None, None)


def test_records_of_an_earlier_config_do_not_count(records):
    records.insert(0, make_record('kd', 7, 99.0, config_hash='earlier'))

    shown = summarise(records)

    assert by_name(shown)['kd'].aps == dict(enumerate(KD))
    assert shown.superseded == 1
    assert '1 records of earlier configs' in to_markdown(shown)


@pytest.mark.parametrize(
    ('changes', 'note'),
    [
        ({'jobs': 1}, 'do not compare their times'),
        ({'iterations': 30}, 'equal iterations'),
        ({'commit': 'abc'}, '2 commits'),
        ({'commit': 'abc-dirty'}, 'not committed'),
    ],
)
def test_what_makes_rows_hard_to_compare_is_noted(records, changes, note):
    records.append(make_record('kd', 2, KD[2], **changes))

    assert any(note in text for text in summarise(records).notes)


def test_another_row_may_be_the_baseline(records):
    records.append(make_record('dkd', 0, 25.1))

    rows = by_name(summarise(records, baseline='kd'))

    assert rows['kd'].is_baseline
    assert rows['student'].difference.mean == pytest.approx(
        np.mean(STUDENT) - np.mean(KD)
    )
    assert rows['dkd'].difference == (pytest.approx(25.1 - KD[0]), None, 1)
    with pytest.raises(
        ValueError, match="'nkd' is not a row .* has dkd, kd, st"
    ):
        summarise(records, baseline='nkd')


def test_curves_are_averaged_where_all_have_points():
    curves = [((20, 1.0), (40, 2.0)), ((20, 2.0), (30, 9.0), (40, 6.0))]

    assert mean_curve(curves) == ((20, 1.5), (40, 4.0))
    assert mean_curve([(), curves[0]]) == ()


@pytest.mark.parametrize(
    ('ap', 'iteration'),
    [(1.0, 10.0), (2.0, 20.0), (3.0, 30.0), (3.5, 80.0), (5.0, None)],
)
def test_where_a_curve_reaches_an_ap_first(ap, iteration):
    curve = ((20, 2.0), (40, 4.0), (60, 3.0), (80, 4.0))
    if ap == 3.5:
        curve = ((20, 2.0), (60, 3.0), (80, 3.5))

    assert iterations_to(ap, curve) == iteration


def test_the_faster_row_catches_up_earlier(records):
    rows = by_name(summarise(records))

    assert rows['student'].caught_up == 40
    assert 20 < rows['kd'].caught_up < 40


def test_refuses_what_cannot_be_compared(records):
    with pytest.raises(ValueError, match='records of none'):
        summarise([])
    other = make_record('kd', 3, 1.0, dataset='coco')
    with pytest.raises(ValueError, match='records of coco; minicoco'):
        summarise([*records, other])
    rival = make_record('dkd', 0, 1.0, role='baseline')
    with pytest.raises(ValueError, match='has one baseline; .* dkd, student'):
        summarise([*records, rival])


def test_a_row_is_beside_the_baseline_of_its_own_seeds():
    records = [
        make_record('student', 0, 20.0, train_seconds=100.0),
        make_record('student', 1, 40.0, train_seconds=300.0),
        make_record('kd', 0, 24.0, train_seconds=150.0),
    ]

    kd, student = sorted(summarise(records).rows, key=lambda row: row.name)

    # from 12 after 20 iterations to 24 after 40; not to the mean of 30
    assert kd.caught_up == pytest.approx(20 + 20 * 8 / 12)
    assert (kd.time_ratio, student.time_ratio) == (1.5, 1.0)


@pytest.mark.parametrize('values', [[], [1.0, np.nan], [[1.0]]])
def test_an_estimate_is_of_finite_values(values):
    with pytest.raises(ValueError, match='expected finite values'):
        estimate(values)


def test_an_estimate_shifts_and_scales_with_its_values():
    values = np.array([3.0, 1.0, 4.0, 1.0, 5.0])
    low, high = estimate(values).interval

    moved = estimate((10 - 2 * values)[::-1])

    assert moved.interval == pytest.approx((10 - 2 * high, 10 - 2 * low))
    assert estimate([2.0] * 3).interval == (2.0, 2.0)
    huge = estimate(1e12 * values)
    assert huge.interval == pytest.approx((1e12 * low, 1e12 * high))


def test_the_table_as_text(records):
    header, teacher, kd, student = table_lines(summarise(records))

    assert teacher[:2] == ('teacher', '39.6')
    assert kd[:5] == ('kd', '23.2', '0.3', '3', '+1.4')
    oracle = stats.ttest_rel(KD, STUDENT).confidence_interval(0.95)
    assert kd[5] == f'{oracle.low:+.1f} to {oracle.high:+.1f}'
    assert kd[6:] == ('8 %', '38', '2.5', '1.50')
    assert student[0] == 'student (baseline)'
    assert {len(header)} == {len(line) for line in (teacher, kd, student)}


@pytest.mark.parametrize('theme', [LIGHT, DARK])
@pytest.mark.parametrize('draw', [draw_comparison, draw_ap_curves])
def test_figures_show_the_baseline_in_its_colour(records, draw, theme):
    shown = pixels(draw(summarise(records), theme))
    without = pixels(
        draw(summarise([r for r in records if r.row == 'kd']), theme)
    )

    assert share_of(theme.baseline, shown) > 2 * share_of(
        theme.baseline, without
    )
    assert share_of(theme.page, shown) > 0.7


def test_figures_of_one_run_without_validations():
    shown = summarise([make_record('kd', 0, 1.0, curve=())])

    for draw in draw_comparison, draw_ap_curves:
        assert Image.open(io.BytesIO(draw(shown))).width == 550


def test_writes_four_files_and_replaces_them(records, tmp_path):
    write_summary(summarise(records[1:]), tmp_path)
    outputs = write_summary(summarise(records), tmp_path)

    assert sorted(tmp_path.iterdir()) == sorted(outputs)
    page = Page(outputs.page.read_text())
    assert page.cells[:2] == ['teacher', '39.6']
    assert all(address.startswith('data:') for address in page.addresses)
    markdown = outputs.markdown.read_text()
    assert '| kd | 23.2 | 0.3 | 3 | +1.4 |' in markdown
    for picture in outputs.comparison, outputs.curves:
        assert f']({picture.name})' in markdown
        assert len(Image.open(picture).convert('RGB').getcolors(1 << 24)) > 50

import csv
import multiprocessing

import pandas as pd
import pytest

from studies.grid.table import (
    COLUMNS,
    add_record,
    curve_of,
    keys,
    read_table,
)
from tests.studies.test_grid.conftest import (
    make_record,
    table_of,
    teacher_record,
)


def test_a_table_gives_back_what_was_added(tmp_path):
    table = tmp_path / 'new' / 'runs.csv'
    records = [
        teacher_record(40.0),
        make_record('student', 0, 21.8),
        make_record('kd', 1, 23.4, commit=None),
    ]

    for record in records:
        add_record(table, record)

    teacher, student, kd = read_table(table).itertuples()
    assert pd.isna(teacher.seed)
    assert (student.row, student.seed, student.mAP) == ('student', 0, 21.8)
    assert pd.isna(kd.mAP_s)
    assert (kd.mAP_l, kd.iterations, kd.commit) == (25.4, 40, '')
    assert curve_of(kd.ap_curve) == records[2].curve


def add_records(table, seeds):
    for seed in seeds:
        add_record(table, make_record('kd', seed, 1.0))


def test_processes_that_share_a_table_lose_no_line(tmp_path):
    table = tmp_path / 'runs.csv'
    fork = multiprocessing.get_context('fork')  # starts at once
    processes = [
        fork.Process(target=add_records, args=(table, range(first, 30, 2)))
        for first in (0, 1)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert sorted(read_table(table).seed) == list(range(30))


def test_a_table_is_plain_csv_with_a_line_for_each_run(tmp_path):
    table = tmp_path / 'runs.csv'
    add_record(table, make_record('student', 0, 21.8))
    before = table.read_text()
    add_record(table, make_record('kd', 0, 23.4))

    assert table.read_text().startswith(before)  # a diff shows one new line
    with table.open(newline='') as file:
        student, kd = csv.DictReader(file)
    assert tuple(student) == COLUMNS
    assert student['mAP'] == '21.8'
    assert student['mAP_s'] == ''  # the data have no such objects
    assert student['ap_curve'] == '20:10.9 40:21.8'
    assert student['options'] == "model.a=1 'b.c=two words'"
    assert kd['row'] == 'kd'


def test_no_table_is_an_empty_one(tmp_path):
    table = read_table(tmp_path / 'none.csv')

    assert table.empty
    assert keys(table) == []


@pytest.mark.parametrize('text', ['', 'method,ap\nkd,1\n'])
def test_a_table_of_another_schema_is_left_alone(tmp_path, text):
    table = tmp_path / 'runs.csv'
    table.write_text(text)

    with pytest.raises(ValueError, match='a table of another schema'):
        add_record(table, make_record('kd', 0, 1.0))

    assert table.read_text() == text


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('21.8', 'good', r"line 2: mAP must be a number, got 'good'"),
        ('21.8', 'inf', r"line 2: mAP must be a number, got 'inf'"),
        ('21.8', '', r"line 2: mAP must be a number, got ''"),
        ('baseline', 'winner', r"line 2: role must be .* got 'winner'"),
        ('student,', '', r'line 2: expected 21 cells, got 20'),
    ],
)
def test_a_broken_line_is_named(tmp_path, old, new, message):
    table = tmp_path / 'runs.csv'
    add_record(table, make_record('student', 0, 21.8))
    table.write_text(table.read_text().replace(old, new, 1))

    with pytest.raises(ValueError, match=message):
        read_table(table)


def test_a_key_is_that_of_a_run_on_any_machine():
    records = [
        make_record('kd', 1, 1.0),
        make_record('kd', 1, 2.0, machine='elsewhere'),
        make_record('kd', 2, 1.0),
        make_record('kd', 1, 1.0, config_hash='other'),
        make_record('kd', 1, 1.0, dataset='other'),
        teacher_record(40.0),
    ]

    first, again, *others = keys(table_of(records))

    assert first == again == ('minicoco', 'kd', 'hash of kd', 1)
    assert len({first, *others}) == 5
    assert others[-1] == ('minicoco', 'teacher', 'hash of teacher', None)

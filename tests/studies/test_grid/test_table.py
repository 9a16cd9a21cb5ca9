import csv
import subprocess
import sys
from dataclasses import replace

import pytest

from studies.grid.table import COLUMNS, add_record, read_table
from tests.studies.test_grid.conftest import make_record, teacher_record


def test_a_table_gives_back_what_was_added(tmp_path):
    table = tmp_path / 'new' / 'runs.csv'
    records = [
        teacher_record(40.0),
        make_record('student', 0, 21.8),
        make_record('kd', 1, 23.4, commit=None),
    ]

    for record in records:
        add_record(table, record)

    assert read_table(table) == records


def test_processes_that_share_a_table_lose_no_line(tmp_path):
    table = tmp_path / 'runs.csv'
    add = (
        'import sys; from pathlib import Path;'
        'from studies.grid.table import add_record;'
        'from tests.studies.test_grid.conftest import make_record;'
        "[add_record(Path(sys.argv[1]), make_record('kd', int(seed), 1.0))"
        ' for seed in sys.argv[2:]]'
    )
    halves = [[str(seed) for seed in range(i, 30, 2)] for i in (0, 1)]
    processes = [
        subprocess.Popen([sys.executable, '-c', add, str(table), *seeds])
        for seeds in halves
    ]
    assert [process.wait() for process in processes] == [0, 0]

    seeds = sorted(record.seed for record in read_table(table))
    assert seeds == list(range(30))


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
    assert read_table(tmp_path / 'none.csv') == []


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
        ('21.8', 'good', r"line 2: could not convert .*'good'"),
        ('baseline', 'winner', r"line 2: role must be .* got 'winner'"),
        ('student,', '', r'line 2: '),
    ],
)
def test_a_broken_line_is_named(tmp_path, old, new, message):
    table = tmp_path / 'runs.csv'
    add_record(table, make_record('student', 0, 21.8))
    table.write_text(table.read_text().replace(old, new, 1))

    with pytest.raises(ValueError, match=message):
        read_table(table)


def test_a_record_has_the_key_of_its_run():
    record = make_record('kd', 1, 1.0)

    assert record.key != replace(record, seed=2).key
    assert record.key != replace(record, config_hash='other').key
    assert record.key != replace(record, dataset='other').key
    assert record.key == replace(record, machine='elsewhere').key

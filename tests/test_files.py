"""What we write is there whole, or what was there before is."""

import multiprocessing
import os
import signal

import pytest
from numpy import random

from mmwkd.files import remove_leftovers
from mmwkd.hooks.safe_checkpoint_hook import CheckpointBackend
from studies.demo.results import write_results
from studies.grid.table import add_record
from tests.faults import inject
from tests.studies.test_demo.conftest import make_results
from tests.studies.test_grid.conftest import make_record
from tests.test_costs.test_cost_matrix import make as make_matrix

FULL = 99  # exit code
# each writes one file of a version into a folder
WRITERS = {
    'checkpoint': lambda folder, version: CheckpointBackend().put(
        random.default_rng(version).bytes(5000), folder / 'iter_1.pth'
    ),
    'cost matrix': lambda folder, version: make_matrix(
        estimator=['centroid', 'classifier'][version]
    ).save(folder / 'cost.npz', force=True),
    'table': lambda folder, version: add_record(
        folder / 'table.csv', make_record('student', version, 20.0)
    ),
    'demo results': lambda folder, version: write_results(
        make_results(teacher=38.4, baseline=20 + version, distilled=28.7),
        folder / 'results.json',
    ),
}


def write_in_process(write, folder, **fault):
    """Write the second version; an exit code or the number of changes."""

    def child():
        events = inject(folder, lambda name: True, **fault)
        try:
            write(folder, 1)
        except OSError:
            os._exit(FULL)
        os._exit(len(events))

    process = multiprocessing.get_context('fork').Process(target=child)
    process.start()
    process.join()
    return process.exitcode


def number_of_files(folder):
    """Files there, but for the one that writers of a table wait at."""
    return sum(not name.endswith('.locked') for name in os.listdir(folder))


def contents(folder):
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if not path.name.startswith('.')
    }


@pytest.mark.parametrize('name', WRITERS)
def test_no_fault_leaves_half_a_file(tmp_path, name):
    def started(folder):
        (tmp_path / folder).mkdir()
        WRITERS[name](tmp_path / folder, 0)
        return tmp_path / folder

    whole = started('whole')
    old = contents(whole)
    num_changes = write_in_process(WRITERS[name], whole)
    assert num_changes >= 3  # a file is made, gets its rights and its name
    new = contents(whole)
    assert len(new) == 1
    assert new != old
    for index in range(num_changes):
        folder = started(f'killed_{index}')
        code = write_in_process(WRITERS[name], folder, fault='kill', at=index)
        assert code == -signal.SIGKILL
        assert contents(folder) == old
        remove_leftovers(folder)
        assert number_of_files(folder) == 1
    limit = len(*new.values()) // 2
    for fault, expected in (('cut', -signal.SIGXFSZ), ('full', FULL)):
        folder = started(fault)
        code = write_in_process(
            WRITERS[name], folder, fault=fault, limit=limit
        )
        assert code == expected
        assert contents(folder) == old
        # an error is cleaned up after, a kill cannot be
        assert number_of_files(folder) == (2 if fault == 'cut' else 1)

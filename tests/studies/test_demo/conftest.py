"""Small stand-ins for what a demo makes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from studies.demo.measure import Boxes
from studies.demo.results import (
    Dataset,
    Model,
    Results,
)
from studies.grid.accuracy import Accuracy
from studies.grid.machine import Machine
from studies.grid.scalars import parse_scalars
from tests.studies.test_grid.conftest import scalars_text

REPO = Path(__file__).resolve().parents[3]


def make_model(title, ap, **changes):
    model = Model(
        title=title,
        config=f'configs/{title}.py',
        command=f'python tools/train.py {title}',
        checkpoint='iter_40.pth',
        accuracy=Accuracy(ap, ap + 20.3, ap - 4.1, ap - 1, ap + 1, None),
        ap_in_training=ap,
        parameters=1_234_567,
        gflops=0.0625,
        images_per_second=41.7,
        iterations=40,
        minutes=3.25,
        attempts=1,
    )
    return replace(model, **changes)


def make_results(teacher, baseline, distilled):
    return Results(
        command='python tools/demo.py --seed 3',
        date='2020-02-02T20:20:20+00:00',
        commit='0123456789',
        seed=3,
        machine=Machine(
            'A <fast> CPU & more', 2, 2, 'Linux', {'torch': '9.8.7'}
        ),
        dataset=Dataset(2000, 400, 128, 24, 0),
        teacher=make_model(
            'teacher', teacher, parameters=7_650_000, gflops=0.7125
        ),
        baseline=make_model('student, alone', baseline),
        distilled=make_model(
            'student, distilled', distilled, images_per_second=43.9
        ),
    )


@pytest.fixture
def results():
    return make_results(teacher=38.4, baseline=24.6, distilled=28.7)


@pytest.fixture
def history():
    return parse_scalars(scalars_text([10, 20, 30, 40]))


@pytest.fixture
def distilled_history():
    return parse_scalars(scalars_text([10, 20, 30, 40], loss_wkd_roi_mean=0.5))


def make_boxes(*rows):
    """Boxes from rows of x1, y1, x2, y2, label, score."""
    table = np.reshape(np.array(rows, dtype=np.float32), (-1, 6))
    return Boxes(table[:, :4], table[:, 4].astype(np.int64), table[:, 5])

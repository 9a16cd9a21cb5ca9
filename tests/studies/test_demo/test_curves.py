import io

import numpy as np
from PIL import Image

from studies.demo.curves import (
    CURVES_SIZE,
    Curves,
    draw_curves,
)
from studies.grid.scalars import History
from studies.grid.theme import DARK, LIGHT

TITLES = {'teacher': 'T', 'baseline': 'B', 'distilled': 'D'}


def pixels(png):
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert('RGB')).astype(int)


def share_of(colour, page):
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return (np.abs(page - wanted).max(axis=-1) < 8).mean()


def test_curves_have_their_size_and_all_lines(history, distilled_history):
    curves = Curves(history, history, distilled_history)

    page = pixels(draw_curves(curves, TITLES))

    assert page.shape == (CURVES_SIZE[1], CURVES_SIZE[0], 3)
    assert share_of(LIGHT.page, page) > 0.8
    thirds = np.array_split(page, 3, axis=1)
    # the distilled student, or the term that it adds, is in each panel
    for third in thirds:
        assert share_of(LIGHT.distilled, third) > 2e-4


def test_the_dark_theme_is_dark(history, distilled_history):
    curves = Curves(history, history, distilled_history)

    page = pixels(draw_curves(curves, TITLES, DARK))

    assert page.mean() < 60
    assert share_of(DARK.distilled, page) > 2e-4


def test_curves_of_a_training_that_logged_nothing(history):
    page = pixels(draw_curves(Curves(history, history, History()), TITLES))

    assert page.shape == (CURVES_SIZE[1], CURVES_SIZE[0], 3)

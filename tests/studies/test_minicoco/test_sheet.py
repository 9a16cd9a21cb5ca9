"""The contact sheet. Whether it is pretty, a person has to say."""

import cv2
import numpy as np
import pytest

from studies.toydata.minicoco.sheet import (
    SHEET_SHAPE,
    contact_sheet,
    write_contact_sheet,
)


@pytest.fixture(scope='module')
def page():
    return contact_sheet()


def test_page_has_the_promised_shape(page):
    assert page.shape == SHEET_SHAPE
    assert page.dtype == np.uint8


def test_page_is_filled_from_top_to_bottom(page):
    paper = page[0, 0]
    inked = np.any(page != paper, axis=2)

    # No empty strip wider than the gaps between the parts.
    for axis in (0, 1):
        filled = np.flatnonzero(inked.any(axis=axis))
        assert np.diff(filled).max() < 40
    assert inked.mean() > 0.25


def test_seed_changes_the_page(page):
    assert np.mean(contact_sheet(seed=1) != page) > 0.1


def test_file_is_the_page(page, tmp_path):
    path = tmp_path / 'new' / 'sheet.png'

    write_contact_sheet(path)

    np.testing.assert_array_equal(cv2.imread(str(path))[..., ::-1], page)

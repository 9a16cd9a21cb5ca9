"""Hand-made drawings, so that no test needs a network."""

import json
from pathlib import Path

import pytest

from studies.toydata.iconcoco.categories import CATEGORIES
from studies.toydata.iconcoco.fetch import PACKAGES
from studies.toydata.iconcoco.icons import IconSet

FIXTURE = Path(__file__).with_name('icons.json')
SHAPES = ('square', 'corner', 'disc', 'spill')


@pytest.fixture(scope='session')
def tiny():
    """The drawings of the fixture under their own names."""
    return IconSet('tiny', json.loads(FIXTURE.read_text()))


@pytest.fixture(scope='session')
def icon_sets():
    """Every drawing of the mapping, by every vendor, is one of the shapes."""
    document = json.loads(FIXTURE.read_text())
    names = sorted(
        name.partition('/')[0]
        for category in CATEGORIES
        for names in category.icons.values()
        for name in names
    )
    shapes = document.pop('icons')
    icons = {
        name: shapes[SHAPES[position % len(SHAPES)]]
        for position, name in enumerate(names)
    }
    return {
        vendor: IconSet(vendor, {**document, 'icons': icons})
        for vendor in PACKAGES
    }

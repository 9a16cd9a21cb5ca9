"""The category table, and which drawings stand for a category.

``mapping.json`` lists them by category and vendor. A name of a drawing was
taken into it after looking at the drawing, because names mislead: one vendor's
keyboard is a piano, another's tennis is a ball. Look at the contact sheet
after every change.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Category(NamedTuple):
    """One class of objects, named and numbered as in COCO."""

    name: str
    id: int
    supercategory: str
    icons: Mapping[str, tuple[str, ...]]  # vendor -> names of its drawings


def _read_categories() -> tuple[Category, ...]:
    path = Path(__file__).with_name('mapping.json')
    table = json.loads(path.read_text(encoding='utf-8'))
    return tuple(
        Category(
            name=name,
            id=entry['id'],
            supercategory=entry['supercategory'],
            icons={
                vendor: tuple(names)
                for vendor, names in entry['icons'].items()
            },
        )
        for name, entry in table.items()
    )


CATEGORIES = _read_categories()

CLASSES = tuple(category.name for category in CATEGORIES)

# Disjoint, so that no split shows a drawing of another. Both generations of
# Noto are Google's and stay together. Twemoji draws every category and is left
# for validation; the two vendors for tuning draw 48 of them.
# The order fixes the random stream of each split: append, never reorder.
SPLIT_VENDORS = {
    'train': ('noto', 'noto-v1', 'fluent-emoji-flat', 'emojione'),
    'val': ('twemoji',),
    'tune': ('fxemoji', 'streamline-emojis'),
}


def drawn_by(vendors: tuple[str, ...]) -> list[int]:
    """Indices into CATEGORIES that at least one of the vendors draws."""
    return [
        index
        for index, category in enumerate(CATEGORIES)
        if any(vendor in category.icons for vendor in vendors)
    ]

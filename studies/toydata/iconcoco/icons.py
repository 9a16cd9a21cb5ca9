"""Drawings as Iconify stores them: SVG bodies in one JSON document."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Icon(NamedTuple):
    """A drawing as Iconify stores it; lengths in its own units."""

    body: str  # SVG without the root element
    left: float = 0
    top: float = 0
    width: float = 16
    height: float = 16

    def part(self, start: float, stop: float) -> 'Icon':
        """The upright strip from start to stop, fractions of the width."""
        return self._replace(
            left=self.left + start * self.width,
            width=(stop - start) * self.width,
        )


class IconSet:
    """The drawings of one vendor, by name."""

    def __init__(self, vendor: str, document: Mapping[str, Any]) -> None:
        self._vendor = vendor
        self._document = document

    def __getitem__(self, name: str) -> Icon:
        entry = self._document['icons'].get(name)
        if entry is None:
            raise ValueError(f'{self._vendor} has no drawing named {name!r}')
        # Iconify writes a size once for all icons that share it; 16 is the
        # format's own default.
        size = {**self._document, **entry}
        return Icon(
            body=entry['body'],
            left=size.get('left', 0),
            top=size.get('top', 0),
            width=size.get('width', 16),
            height=size.get('height', 16),
        )

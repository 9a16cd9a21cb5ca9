"""Self-contained pages: one HTML file to open, keep or send."""

from __future__ import annotations

import base64

from jinja2 import (
    ChoiceLoader,
    Environment,
    PackageLoader,
    StrictUndefined,
    Template,
)


def template(package: str, name: str) -> Template:
    """A template of a package, which may extend ``page.html.j2``."""
    environment = Environment(
        loader=ChoiceLoader(
            [
                PackageLoader(package, '.'),
                PackageLoader('studies.grid', '.'),
            ]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def data_url(kind: str, content: bytes) -> str:
    """The address of an image that is part of the page."""
    return f'data:image/{kind};base64,{base64.b64encode(content).decode()}'

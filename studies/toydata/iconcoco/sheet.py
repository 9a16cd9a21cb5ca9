"""The contact sheet: every drawing of every category, by vendor, for people.

A wrong drawing is a wrong label, and nothing but a look finds it.
"""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from studies.toydata.iconcoco.categories import CATEGORIES, SPLIT_VENDORS
from studies.toydata.iconcoco.icons import Icon
from studies.toydata.iconcoco.render import render_icon
from studies.toydata.iconcoco.scene import IconSets, find_icon
from studies.toydata.minicoco.drawing import Pose

_PAPER, _TEXT, _LINE = (252, 251, 248), (40, 40, 48), (200, 200, 205)
_ICON, _CELL = 44, 50  # px, side of a drawing and of its place
_LABEL_WIDTH, _HEADING_HEIGHT, _MARGIN = 120, 34, 12


def write_contact_sheet(path: str | Path, icon_sets: IconSets) -> None:
    """Write a PNG with a row per category and a column per vendor."""
    columns = [
        (split, vendor)
        for split, vendors in SPLIT_VENDORS.items()
        for vendor in vendors
    ]
    widths = [
        _MARGIN + _CELL * max(len(c.icons.get(vendor, ())) for c in CATEGORIES)
        for _, vendor in columns
    ]
    height = _HEADING_HEIGHT + _CELL * len(CATEGORIES)
    page = Image.new('RGB', (_LABEL_WIDTH + sum(widths), height), _PAPER)
    pen = ImageDraw.Draw(page)
    font = ImageFont.load_default(14)
    for row, category in enumerate(CATEGORIES):
        middle = _HEADING_HEIGHT + _CELL * row + _CELL // 2
        pen.text((8, middle), category.name, _TEXT, font, anchor='lm')
    left = _LABEL_WIDTH
    for (split, vendor), width in zip(columns, widths, strict=True):
        pen.line((left, 0, left, height), _LINE)
        pen.text((left + 6, 8), f'{vendor} ({split})', _TEXT, font)
        for row, category in enumerate(CATEGORIES):
            for place, name in enumerate(category.icons.get(vendor, ())):
                picture = _picture(find_icon(icon_sets, vendor, name))
                corner = (
                    left + _MARGIN // 2 + _CELL * place,
                    _HEADING_HEIGHT + _CELL * row,
                )
                page.paste(picture, corner, picture.getchannel('A'))
        left += width
    page.save(path, format='PNG')


def _picture(icon: Icon) -> Image.Image:
    """A drawing as it is, centred in its place (RGBA)."""
    sprite = render_icon(icon, Pose(size=_ICON))
    height, width = sprite.alpha.shape
    picture = Image.new('RGBa', (_CELL, _CELL))
    drawing = Image.fromarray(sprite.colour).convert('RGBa')
    drawing.putalpha(Image.fromarray(sprite.alpha))
    picture.paste(drawing, ((_CELL - width) // 2, (_CELL - height) // 2))
    return picture.convert('RGBA')

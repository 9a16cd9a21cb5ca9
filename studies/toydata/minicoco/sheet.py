"""The contact sheet: minicoco on one page, for people."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmwkd.files import atomic_write
from studies.toydata.minicoco.categories import (
    CATEGORIES,
    FAMILIES,
    Category,
    Family,
    members,
    palette,
)
from studies.toydata.minicoco.coco import tight_box
from studies.toydata.minicoco.drawing import Colour, Pixels, blend, hsv
from studies.toydata.minicoco.scene import draw_object, draw_scene
from studies.toydata.minicoco.style import SPLITS, TRAIN_STYLE

_PAPER: Colour = (252, 251, 248)
_TEXT: Colour = (40, 40, 48)
_FAINT: Colour = (120, 120, 130)
_WHITE: Colour = (255, 255, 255)

_MARGIN = 24
_TITLE_HEIGHT = 64
_BAND_WIDTH = 116
_CELL_WIDTH, _CELL_HEIGHT = 372, 132
# Sides in pixels at which each category is shown, as they occur at 128 px.
_SAMPLE_SIZES = (80, 60, 40, 40, 24, 14)
_SCENE_SIDE, _SCENE_GAP = 256, 14
_HEADING_HEIGHT = 44

_PAGE_WIDTH = 2 * _MARGIN + _BAND_WIDTH + 4 * _CELL_WIDTH
_SCENES_HEIGHT = _HEADING_HEIGHT + _SCENE_SIDE + _SCENE_GAP
_PAGE_HEIGHT = (
    2 * _MARGIN
    + _TITLE_HEIGHT
    + len(FAMILIES) * _CELL_HEIGHT
    + len(SPLITS) * _SCENES_HEIGHT
)
SHEET_SHAPE = (_PAGE_HEIGHT, _PAGE_WIDTH, 3)


def write_contact_sheet(
    path: str | Path, *, image_size: int = 128, seed: int = 0
) -> None:
    """Write ``contact_sheet`` as a PNG; its folder is made where missing."""
    page = contact_sheet(image_size=image_size, seed=seed)
    with atomic_write(path, force=True) as file:
        Image.fromarray(page).save(file, format='PNG')


def contact_sheet(*, image_size: int = 128, seed: int = 0) -> Pixels:
    """Show every category at several sizes, and scenes with their boxes.

    Args:
        image_size: Side of the scenes in pixels; they are shown enlarged.
        seed: Seed of the dataset; the scenes are among its first images.

    Returns:
        RGB page of shape ``SHEET_SHAPE``.
    """
    page = Image.new('RGB', SHEET_SHAPE[1::-1], _PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((_MARGIN, _MARGIN), 'minicoco', fill=_TEXT, font=_font(34))
    pen.text(
        (_MARGIN + 168, _MARGIN + 16),
        f'{len(CATEGORIES)} categories in {len(FAMILIES)} families, each '
        f'drawn {", ".join(map(str, _SAMPLE_SIZES))} px wide',
        fill=_FAINT,
        font=_font(17),
    )
    top = _MARGIN + _TITLE_HEIGHT
    for family in FAMILIES:
        _draw_family(page, pen, family, top, seed)
        top += _CELL_HEIGHT
    for split in SPLITS:
        _draw_split(page, pen, split, top, image_size=image_size, seed=seed)
        top += _SCENES_HEIGHT
    return np.array(page)


def _draw_family(
    page: Image.Image,
    pen: ImageDraw.ImageDraw,
    family: Family,
    top: int,
    seed: int,
) -> None:
    """A coloured band with the family's name, then its members."""
    band = (_MARGIN, top, _MARGIN + _BAND_WIDTH - 12, top + 120)
    pen.rounded_rectangle(band, 10, fill=hsv(family.hue, 0.75, 0.62))
    pen.text(
        ((band[0] + band[2]) / 2, (band[1] + band[3]) / 2),
        family.name,
        fill=_WHITE,
        font=_font(20),
        anchor='mm',
    )
    for column, category in enumerate(members(family)):
        left = _MARGIN + _BAND_WIDTH + column * _CELL_WIDTH
        pen.text((left + 6, top), category.name, _TEXT, _font(16))
        _paste_samples(page, category, (left + 6, top), seed)


def _paste_samples(
    page: Image.Image,
    category: Category,
    corner: tuple[int, int],
    seed: int,
) -> None:
    rng = np.random.default_rng([seed, CATEGORIES.index(category)])
    left, top = corner
    for size in _SAMPLE_SIZES:
        sprite = draw_object(rng, category, TRAIN_STYLE, size=size)
        height, width = sprite.alpha.shape
        paper = np.full((height, width, 3), _PAPER, dtype=np.uint8)
        page.paste(
            Image.fromarray(blend(sprite.colour, sprite.alpha, paper)),
            (left + (size + 16 - width) // 2, top + 72 - height // 2),
        )
        left += size + 16


def _draw_split(
    page: Image.Image,
    pen: ImageDraw.ImageDraw,
    split: str,
    top: int,
    *,
    image_size: int,
    seed: int,
) -> None:
    """A heading and one scene of a split for each family."""
    pen.text((_MARGIN, top + 14), split, fill=_TEXT, font=_font(22))
    step = _SCENE_SIDE + _SCENE_GAP
    for column, family in enumerate(FAMILIES):
        # The first object of an image goes by its index: one of each family.
        index = CATEGORIES.index(members(family)[0])
        page.paste(
            _annotated_scene(split, index, image_size=image_size, seed=seed),
            (_MARGIN + column * step, top + _HEADING_HEIGHT),
        )


def _annotated_scene(
    split: str, index: int, *, image_size: int, seed: int
) -> Image.Image:
    """One scene, enlarged, with its boxes and category names."""
    scene = draw_scene(split, index, image_size=image_size, seed=seed)
    side = (_SCENE_SIDE, _SCENE_SIDE)
    enlarged = cv2.resize(scene.image, side, interpolation=cv2.INTER_CUBIC)
    picture = Image.fromarray(enlarged)
    pen = ImageDraw.Draw(picture)
    zoom = _SCENE_SIDE / image_size
    colours = palette()
    boxes = [
        [zoom * v for v in tight_box(thing.mask)] for thing in scene.objects
    ]
    # All names after all boxes: no line crosses a name.
    for thing, (x, y, width, height) in zip(scene.objects, boxes, strict=True):
        pen.rectangle(
            (x, y, x + width - 1, y + height - 1),
            outline=colours[thing.category_index],
            width=2,
        )
    for thing, (x, y, _, _) in zip(scene.objects, boxes, strict=True):
        index = thing.category_index
        _draw_label(pen, CATEGORIES[index].name, (x, y), colours[index])
    return picture


def _draw_label(
    pen: ImageDraw.ImageDraw,
    name: str,
    corner: tuple[float, float],
    colour: Colour,
) -> None:
    """A name on a coloured tab above a box, or inside it at the border."""
    font = _font(12)
    width = pen.textlength(name, font=font) + 6
    x = min(corner[0], _SCENE_SIDE - width)
    y = max(corner[1] - 15, 0)
    pen.rectangle((x, y, x + width, y + 15), fill=colour)
    # Readable on dark and on light tabs alike.
    dark = sum(colour) < 420
    pen.text((x + 3, y + 1), name, fill=_WHITE if dark else _TEXT, font=font)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)

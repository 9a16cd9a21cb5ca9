"""The picture of detections: what each model finds on a few images.

Boxes are coloured by what became of them, so that columns can be compared at
a glance. Sizes in pixels of the picture unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from mmdet.evaluation.functional import bbox_overlaps
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mmwkd.files import read_json
from studies.demo.measure import Boxes

SCORE_THRESHOLD = 0.3  # the default of mmdet's own demos
_IOU_THRESHOLD = 0.5

Outcome = Literal['right', 'wrong category', 'extra']
Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]

# On a dark ground, which suits a light page as well as a dark one.
_GROUND: Colour = (22, 25, 31)
_TEXT: Colour = (236, 238, 242)
_FAINT: Colour = (158, 166, 178)
_TRUTH: Colour = (255, 255, 255)
_SHADOW: Colour = (10, 12, 15)
_OUTCOMES: dict[Outcome, Colour] = {
    'right': (86, 190, 255),
    'wrong category': (255, 176, 32),
    'extra': (255, 92, 138),
}

_CELL = 320
_GAP = 14
_STRIP = 26  # a line of text under each image
_LEGEND = 46
_HEADING = 34


class Sample(NamedTuple):
    """A validation image and its annotations."""

    image_id: int
    file: Path
    truth: Boxes


class Column(NamedTuple):
    """What a model has found: one entry for each sample."""

    heading: str
    detections: Sequence[Boxes]


class Matching(NamedTuple):
    """What became of the boxes of one image."""

    outcomes: tuple[Outcome, ...]  # one for each detection
    missed: tuple[int, ...]  # indices of ground-truth boxes

    def __str__(self) -> str:
        num_right = self.outcomes.count('right')
        parts = [f'{num_right} of {num_right + len(self.missed)} right']
        if wrong := self.outcomes.count('wrong category'):
            parts.append(f'{wrong} wrong category')
        if extra := self.outcomes.count('extra'):
            parts.append(f'{extra} extra')
        return ', '.join(parts)


def pick_samples(root: Path, count: int = 6) -> list[Sample]:
    """Choose validation images by their annotations alone.

    Those whose boxes do not overlap, because others are hard to look at; of
    these the ones with the most objects, then with the largest ratio between
    the largest and the smallest object, then with the lowest id.

    Args:
        root: Folder of minicoco.
        count: Number of images.
    """
    file = root / 'annotations' / 'instances_val.json'
    document = read_json(file)
    category_ids = [category['id'] for category in document['categories']]
    annotations: dict[int, list[dict[str, Any]]] = {
        image['id']: [] for image in document['images']
    }
    for annotation in document['annotations']:
        annotations[annotation['image_id']].append(annotation)

    def rank(image: dict[str, Any]) -> tuple[float, ...]:
        boxes = [a['bbox'] for a in annotations[image['id']]]
        areas = [width * height for _, _, width, height in boxes]
        ratio = max(areas) / min(areas) if areas else 0
        return _any_overlap(boxes), -len(boxes), -ratio, image['id']

    return [
        Sample(
            image['id'],
            root / 'val' / image['file_name'],
            _truth(annotations[image['id']], category_ids),
        )
        for image in sorted(document['images'], key=rank)[:count]
    ]


def confident(boxes: Boxes, threshold: float = SCORE_THRESHOLD) -> Boxes:
    """Boxes with at least a score, the most confident first."""
    order = np.argsort(-boxes.scores, kind='stable')
    order = order[boxes.scores[order] >= threshold]
    return Boxes(
        boxes.corners[order], boxes.labels[order], boxes.scores[order]
    )


def match(detections: Boxes, truth: Boxes) -> Matching:
    """Say for each detection whether it is right.

    The most confident detection chooses first. It is right if it overlaps an
    object of its category that is not yet taken, by an IoU of at least 0.5;
    of the wrong category if it so overlaps an object of another; else it is
    extra: nothing is there, or what is there was found already.

    Args:
        detections: n boxes, sorted by falling score.
        truth: m boxes.
    """
    iou = bbox_overlaps(detections.corners, truth.corners)  # (n, m)
    same = detections.labels[:, None] == truth.labels[None]  # (n, m)
    free = np.ones(len(truth.labels), dtype=bool)
    outcomes: list[Outcome] = []
    for hits, same_category in zip(iou >= _IOU_THRESHOLD, same, strict=True):
        candidates = np.flatnonzero(hits & same_category & free)
        if len(candidates):
            free[candidates[0]] = False
            outcomes.append('right')
        elif (hits & ~same_category).any():
            outcomes.append('wrong category')
        else:
            outcomes.append('extra')
    return Matching(tuple(outcomes), tuple(np.flatnonzero(free).tolist()))


def draw_detections(
    samples: Sequence[Sample],
    columns: Sequence[Column],
    classes: Sequence[str],
) -> Image.Image:
    """Draw a row for each sample: ground truth, then each column.

    Args:
        samples: Images and annotations.
        columns: What models have found there.
        classes: Category names.
    """
    width, height = picture_size(len(samples), len(columns))
    page = Image.new('RGB', (width, height), _GROUND)
    pen = ImageDraw.Draw(page)
    _draw_legend(pen)
    headings = ('ground truth', *(column.heading for column in columns))
    for index, heading in enumerate(headings):
        pen.text(
            (_left(index), _LEGEND + _HEADING // 2),
            heading,
            fill=_TEXT,
            font=_font(19),
            anchor='lm',
        )
    for row, sample in enumerate(samples):
        top = _top(row)
        page.paste(_truth_cell(sample, classes), (_left(0), top))
        _caption(
            pen,
            (_left(0), top),
            f'val/{sample.file.name}, {len(sample.truth.labels)} objects',
        )
        for index, column in enumerate(columns, start=1):
            found = confident(column.detections[row])
            matching = match(found, sample.truth)
            cell = _detection_cell(sample, found, matching, classes)
            page.paste(cell, (_left(index), top))
            _caption(pen, (_left(index), top), str(matching))
    return page


def picture_size(num_samples: int, num_columns: int) -> tuple[int, int]:
    """Width and height of the picture, ground truth not among columns."""
    return _left(num_columns + 1), _top(num_samples)


def _any_overlap(boxes: Sequence[Sequence[float]]) -> bool:
    """Whether any two of some boxes [x, y, width, height] overlap."""
    return any(
        min(a[0] + a[2], b[0] + b[2]) > max(a[0], b[0])
        and min(a[1] + a[3], b[1] + b[3]) > max(a[1], b[1])
        for a, b in combinations(boxes, 2)
    )


def _left(column: int) -> int:
    return _GAP + column * (_CELL + _GAP)


def _top(row: int) -> int:
    return _LEGEND + _HEADING + row * (_CELL + _STRIP + _GAP)


def _truth(
    annotations: Sequence[dict[str, Any]], category_ids: Sequence[int]
) -> Boxes:
    x, y, width, height = np.reshape(
        np.array([a['bbox'] for a in annotations], dtype=np.float32), (-1, 4)
    ).T
    labels = [category_ids.index(a['category_id']) for a in annotations]
    return Boxes(
        np.stack([x, y, x + width, y + height], axis=1),
        np.array(labels, dtype=np.int64),
        np.ones(len(annotations), dtype=np.float32),
    )


def _draw_legend(pen: ImageDraw.ImageDraw) -> None:
    x, middle = _GAP, _LEGEND // 2 + 4
    font = _font(17)
    entries: list[tuple[str, Colour, bool]] = [
        (outcome, colour, False) for outcome, colour in _OUTCOMES.items()
    ]
    entries.append(('missed', _TRUTH, True))
    for name, colour, dashed in entries:
        swatch = (x, middle - 9, x + 26, middle + 9)
        _draw_box(pen, swatch, colour, dashed=dashed)
        pen.text((x + 36, middle), name, fill=_TEXT, font=font, anchor='lm')
        x += 66 + round(pen.textlength(name, font=font))
    pen.text(
        (x, middle),
        f'scores from {SCORE_THRESHOLD}; right: IoU from {_IOU_THRESHOLD} '
        'and the right category',
        fill=_FAINT,
        font=font,
        anchor='lm',
    )


def _caption(
    pen: ImageDraw.ImageDraw, corner: tuple[int, int], text: str
) -> None:
    x, y = corner
    pen.text(
        (x, y + _CELL + _STRIP // 2),
        text,
        fill=_FAINT,
        font=_font(15),
        anchor='lm',
    )


def _truth_cell(sample: Sample, classes: Sequence[str]) -> Image.Image:
    cell, pen, zoom = _enlarged(sample)
    boxes = [_on_cell(corners, zoom) for corners in sample.truth.corners]
    for box in boxes:
        _draw_box(pen, box, _TRUTH)
    for box, label in zip(boxes, sample.truth.labels, strict=True):
        _draw_label(pen, box, classes[label], _TRUTH)
    return cell


def _detection_cell(
    sample: Sample,
    found: Boxes,
    matching: Matching,
    classes: Sequence[str],
) -> Image.Image:
    cell, pen, zoom = _enlarged(sample)
    for index in matching.missed:
        box = _on_cell(sample.truth.corners[index], zoom)
        _draw_box(pen, box, _TRUTH, dashed=True)
    drawn = [
        (_on_cell(corners, zoom), _OUTCOMES[outcome], label, score)
        for corners, label, score, outcome in zip(
            found.corners,
            found.labels,
            found.scores,
            matching.outcomes,
            strict=True,
        )
    ]
    # The most confident on top, and names above all boxes.
    for box, colour, _, _ in reversed(drawn):
        _draw_box(pen, box, colour)
    for box, colour, label, score in reversed(drawn):
        _draw_label(pen, box, f'{classes[label]} {score:.2f}', colour)
    return cell


def _enlarged(
    sample: Sample,
) -> tuple[Image.Image, ImageDraw.ImageDraw, float]:
    try:
        with Image.open(sample.file) as image:
            zoom = _CELL / image.width
            cell = image.convert('RGB').resize(
                (_CELL, _CELL), Image.Resampling.BICUBIC
            )
    except (OSError, SyntaxError) as error:
        raise ValueError(
            f'image {sample.file} cannot be read ({error})'
        ) from error
    return cell, ImageDraw.Draw(cell), zoom


def _on_cell(corners: NDArray[np.float32], zoom: float) -> Box:
    """A box in pixels of the cell; one at the border stays visible."""
    x1, y1, x2, y2 = np.clip(np.round(zoom * corners), 1, _CELL - 2).tolist()
    return int(x1), int(y1), int(x2), int(y2)


def _draw_box(
    pen: ImageDraw.ImageDraw,
    box: Box,
    colour: Colour,
    *,
    dashed: bool = False,
) -> None:
    x1, y1, x2, y2 = box
    # A dark rim keeps the line visible on any image.
    if dashed:
        for side in (
            (x1, y1, x2, y1),
            (x1, y2, x2, y2),
            (x1, y1, x1, y2),
            (x2, y1, x2, y2),
        ):
            _dashes(pen, side, colour)
        return
    pen.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=_SHADOW, width=4)
    pen.rectangle((x1, y1, x2, y2), outline=colour, width=2)


def _dashes(pen: ImageDraw.ImageDraw, line: Box, colour: Colour) -> None:
    x1, y1, x2, y2 = line
    length = max(x2 - x1, y2 - y1)
    for start in range(0, length, 10):
        end = min(start + 6, length)
        dash = (
            (x1 + start, y1, x1 + end, y1)
            if y1 == y2
            else (x1, y1 + start, x1, y1 + end)
        )
        pen.line(dash, fill=_SHADOW, width=4)
        pen.line(dash, fill=colour, width=2)


def _draw_label(
    pen: ImageDraw.ImageDraw,
    box: Box,
    text: str,
    colour: Colour,
) -> None:
    """Write on a coloured tab above a box, or inside it at the border."""
    font = _font(13)
    width, height = pen.textlength(text, font=font) + 8, 17
    x = min(max(box[0] - 1, 0), _CELL - width)
    y = max(box[1] - height, 0)
    pen.rectangle((x, y, x + width, y + height), fill=colour)
    pen.text(
        (x + 4, y + height / 2 + 1), text, _SHADOW, font=font, anchor='lm'
    )


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)

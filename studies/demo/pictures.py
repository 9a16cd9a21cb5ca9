"""The pictures of the demo: learning curves, and detections side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator
from mmdet.evaluation.functional import bbox_overlaps
from PIL import Image

from mmwkd.costs.plots import to_png
from mmwkd.files import read_json
from studies.demo.measure import Boxes
from studies.grid.scalars import History, TrainPoint, loss_terms
from studies.grid.theme import DARK, LIGHT, Theme, style

SCORE_THRESHOLD = 0.3  # the default of mmdet's own demos
_IOU_THRESHOLD = 0.5
_DPI = 160

Outcome = Literal['right', 'wrong category', 'extra']

# on a dark ground, which suits a light page as well as a dark one
_TRUTH = '#ffffff'
_OUTCOMES: dict[Outcome, str] = {
    'right': '#56beff',
    'wrong category': '#ffb020',
    'extra': '#ff5c8a',
}


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
    """Whether each box of one image is right, and what was missed."""

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


def draw_curves(
    histories: Mapping[str, History],
    titles: Mapping[str, str],
    theme: Theme = LIGHT,
) -> bytes:
    """Draw accuracy, the student's own loss, and what distillation adds.

    Args:
        histories: What was logged, by role: teacher, baseline, distilled.
        titles: Legend entries by role.
        theme: Colours.

    Returns:
        A PNG.
    """
    own = loss_terms(histories['baseline'].train)
    distilled = histories['distilled'].train
    added = [name for name in loss_terms(distilled) if name not in own]
    with style(theme):
        figure = Figure(figsize=(12, 4), dpi=_DPI, layout='constrained')
        accuracy, losses, terms = figure.subplots(1, 3)
        accuracy.set_title('validation box AP')
        for role, history in histories.items():
            accuracy.plot(
                [point.iteration for point in history.validations],
                [point.accuracy.ap for point in history.validations],
                marker='o',
                markersize=4,
                color=getattr(theme, role),
                label=titles[role],
            )
        losses.set_title("the student's own detection loss")
        for role in ('baseline', 'distilled'):
            points = histories[role].train
            colour = getattr(theme, role)
            _plot_terms(losses, points, own, colour, titles[role])
        terms.set_title('distillation terms, weighted')
        colours = (theme.distilled, *theme.others)
        for index, name in enumerate(added):
            colour = colours[index % len(colours)]
            _plot_terms(terms, distilled, [name], colour, name)
        for axis in (accuracy, losses, terms):
            axis.set_xlabel('iteration')
            axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axis.set_xlim(left=0)
            axis.set_ylim(0, 1.05 * axis.get_ylim()[1])
            if axis.lines:
                axis.legend(loc='best')
        return to_png(figure)


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
    corners, labels, scores = boxes
    return Boxes(corners[order], labels[order], scores[order])


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
) -> bytes:
    """Draw a row for each sample: ground truth, then each column.

    Args:
        samples: Images and annotations.
        columns: What models have found there.
        classes: Category names.

    Returns:
        A PNG.
    """
    width, height = len(columns) + 1, len(samples)
    with style(DARK):
        figure = Figure(
            figsize=(2.1 * width, 2.3 * height + 0.5),
            dpi=_DPI,
            layout='constrained',
        )
        axes = figure.subplots(height, width, squeeze=False)
        headings = ('ground truth', *(column.heading for column in columns))
        for axis, heading in zip(axes[0], headings, strict=True):
            axis.set_title(heading, fontsize=8)
        for row, sample in enumerate(samples):
            image = _read(sample.file)
            for axis in axes[row]:
                axis.imshow(image, interpolation='bicubic')
                axis.set(xticks=[], yticks=[])
                axis.grid(visible=False)
            for corners, label in zip(*sample.truth[:2], strict=True):
                _draw_box(axes[row, 0], corners, _TRUTH, classes[label])
            for axis, column in zip(axes[row, 1:], columns, strict=True):
                found = confident(column.detections[row])
                summary = _draw_found(axis, found, sample, classes)
                axis.set_xlabel(summary, fontsize=6)
        entries = [
            Patch(edgecolor=colour, fill=False, label=outcome)
            for outcome, colour in _OUTCOMES.items()
        ]
        missed = Patch(
            edgecolor=_TRUTH, fill=False, linestyle='--', label='missed'
        )
        figure.legend(
            handles=[*entries, missed],
            title=f'scores from {SCORE_THRESHOLD}; right: IoU from '
            f'{_IOU_THRESHOLD} and the right category',
            loc='outside upper left',
            ncols=len(entries) + 1,
        ).get_title().set_color(DARK.faint)
        return to_png(figure)


def _plot_terms(
    axis: Axes,
    points: Sequence[TrainPoint],
    names: Sequence[str],
    colour: str,
    label: str,
) -> None:
    """Plot the sum of some loss terms."""
    axis.plot(
        [point.iteration for point in points],
        [sum(point.terms.get(n, 0.0) for n in names) for point in points],
        color=colour,
        label=label,
    )


def _any_overlap(boxes: Sequence[Sequence[float]]) -> bool:
    """Whether any two of some boxes [x, y, width, height] overlap."""
    return any(
        min(a[0] + a[2], b[0] + b[2]) > max(a[0], b[0])
        and min(a[1] + a[3], b[1] + b[3]) > max(a[1], b[1])
        for a, b in combinations(boxes, 2)
    )


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


def _read(file: Path) -> np.ndarray:
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert('RGB'))
    except (OSError, SyntaxError) as error:
        raise ValueError(f'image {file} cannot be read ({error})') from error


def _draw_found(
    axis: Axes, found: Boxes, sample: Sample, classes: Sequence[str]
) -> str:
    """Draw what was found and what was missed, and count it."""
    matching = match(found, sample.truth)
    for index in matching.missed:
        _draw_box(axis, sample.truth.corners[index], _TRUTH, dashed=True)
    # the most confident on top
    for index in reversed(range(len(found.labels))):
        _draw_box(
            axis,
            found.corners[index],
            _OUTCOMES[matching.outcomes[index]],
            f'{classes[found.labels[index]]} {found.scores[index]:.2f}',
        )
    return str(matching)


def _draw_box(
    axis: Axes,
    corners: np.ndarray,
    colour: str,
    label: str = '',
    *,
    dashed: bool = False,
) -> None:
    left, top, right, bottom = corners.tolist()
    axis.add_patch(
        Rectangle(
            (left, top),
            right - left,
            bottom - top,
            fill=False,
            edgecolor=colour,
            linewidth=1.3,
            linestyle='--' if dashed else '-',
        )
    )
    if label:
        axis.text(
            left,
            top,
            label,
            color=DARK.page,
            fontsize=5.5,
            # inside at the upper border
            verticalalignment='bottom' if top > 8 else 'top',
            clip_on=True,
            bbox=dict(facecolor=colour, edgecolor='none', pad=1),
        )

"""Backgrounds and clutter: whatever is in the image and is no object.

A pattern is a map of mixing weights (S, S) in [0, 1] between two colours; S is
the side of the image in pixels.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from studies.toydata.minicoco.drawing import Colour, Pixels, hsv
from studies.toydata.minicoco.style import SplitStyle

Mix = npt.NDArray[np.float64]
Pattern = Callable[[np.random.Generator, int], Mix]


def draw_background(
    rng: np.random.Generator, style: SplitStyle, image_size: int
) -> Pixels:
    """Draw a background with clutter.

    Args:
        rng: Source of all choices.
        style: Patterns, palette and amount of clutter.
        image_size: S, pixels.

    Returns:
        RGB image (S, S, 3).
    """
    pattern = PATTERNS[style.backgrounds[rng.integers(len(style.backgrounds))]]
    hue = rng.uniform(0, 360)
    colours = np.array(
        [
            _muted_colour(rng, style, hue),
            _muted_colour(rng, style, hue + rng.uniform(-60, 60)),
        ],
        dtype=np.float64,
    )
    mix = pattern(rng, image_size)[..., None]  # (S, S, 1)
    mixed = colours[0] + mix * (colours[1] - colours[0])
    image: Pixels = np.rint(mixed).astype(np.uint8)  # (S, S, 3)
    for _ in range(rng.integers(*style.num_clutter, endpoint=True)):
        _draw_clutter(rng, image, _muted_colour(rng, style, hue + 180))
    return image


def flat(rng: np.random.Generator, size: int) -> Mix:
    """One colour."""
    return np.full((size, size), rng.uniform())


def gradient(rng: np.random.Generator, size: int) -> Mix:
    """A ramp from 0 to 1 in any direction."""
    ramp = _distance_along(rng, size)
    return (ramp - ramp.min()) / np.ptp(ramp)


def stripes(rng: np.random.Generator, size: int) -> Mix:
    """Parallel bands in any direction."""
    period = rng.uniform(0.08, 0.25)
    return _wave(_distance_along(rng, size) / period, size * period)


def checks(rng: np.random.Generator, size: int) -> Mix:
    """A chessboard, turned by any angle."""
    period = rng.uniform(0.16, 0.4)
    across, down = _turned_grid(rng, size)
    columns = _wave(across / period, size * period)
    rows = _wave(down / period, size * period)
    return np.abs(columns - rows)  # exclusive or


def dots(rng: np.random.Generator, size: int) -> Mix:
    """Discs on a turned square grid."""
    period = rng.uniform(0.12, 0.25)
    across, down = _turned_grid(rng, size)
    from_centre = np.hypot(across / period % 1 - 0.5, down / period % 1 - 0.5)
    return np.clip((0.3 - from_centre) * size * period + 0.5, 0, 1)


def rings(rng: np.random.Generator, size: int) -> Mix:
    """Bands around a point that may lie outside."""
    period = rng.uniform(0.12, 0.3)
    x, y = _unit_grid(size)
    centre = rng.uniform(-0.3, 1.3, size=2)
    return _wave(
        np.hypot(x - centre[0], y - centre[1]) / period, size * period
    )


def noise(rng: np.random.Generator, size: int) -> Mix:
    """Smooth blobs: a coarse random grid, enlarged."""
    cells = int(rng.integers(4, 9))
    coarse = rng.uniform(size=(cells, cells))
    fine = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(fine, 0, 1)


PATTERNS: dict[str, Pattern] = {
    'flat': flat,
    'gradient': gradient,
    'stripes': stripes,
    'checks': checks,
    'dots': dots,
    'rings': rings,
    'noise': noise,
}


def _muted_colour(
    rng: np.random.Generator, style: SplitStyle, hue: float
) -> Colour:
    return hsv(
        hue,
        rng.uniform(*style.background_saturation),
        rng.uniform(*style.background_value),
    )


def _draw_clutter(
    rng: np.random.Generator, canvas: Pixels, colour: Colour
) -> None:
    """Draw one thin line, dot or arc in place."""
    size = canvas.shape[0]
    width = max(1, round(size / 128))
    x, y = (int(v) for v in rng.integers(0, size, size=2))
    reach = round(size * rng.uniform(0.05, 0.25))
    angle = rng.uniform(0, 360)
    kind = rng.integers(3)
    if kind == 0:
        end = (
            round(x + 2 * reach * math.cos(math.radians(angle))),
            round(y + 2 * reach * math.sin(math.radians(angle))),
        )
        cv2.line(canvas, (x, y), end, colour, width, cv2.LINE_AA)
    elif kind == 1:
        cv2.circle(canvas, (x, y), 2 * width, colour, -1, cv2.LINE_AA)
    else:
        cv2.ellipse(
            *(canvas, (x, y), (reach, reach), angle, 0, 120),
            *(colour, width, cv2.LINE_AA),
        )


def _unit_grid(size: int) -> tuple[Mix, Mix]:
    """Pixel centres, x and y (S, S) each, in fractions of the side."""
    centres = (np.arange(size) + 0.5) / size
    x, y = np.meshgrid(centres, centres)
    return x, y


def _turned_grid(rng: np.random.Generator, size: int) -> tuple[Mix, Mix]:
    """The unit grid in axes turned by a random angle and shifted."""
    x, y = _unit_grid(size)
    turn = rng.uniform(0, 2 * np.pi)
    shift = rng.uniform(size=2)
    return (
        x * math.cos(turn) + y * math.sin(turn) + shift[0],
        y * math.cos(turn) - x * math.sin(turn) + shift[1],
    )


def _distance_along(rng: np.random.Generator, size: int) -> Mix:
    return _turned_grid(rng, size)[0]


def _wave(phase: Mix, period: float) -> Mix:
    """A square wave of phase, its edges softened over about a pixel.

    Args:
        phase: Position (S, S) in periods.
        period: Length of a period in pixels.
    """
    edge_distance = (0.25 - np.abs(phase % 1 - 0.5)) * period
    return np.clip(edge_distance + 0.5, 0, 1)

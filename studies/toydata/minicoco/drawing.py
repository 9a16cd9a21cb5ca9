"""Filled polygons on a supersampled canvas: the pen of the figures.

A figure is drawn in the unit frame: x to the right, y down, the figure filling
about [-1, 1] x [-1, 1]. A pose maps that frame to pixels. Every shape is a
polygon, so one affine map moves, turns and stretches all of them alike.

Shapes: P points of a polygon, H and W pixels of a sprite. Colours are RGB.
"""

import colorsys
import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Points = npt.NDArray[np.float64]
Colour = tuple[int, int, int]

SUPERSAMPLING = 4
# Bits of the fixed-point coordinates that OpenCV takes: 1/16 of a subpixel.
_SHIFT = 4


class Pose(NamedTuple):
    """How the unit frame lands on the pixel grid."""

    size: float  # px, side of the unit frame before the stretch
    angle: float = 0.0  # degrees, clockwise in the image
    aspect: float = 1.0  # width over height of the stretched unit frame
    mirrored: bool = False
    phase: tuple[float, float] = (0.0, 0.0)  # px, sub-pixel shift (x, y)
    line_width: float = 1.0  # px, outline around each part


class Paint(NamedTuple):
    """The shades of one object, all from one hue."""

    body: Colour
    light: Colour
    dark: Colour
    line: Colour


class Sprite(NamedTuple):
    """A drawn figure, cropped to the pixels it touches."""

    colour: Pixels  # (H, W, 3), premultiplied by alpha
    alpha: Pixels  # (H, W), coverage, 255 is opaque

    @property
    def mask(self) -> Mask:
        """Pixels (H, W) that belong to the figure: at least half covered."""
        return self.alpha >= 128


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """RGB of a hue in degrees; saturation and value are clipped to [0, 1]."""
    red, green, blue = colorsys.hsv_to_rgb(
        hue % 360 / 360, min(max(saturation, 0), 1), min(max(value, 0), 1)
    )
    return round(255 * red), round(255 * green), round(255 * blue)


def paint_from_hue(hue: float, saturation: float, value: float) -> Paint:
    """Body colour from a hue in degrees, with lighter and darker shades."""
    return Paint(
        body=hsv(hue, saturation, value),
        light=hsv(hue, 0.45 * saturation, 1.2 * value),
        dark=hsv(hue, 1.1 * saturation, 0.68 * value),
        line=hsv(hue, 0.7, 0.2),
    )


class Canvas:
    """A transparent canvas on which a figure is drawn part by part."""

    def __init__(self, pose: Pose) -> None:
        stretch = math.sqrt(pose.aspect)
        radius = pose.size / 2 * math.hypot(stretch, 1 / stretch)
        half = math.ceil(radius + pose.line_width) + 1
        side = 2 * half * SUPERSAMPLING
        self._pixels: Pixels = np.zeros((side, side, 4), dtype=np.uint8)
        turn = math.radians(pose.angle)
        rotation = np.array(
            [
                [math.cos(turn), -math.sin(turn)],
                [math.sin(turn), math.cos(turn)],
            ]
        )
        flip = -1.0 if pose.mirrored else 1.0
        scale = np.diag([flip * stretch, 1 / stretch]) * pose.size / 2
        self._matrix = SUPERSAMPLING * rotation @ scale
        # OpenCV puts integer coordinates at pixel centres, we at corners.
        self._offset = SUPERSAMPLING * (half + np.asarray(pose.phase)) - 0.5
        # Only the outer half of the outline stays visible, hence twice.
        self._outline = max(1, round(2 * SUPERSAMPLING * pose.line_width))
        self._scale = SUPERSAMPLING * pose.size / 2

    def fill(
        self, *polygons: Points, colour: Colour, line: Colour | None = None
    ) -> None:
        """Fill the union of polygons, outlined as one shape.

        Args:
            *polygons: Corners (P, 2) in the unit frame.
            colour: Inside.
            line: Colour of the outline; None draws none.
        """
        corners = [self._to_fixed_point(polygon) for polygon in polygons]
        if line is not None:
            cv2.polylines(
                self._pixels,
                corners,
                True,
                (*line, 255),
                self._outline,
                shift=_SHIFT,
            )
        # One at a time: together they would cancel out where they overlap.
        for polygon in corners:
            cv2.fillPoly(self._pixels, [polygon], (*colour, 255), shift=_SHIFT)

    def stroke(self, points: Points, *, width: float, colour: Colour) -> None:
        """Draw an open line through points (P, 2); width in the unit frame."""
        cv2.polylines(
            self._pixels,
            [self._to_fixed_point(points)],
            False,
            (*colour, 255),
            max(1, round(width * self._scale)),
            shift=_SHIFT,
        )

    def sprite(self) -> Sprite:
        """What has been drawn, averaged down to pixels and cropped."""
        side = self._pixels.shape[0] // SUPERSAMPLING
        # The canvas is either transparent black or opaque, so that the plain
        # average is the colour premultiplied by its coverage.
        small = cv2.resize(
            self._pixels, (side, side), interpolation=cv2.INTER_AREA
        )
        x, y, width, height = cv2.boundingRect(small[..., 3])
        crop = small[y : y + height, x : x + width]
        return Sprite(colour=crop[..., :3], alpha=crop[..., 3])

    def _to_fixed_point(self, points: Points) -> npt.NDArray[np.int32]:
        pixels = points @ self._matrix.T + self._offset
        return np.rint(pixels * 2**_SHIFT).astype(np.int32)  # (P, 2)


def blend(colour: Pixels, alpha: Pixels, below: Pixels) -> Pixels:
    """Lay a sprite over an image.

    Args:
        colour: Premultiplied colour (H, W, 3).
        alpha: Coverage (H, W).
        below: What is under the sprite (H, W, 3).
    """
    # Premultiplied colour is at most alpha: the sum stays within 255.
    through = below * (255 - alpha[..., None].astype(np.uint16))
    return (colour + (through + 127) // 255).astype(np.uint8)


def polygon(*corners: tuple[float, float]) -> Points:
    """Corners as an array (P, 2)."""
    return np.asarray(corners, dtype=np.float64)


def mirror(points: Points) -> Points:
    """The same points (P, 2) with left and right exchanged."""
    return points * (-1.0, 1.0)


def rectangle(left: float, top: float, right: float, bottom: float) -> Points:
    """Corners (4, 2) of an upright rectangle."""
    return polygon((left, top), (right, top), (right, bottom), (left, bottom))


def ellipse(
    centre: tuple[float, float],
    radii: tuple[float, float],
    angle: float = 0.0,
) -> Points:
    """An ellipse as a polygon (40, 2), turned clockwise by angle degrees."""
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    x, y = radii[0] * np.cos(turn), radii[1] * np.sin(turn)
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return np.stack(
        [
            centre[0] + cosine * x - sine * y,
            centre[1] + sine * x + cosine * y,
        ],
        axis=1,
    )


def disc(centre: tuple[float, float], radius: float) -> Points:
    """A circle as a polygon (40, 2)."""
    return ellipse(centre, (radius, radius))


def star(
    num_points: int,
    *,
    inner: float,
    centre: tuple[float, float] = (0.0, 0.0),
    radius: float = 1.0,
) -> Points:
    """A star (2 * num_points, 2), one point up.

    Args:
        num_points: Points of the star.
        inner: Radius of the notches, relative to the radius of the points.
        centre: Centre (x, y).
        radius: Radius of the points.
    """
    turn = np.pi * np.arange(2 * num_points) / num_points
    reach = radius * np.where(np.arange(2 * num_points) % 2, inner, 1.0)
    return np.stack(
        [centre[0] + reach * np.sin(turn), centre[1] - reach * np.cos(turn)],
        axis=1,
    )


def leaf(
    start: tuple[float, float], end: tuple[float, float], width: float
) -> Points:
    """A pointed leaf (24, 2) from start to end, width across its middle."""
    along = np.subtract(end, start)
    across = np.array([-along[1], along[0]]) / np.hypot(*along)
    step = np.linspace(0, 1, 12)
    middle = np.asarray(start) + step[:, None] * along
    bulge = width / 2 * np.sin(np.pi * step)[:, None] * across
    return np.concatenate([middle + bulge, (middle - bulge)[::-1]])


def curve(controls: Sequence[tuple[float, float]]) -> Points:
    """A quadratic Bezier curve (16, 2) through three control points."""
    start, middle, end = np.asarray(controls, dtype=np.float64)
    step = np.linspace(0, 1, 16)[:, None]
    return (
        (1 - step) ** 2 * start
        + 2 * step * (1 - step) * middle
        + step**2 * end
    )

"""Turn a vector drawing into a sprite in a pose.

The pose goes into the SVG itself, so that each object is rasterised once, at
its final size and angle; nothing is resampled.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
import resvg_py

from studies.toydata.iconcoco.icons import Icon
from studies.toydata.minicoco.drawing import Pixels, Pose, Sprite


class Tint(NamedTuple):
    """A change of all colours of a drawing."""

    hue: float = 0.0  # degrees added
    saturation: float = 1.0  # factor
    value: float = 1.0  # factor


AS_DRAWN = Tint()


def render_icon(icon: Icon, pose: Pose, tint: Tint = AS_DRAWN) -> Sprite:
    """Draw an icon, cropped to the pixels it touches.

    Args:
        icon: What to draw. Whatever lies outside its frame is cut off.
        pose: Size (of the longer side of the frame), turn, stretch, mirror and
            sub-pixel shift. The line width is not used.
        tint: Change of colours.

    Raises:
        ValueError: The drawing is no valid SVG, or nothing of it is seen.
    """
    stretch = math.sqrt(pose.aspect)
    scale = pose.size / max(icon.width, icon.height)
    # Half the diagonal of the stretched frame: any turn of it fits.
    radius = math.hypot(icon.width * stretch, icon.height / stretch) / 2
    side = 2 * (math.ceil(radius * scale) + 1)
    flip = -1 if pose.mirrored else 1
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" '
        'xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{side}" height="{side}"><g transform="'
        f'translate({side / 2 + pose.phase[0]} {side / 2 + pose.phase[1]}) '
        f'rotate({pose.angle}) '
        f'scale({flip * scale * stretch} {scale / stretch})">'
        f'<svg x="{-icon.width / 2}" y="{-icon.height / 2}" '
        f'width="{icon.width}" height="{icon.height}" viewBox="'
        f'{icon.left} {icon.top} {icon.width} {icon.height}">'
        f'{icon.body}</svg></g></svg>'
    )
    png = resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True)
    bgra = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert bgra is not None  # resvg writes PNG that OpenCV reads
    x, y, width, height = cv2.boundingRect(bgra[..., 3])
    if not width:
        raise ValueError('nothing of the drawing can be seen')
    crop = bgra[y : y + height, x : x + width]
    alpha = crop[..., 3]
    colour = _tinted(crop[..., 2::-1], tint)
    # Straight alpha -> premultiplied, rounded down: never above alpha.
    covered = colour * alpha[..., None].astype(np.uint16) // 255
    return Sprite(colour=covered.astype(np.uint8), alpha=alpha)


def _tinted(rgb: Pixels, tint: Tint) -> Pixels:
    """RGB (H, W, 3) with another hue, saturation and value."""
    hsv = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + tint.hue) % 360
    factors = (tint.saturation, tint.value)
    hsv[..., 1:] = np.clip(hsv[..., 1:] * factors, 0, 1)
    back = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    tinted: Pixels = np.rint(255 * back).astype(np.uint8)
    return tinted

"""How a split looks: every number that a scene is drawn with.

Validation differs from training on purpose, but mildly: other backgrounds in
a darker palette, hues moved by a few degrees, more turn, stretch and
occlusion.
"""

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class SplitStyle:
    """The parameters of one split.

    Lengths that grow with the image are fractions of its side; at 128 px,
    0.11 is 14 px and 0.62 is 80 px.

    Attributes:
        backgrounds: Names of the patterns that backgrounds are drawn from.
        background_saturation: Range of the saturation of both colours.
        background_value: Range of the value (brightness) of both colours.
        num_clutter: Range of the number of thin lines, dots and arcs that
            belong to no category.
        num_objects: Range of the number of objects that are tried; one that
            finds no place is left out.
        object_size: Range of the side of an object; its logarithm is uniform.
        crowding: Probability that an object is placed at another one.
        min_visible: Lower bound on the part of an object that is neither
            covered nor cut off by the image border.
        max_cut: Largest part of an object's box beyond one border.
        hue_shift: Degrees added to the hue of each family.
        hue_jitter: Largest deviation from that hue, degrees.
        shade: Range of the factors on saturation and on value.
        angle: Largest turn either way, degrees.
        aspect: Range of width over height relative to the figure's own.
        line_width: Range of the outline's width as a fraction of the
            object's size.
    """

    backgrounds: tuple[str, ...]
    background_saturation: Range
    background_value: Range
    num_clutter: tuple[int, int]
    num_objects: tuple[int, int]
    object_size: Range
    crowding: float
    min_visible: float
    max_cut: float
    hue_shift: float
    hue_jitter: float
    shade: Range
    angle: float
    aspect: Range
    line_width: Range


TRAIN_STYLE = SplitStyle(
    backgrounds=('flat', 'gradient', 'stripes', 'noise'),
    background_saturation=(0.04, 0.3),
    background_value=(0.72, 1.0),
    num_clutter=(0, 6),
    num_objects=(1, 6),
    object_size=(0.11, 0.62),
    crowding=0.2,
    min_visible=0.7,
    max_cut=0.15,
    hue_shift=0.0,
    hue_jitter=12.0,
    shade=(0.85, 1.1),
    angle=12.0,
    aspect=(0.88, 1.14),
    line_width=(0.022, 0.034),
)

VAL_STYLE = SplitStyle(
    backgrounds=('checks', 'dots', 'rings', 'noise'),
    background_saturation=(0.1, 0.4),
    background_value=(0.55, 0.9),
    num_clutter=(2, 8),
    num_objects=(1, 6),
    object_size=(0.11, 0.62),
    crowding=0.4,
    min_visible=0.55,
    max_cut=0.2,
    hue_shift=5.0,
    hue_jitter=14.0,
    shade=(0.78, 1.05),
    angle=18.0,
    aspect=(0.8, 1.25),
    line_width=(0.016, 0.044),
)

# The order fixes the random stream of each split: append, never reorder.
SPLITS = {'train': TRAIN_STYLE, 'val': VAL_STYLE}

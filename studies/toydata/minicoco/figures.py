"""The twenty-four figures: what each category looks like.

Members of a family share their build and differ in detail: all vehicles stand
on the same two wheels, all animals are a head with the same eyes. A figure
takes its hue from outside (see ``categories.py``), so that colour tells the
family and never the member.
"""

import math

import numpy as np

from studies.toydata.minicoco.drawing import (
    Canvas,
    Colour,
    Paint,
    Points,
    curve,
    disc,
    ellipse,
    leaf,
    mirror,
    polygon,
    rectangle,
    star,
)

_GLASS: Colour = (208, 232, 246)
_RUBBER: Colour = (44, 44, 50)
_STEEL: Colour = (176, 180, 188)
_LAMP: Colour = (255, 226, 120)
_LEAF: Colour = (86, 164, 62)
_LEAF_LINE: Colour = (28, 66, 22)
_BARK: Colour = (128, 86, 52)
_BARK_LINE: Colour = (58, 36, 20)
_INK: Colour = (34, 26, 24)
_WHITE: Colour = (250, 250, 246)
_PINK: Colour = (232, 128, 138)


def draw_car(canvas: Canvas, paint: Paint) -> None:
    """Low body, cabin set back from both ends."""
    hull = polygon(
        *[(-1, 0.06), (-0.92, -0.08), (-0.62, -0.14), (-0.4, -0.56)],
        *[(0.26, -0.56), (0.54, -0.12), (0.9, -0.02), (1, 0.12)],
        *[(1, 0.44), (-1, 0.44)],
    )
    canvas.fill(hull, colour=paint.body, line=paint.line)
    canvas.fill(
        polygon((-0.46, -0.12), (-0.3, -0.44), (-0.1, -0.44), (-0.1, -0.12)),
        polygon((0, -0.12), (0, -0.44), (0.2, -0.44), (0.38, -0.12)),
        colour=_GLASS,
    )
    canvas.fill(rectangle(-1, 0.2, 1, 0.28), colour=paint.dark)
    canvas.fill(disc((0.88, 0.1), 0.09), colour=_LAMP)
    _draw_wheels(canvas, (-0.56, 0.58))


def draw_van(canvas: Canvas, paint: Paint) -> None:
    """One closed box that slopes down to a short nose."""
    hull = polygon(
        *[(-1, -0.56), (-0.92, -0.68), (0.38, -0.68), (0.72, -0.14)],
        *[(0.96, -0.04), (1, 0.08), (1, 0.44), (-1, 0.44)],
    )
    canvas.fill(hull, colour=paint.body, line=paint.line)
    canvas.fill(
        polygon((0.08, -0.08), (0.08, -0.52), (0.32, -0.52), (0.56, -0.08)),
        colour=_GLASS,
    )
    canvas.fill(rectangle(-1, 0.12, 1, 0.2), colour=paint.light)
    canvas.fill(rectangle(-0.14, -0.56, -0.08, 0.44), colour=paint.dark)
    canvas.fill(disc((0.9, 0.08), 0.08), colour=_LAMP)
    _draw_wheels(canvas, (-0.56, 0.58))


def draw_bus(canvas: Canvas, paint: Paint) -> None:
    """One long box with a row of windows."""
    hull = polygon(
        *[(-1, -0.58), (-0.92, -0.68), (0.92, -0.68), (1, -0.58)],
        *[(1, 0.44), (-1, 0.44)],
    )
    canvas.fill(hull, colour=paint.body, line=paint.line)
    panes = [
        rectangle(left, -0.5, left + 0.34, -0.08)
        for left in (-0.9, -0.45, 0.0, 0.55)
    ]
    canvas.fill(*panes, colour=_GLASS)
    canvas.fill(rectangle(-1, 0.1, 1, 0.22), colour=paint.light)
    canvas.fill(disc((0.9, 0.32), 0.07), colour=_LAMP)
    _draw_wheels(canvas, (-0.56, 0.58))


def draw_truck(canvas: Canvas, paint: Paint) -> None:
    """A cargo box and, after a gap, a lower cab."""
    canvas.fill(rectangle(-0.9, 0.3, 0.95, 0.44), colour=_RUBBER)
    canvas.fill(
        rectangle(-1, -0.68, 0.32, 0.34), colour=paint.light, line=paint.line
    )
    canvas.fill(
        rectangle(-0.72, -0.68, -0.64, 0.34),
        rectangle(-0.38, -0.68, -0.3, 0.34),
        rectangle(-0.04, -0.68, 0.04, 0.34),
        colour=paint.body,
    )
    cab = polygon(
        (0.46, 0.44), (0.46, -0.38), (0.78, -0.38), (1, 0.02), (1, 0.44)
    )
    canvas.fill(cab, colour=paint.body, line=paint.line)
    canvas.fill(
        polygon((0.58, 0.02), (0.58, -0.26), (0.74, -0.26), (0.88, 0.02)),
        colour=_GLASS,
    )
    canvas.fill(disc((0.93, 0.22), 0.07), colour=_LAMP)
    _draw_wheels(canvas, (-0.56, 0.68))


def _draw_wheels(canvas: Canvas, positions: tuple[float, float]) -> None:
    for x in positions:
        canvas.fill(disc((x, 0.46), 0.23), colour=_RUBBER)
        canvas.fill(disc((x, 0.46), 0.1), colour=_STEEL)


def draw_house(canvas: Canvas, paint: Paint) -> None:
    """A wide wall under one gable."""
    canvas.fill(
        rectangle(-0.78, -0.1, 0.78, 0.92), colour=paint.light, line=paint.line
    )
    canvas.fill(
        polygon((-1, 0), (0, -0.86), (1, 0)),
        colour=paint.body,
        line=paint.line,
    )
    canvas.fill(rectangle(-0.18, 0.36, 0.18, 0.92), colour=paint.dark)
    _draw_panes(canvas, paint, [(-0.5, 0.3), (0.5, 0.3)])


def draw_church(canvas: Canvas, paint: Paint) -> None:
    """A gabled nave with a spire beside it."""
    canvas.fill(
        rectangle(-0.3, 0.16, 0.86, 0.92), colour=paint.light, line=paint.line
    )
    canvas.fill(
        polygon((-0.42, 0.24), (-0.3, -0.22), (0.74, -0.22), (1, 0.24)),
        colour=paint.body,
        line=paint.line,
    )
    canvas.fill(
        rectangle(-0.84, -0.3, -0.24, 0.92),
        colour=paint.light,
        line=paint.line,
    )
    canvas.fill(
        polygon((-0.96, -0.22), (-0.54, -1), (-0.12, -0.22)),
        colour=paint.body,
        line=paint.line,
    )
    canvas.fill(rectangle(-0.68, 0.46, -0.4, 0.92), colour=paint.dark)
    _draw_panes(canvas, paint, [(-0.54, 0.1), (0.14, 0.56), (0.56, 0.56)])


def draw_castle(canvas: Canvas, paint: Paint) -> None:
    """A gate wall between two battlements."""
    canvas.fill(
        *_battlement(-0.55, 0.55, top=-0.08, bottom=0.9, teeth=3),
        colour=paint.light,
        line=paint.line,
    )
    for left, right in ((-0.98, -0.42), (0.42, 0.98)):
        canvas.fill(
            *_battlement(left, right, top=-0.68, bottom=0.9, teeth=2),
            colour=paint.body,
            line=paint.line,
        )
    canvas.fill(
        disc((0, 0.48), 0.24),
        rectangle(-0.24, 0.48, 0.24, 0.92),
        colour=paint.dark,
    )
    _draw_panes(canvas, paint, [(-0.7, -0.12), (0.7, -0.12)])


def draw_tower(canvas: Canvas, paint: Paint) -> None:
    """A single battlement, taller than wide."""
    canvas.fill(
        polygon((-0.42, -0.5), (0.42, -0.5), (0.54, 0.95), (-0.54, 0.95)),
        colour=paint.light,
        line=paint.line,
    )
    canvas.fill(
        *_battlement(-0.6, 0.6, top=-0.78, bottom=-0.38, teeth=3),
        colour=paint.body,
        line=paint.line,
    )
    canvas.fill(
        disc((0, 0.58), 0.19),
        rectangle(-0.19, 0.58, 0.19, 0.95),
        colour=paint.dark,
    )
    _draw_panes(canvas, paint, [(0, 0.04)])


def _battlement(
    left: float, right: float, *, top: float, bottom: float, teeth: int
) -> list[Points]:
    """A wall from top to bottom with square teeth that rise above it."""
    edges = np.linspace(left, right, 2 * teeth)
    return [
        rectangle(left, top, right, bottom),
        *[
            rectangle(edges[i], top - 0.2, edges[i + 1], top + 0.05)
            for i in range(0, 2 * teeth, 2)
        ],
    ]


def _draw_panes(
    canvas: Canvas, paint: Paint, centres: list[tuple[float, float]]
) -> None:
    for x, y in centres:
        canvas.fill(
            rectangle(x - 0.11, y - 0.13, x + 0.11, y + 0.13),
            colour=_GLASS,
            line=paint.dark,
        )


def draw_pine(canvas: Canvas, paint: Paint) -> None:
    """Three tiers of branches."""
    _draw_trunk(canvas)
    for half, bottom, top in (
        (0.76, 0.64, -0.1),
        (0.62, 0.14, -0.52),
        (0.46, -0.32, -1),
    ):
        canvas.fill(
            polygon((-half, bottom), (0, top), (half, bottom)),
            colour=paint.body,
            line=paint.line,
        )
        canvas.stroke(
            polygon((-0.5 * half, bottom - 0.12), (-0.06, top + 0.3)),
            width=0.07,
            colour=paint.light,
        )


def draw_cypress(canvas: Canvas, paint: Paint) -> None:
    """One slim flame."""
    _draw_trunk(canvas)
    half = curve([(0, -1), (0.6, -0.1), (0.3, 0.68)])
    canvas.fill(
        np.concatenate([half, mirror(half)[::-1]]),
        colour=paint.body,
        line=paint.line,
    )
    canvas.fill(leaf((-0.04, -0.72), (-0.14, 0.46), 0.2), colour=paint.light)


def draw_oak(canvas: Canvas, paint: Paint) -> None:
    """A wide cloud of leaves."""
    _draw_trunk(canvas)
    canvas.fill(
        disc((-0.52, 0.08), 0.42),
        disc((0.52, 0.08), 0.42),
        disc((-0.3, -0.46), 0.44),
        disc((0.32, -0.46), 0.44),
        disc((0, 0.08), 0.5),
        colour=paint.body,
        line=paint.line,
    )
    canvas.fill(
        disc((-0.36, -0.54), 0.2),
        disc((-0.58, 0), 0.16),
        disc((0.2, -0.2), 0.18),
        colour=paint.light,
    )


def draw_palm(canvas: Canvas, paint: Paint) -> None:
    """Long leaves that hang from the top of a bent trunk."""
    trunk = curve([(0.1, -0.4), (0.16, 0.34), (-0.1, 0.84)])
    canvas.stroke(trunk, width=0.36, colour=_BARK_LINE)
    canvas.stroke(trunk, width=0.22, colour=_BARK)
    crown = (0.1, -0.42)
    tips = [
        (-0.86, 0.18),
        (-0.94, -0.42),
        (-0.48, -0.96),
        (0.5, -0.96),
        (0.98, -0.42),
        (0.92, 0.18),
    ]
    fronds = [leaf(crown, tip, 0.38) for tip in tips]
    canvas.fill(*fronds, colour=paint.body, line=paint.line)
    for tip in tips:
        canvas.stroke(polygon(crown, tip), width=0.06, colour=paint.light)


def _draw_trunk(canvas: Canvas) -> None:
    canvas.fill(
        rectangle(-0.13, 0.3, 0.13, 0.96), colour=_BARK, line=_BARK_LINE
    )


def draw_apple(canvas: Canvas, paint: Paint) -> None:
    """Dented at the top, with a stem and one leaf."""
    canvas.stroke(
        curve([(0, -0.4), (0, -0.7), (0.14, -0.94)]),
        width=0.13,
        colour=_BARK_LINE,
    )
    canvas.fill(
        leaf((0.08, -0.62), (0.72, -0.86), 0.32),
        colour=_LEAF,
        line=_LEAF_LINE,
    )
    canvas.fill(
        ellipse((-0.34, 0.14), (0.58, 0.68)),
        ellipse((0.34, 0.14), (0.58, 0.68)),
        ellipse((-0.22, 0.44), (0.44, 0.5)),
        ellipse((0.22, 0.44), (0.44, 0.5)),
        colour=paint.body,
        line=paint.line,
    )
    _draw_gloss(canvas, paint, (-0.5, -0.06))


def draw_tomato(canvas: Canvas, paint: Paint) -> None:
    """Flattened, with a star of sepals on top."""
    canvas.fill(
        ellipse((0, 0.16), (0.96, 0.76)), colour=paint.body, line=paint.line
    )
    _draw_gloss(canvas, paint, (-0.56, 0.12))
    canvas.fill(
        star(5, inner=0.34, centre=(0, -0.5), radius=0.48) * (1.2, 0.9),
        colour=_LEAF,
        line=_LEAF_LINE,
    )


def draw_cherry(canvas: Canvas, paint: Paint) -> None:
    """A pair on stems that meet at a leaf."""
    for x, y in ((-0.52, 0.5), (0.5, 0.42)):
        canvas.stroke(
            curve([(x, y - 0.3), (x * 0.7, -0.4), (0.06, -0.86)]),
            width=0.11,
            colour=_LEAF_LINE,
        )
    canvas.fill(
        leaf((0.06, -0.84), (0.86, -0.62), 0.36),
        colour=_LEAF,
        line=_LEAF_LINE,
    )
    for x, y in ((-0.52, 0.5), (0.5, 0.42)):
        canvas.fill(disc((x, y), 0.44), colour=paint.body, line=paint.line)
        canvas.fill(
            ellipse((x - 0.16, y - 0.14), (0.08, 0.13), 35),
            colour=paint.light,
        )


def draw_strawberry(canvas: Canvas, paint: Paint) -> None:
    """Pointed at the bottom and dotted with seeds."""
    half = np.concatenate(
        [
            curve([(0, -0.5), (0.8, -0.74), (0.84, -0.2)]),
            curve([(0.84, -0.2), (0.78, 0.5), (0, 0.98)]),
        ]
    )
    canvas.fill(
        np.concatenate([half, mirror(half)[::-1]]),
        colour=paint.body,
        line=paint.line,
    )
    seeds = [
        *[(-0.5, -0.1), (0, -0.02), (0.5, -0.1), (-0.26, 0.24)],
        *[(0.26, 0.24), (0, 0.54)],
    ]
    canvas.fill(
        *[ellipse(seed, (0.06, 0.1)) for seed in seeds], colour=paint.light
    )
    canvas.fill(
        star(6, inner=0.42, centre=(0, -0.6), radius=0.5) * (1.25, 0.85),
        colour=_LEAF,
        line=_LEAF_LINE,
    )


def _draw_gloss(
    canvas: Canvas, paint: Paint, centre: tuple[float, float]
) -> None:
    canvas.fill(ellipse(centre, (0.12, 0.26), 25), colour=paint.light)


def draw_cat(canvas: Canvas, paint: Paint) -> None:
    """Pointed ears and whiskers."""
    ear = polygon((-0.74, 0.1), (-0.68, -0.92), (-0.08, -0.36))
    inner = polygon((-0.58, -0.24), (-0.57, -0.68), (-0.28, -0.4))
    head = ellipse((0, 0.22), (0.84, 0.68))
    canvas.fill(ear, mirror(ear), head, colour=paint.body, line=paint.line)
    canvas.fill(inner, mirror(inner), colour=_PINK)
    for height in (0.34, 0.5):
        whisker = polygon((-0.98, height + 0.04), (-0.4, 0.4))
        canvas.stroke(whisker, width=0.05, colour=paint.line)
        canvas.stroke(mirror(whisker), width=0.05, colour=paint.line)
    _draw_eyes(canvas)
    canvas.fill(polygon((-0.12, 0.34), (0.12, 0.34), (0, 0.48)), colour=_PINK)


def draw_bear(canvas: Canvas, paint: Paint) -> None:
    """Round ears and a light muzzle."""
    ear = disc((-0.6, -0.46), 0.33)
    head = ellipse((0, 0.2), (0.86, 0.72))
    canvas.fill(ear, mirror(ear), head, colour=paint.body, line=paint.line)
    inner = disc((-0.62, -0.5), 0.17)
    canvas.fill(inner, mirror(inner), colour=paint.dark)
    _draw_muzzle(canvas, paint)
    _draw_eyes(canvas)


def draw_rabbit(canvas: Canvas, paint: Paint) -> None:
    """Long upright ears and two teeth."""
    ear = ellipse((-0.34, -0.46), (0.22, 0.54), -8)
    head = ellipse((0, 0.38), (0.72, 0.58))
    canvas.fill(ear, mirror(ear), head, colour=paint.body, line=paint.line)
    inner = ellipse((-0.35, -0.48), (0.1, 0.38), -8)
    canvas.fill(inner, mirror(inner), colour=_PINK)
    canvas.fill(rectangle(-0.13, 0.58, 0.13, 0.82), colour=_WHITE)
    _draw_eyes(canvas, 0.24)
    canvas.fill(ellipse((0, 0.5), (0.13, 0.09)), colour=_INK)


def draw_dog(canvas: Canvas, paint: Paint) -> None:
    """Ears that hang down beside the head, and a tongue."""
    canvas.fill(
        ellipse((0, 0.08), (0.7, 0.82)), colour=paint.body, line=paint.line
    )
    ear = ellipse((-0.72, -0.1), (0.25, 0.56), 14)
    for side in (ear, mirror(ear)):
        canvas.fill(side, colour=paint.dark, line=paint.line)
    canvas.fill(
        ellipse((0, 0.72), (0.15, 0.22)), colour=_PINK, line=paint.line
    )
    _draw_muzzle(canvas, paint)
    _draw_eyes(canvas, -0.04)


def _draw_eyes(canvas: Canvas, height: float = 0.08) -> None:
    eye = disc((-0.32, height), 0.12)
    canvas.fill(eye, mirror(eye), colour=_INK)
    canvas.fill(
        disc((-0.29, height - 0.04), 0.04),
        disc((0.35, height - 0.04), 0.04),
        colour=_WHITE,
    )


def _draw_muzzle(canvas: Canvas, paint: Paint) -> None:
    canvas.fill(ellipse((0, 0.48), (0.4, 0.3)), colour=paint.light)
    canvas.fill(ellipse((0, 0.36), (0.16, 0.11)), colour=_INK)


def draw_star4(canvas: Canvas, paint: Paint) -> None:
    """Four points."""
    _draw_star(canvas, paint, num_points=4, inner=0.42)


def draw_star5(canvas: Canvas, paint: Paint) -> None:
    """Five points."""
    _draw_star(canvas, paint, num_points=5, inner=0.48)


def draw_star6(canvas: Canvas, paint: Paint) -> None:
    """Six points."""
    _draw_star(canvas, paint, num_points=6, inner=0.54)


def draw_sun(canvas: Canvas, paint: Paint) -> None:
    """A disc with ten separate rays."""
    turns = [2 * math.pi * i / 10 for i in range(10)]
    rays = [
        polygon(
            (math.sin(turn), -math.cos(turn)),
            (0.68 * math.sin(turn - 0.2), -0.68 * math.cos(turn - 0.2)),
            (0.68 * math.sin(turn + 0.2), -0.68 * math.cos(turn + 0.2)),
        )
        for turn in turns
    ]
    canvas.fill(*rays, colour=paint.body, line=paint.line)
    canvas.fill(disc((0, 0), 0.58), colour=paint.body, line=paint.line)
    canvas.fill(disc((-0.06, -0.06), 0.4), colour=paint.light)


def _draw_star(
    canvas: Canvas, paint: Paint, *, num_points: int, inner: float
) -> None:
    outer = star(num_points, inner=inner)
    canvas.fill(outer, colour=paint.body, line=paint.line)
    canvas.fill(0.55 * outer, colour=paint.light)

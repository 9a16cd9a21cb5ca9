"""The category table: six families of four members that look alike.

The hue belongs to the family. A detector finds the family from colour and
build and needs finer detail for the member, so that it confuses members of one
family more than members of two: category relations have something to say.
"""

from collections.abc import Callable
from typing import NamedTuple

from studies.toydata.minicoco import figures
from studies.toydata.minicoco.drawing import Canvas, Colour, Paint, hsv


class Family(NamedTuple):
    """What the members of a supercategory have in common."""

    name: str
    hue: float  # degrees, centre of the range that a split draws from
    saturation: float
    value: float


class Category(NamedTuple):
    """One class of objects."""

    name: str
    family: Family
    draw: Callable[[Canvas, Paint], None]


VEHICLE = Family('vehicle', hue=212, saturation=0.72, value=0.86)
BUILDING = Family('building', hue=288, saturation=0.48, value=0.78)
TREE = Family('tree', hue=122, saturation=0.62, value=0.62)
FRUIT = Family('fruit', hue=354, saturation=0.82, value=0.86)
ANIMAL = Family('animal', hue=25, saturation=0.56, value=0.78)
STAR = Family('star', hue=51, saturation=0.84, value=0.96)

FAMILIES = (VEHICLE, BUILDING, TREE, FRUIT, ANIMAL, STAR)

CATEGORIES = (
    Category('car', VEHICLE, figures.draw_car),
    Category('van', VEHICLE, figures.draw_van),
    Category('bus', VEHICLE, figures.draw_bus),
    Category('truck', VEHICLE, figures.draw_truck),
    Category('house', BUILDING, figures.draw_house),
    Category('church', BUILDING, figures.draw_church),
    Category('castle', BUILDING, figures.draw_castle),
    Category('tower', BUILDING, figures.draw_tower),
    Category('pine', TREE, figures.draw_pine),
    Category('cypress', TREE, figures.draw_cypress),
    Category('oak', TREE, figures.draw_oak),
    Category('palm', TREE, figures.draw_palm),
    Category('apple', FRUIT, figures.draw_apple),
    Category('tomato', FRUIT, figures.draw_tomato),
    Category('cherry', FRUIT, figures.draw_cherry),
    Category('strawberry', FRUIT, figures.draw_strawberry),
    Category('cat', ANIMAL, figures.draw_cat),
    Category('bear', ANIMAL, figures.draw_bear),
    Category('rabbit', ANIMAL, figures.draw_rabbit),
    Category('dog', ANIMAL, figures.draw_dog),
    Category('star4', STAR, figures.draw_star4),
    Category('star5', STAR, figures.draw_star5),
    Category('star6', STAR, figures.draw_star6),
    Category('sun', STAR, figures.draw_sun),
)

CLASSES = tuple(category.name for category in CATEGORIES)


def members(family: Family) -> tuple[Category, ...]:
    """The categories of one family, in the order of the table."""
    return tuple(c for c in CATEGORIES if c.family == family)


def palette() -> list[Colour]:
    """One RGB colour per category for plots: the family's hue, in shades."""
    colours = []
    for family in FAMILIES:
        num_members = len(members(family))
        for position in range(num_members):
            fade = position / max(num_members - 1, 1)
            colours.append(
                hsv(
                    family.hue,
                    saturation=0.95 - 0.4 * fade,
                    value=0.6 + 0.38 * fade,
                )
            )
    return colours

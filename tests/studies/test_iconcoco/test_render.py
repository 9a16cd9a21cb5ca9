"""A drawing in a pose, against what geometry says."""

import numpy as np
import pytest

from studies.toydata.iconcoco.icons import Icon
from studies.toydata.iconcoco.render import Tint, render_icon
from studies.toydata.minicoco.drawing import Pose


def test_square_has_its_size_and_colour(tiny):
    sprite = render_icon(tiny['square'], Pose(size=20))

    assert sprite.alpha.shape == (10, 10)
    assert (sprite.alpha == 255).all()
    assert (sprite.colour == (0, 255, 0)).all()


def test_size_is_that_of_the_longer_side(tiny):
    sprite = render_icon(tiny['disc'], Pose(size=80))  # a frame of 40 x 20

    assert sprite.mask.shape == (36, 36)
    assert sprite.mask.sum() == pytest.approx(np.pi * 18**2, rel=0.02)


def test_mirror_exchanges_left_and_right(tiny):
    plain = render_icon(tiny['corner'], Pose(size=20))
    mirrored = render_icon(tiny['corner'], Pose(size=20, mirrored=True))

    assert (plain.colour[0, 0] == (255, 0, 0)).all()
    assert not np.array_equal(plain.mask, mirrored.mask)
    np.testing.assert_array_equal(mirrored.mask, plain.mask[:, ::-1])


def test_turn_is_clockwise(tiny):
    plain = render_icon(tiny['corner'], Pose(size=20))
    turned = render_icon(tiny['corner'], Pose(size=20, angle=90))

    np.testing.assert_array_equal(turned.mask, np.rot90(plain.mask, -1))


def test_stretch_keeps_the_area(tiny):
    sprite = render_icon(tiny['square'], Pose(size=40, aspect=4.0))

    assert sprite.alpha.shape == (10, 40)


def test_nothing_is_cut_off_by_a_turn(tiny):
    for angle in range(0, 360, 30):
        sprite = render_icon(tiny['square'], Pose(size=80, angle=angle))
        assert sprite.mask.sum() == pytest.approx(40 * 40, rel=0.03)
    whole = Icon(body='<path d="M0 0h16v16H0z"/>')
    sprite = render_icon(whole, Pose(size=40, angle=45))
    assert sprite.mask.sum() == pytest.approx(40 * 40, rel=0.03)


def test_what_lies_outside_the_frame_is_cut_off(tiny):
    sprite = render_icon(tiny['spill'], Pose(size=20))

    assert sprite.alpha.shape == (4, 20)


def test_parts_make_up_the_whole(tiny):
    left = render_icon(tiny['square'].part(0.0, 0.4), Pose(size=20))
    right = render_icon(tiny['square'].part(0.4, 1.0), Pose(size=20))

    # Of x from 5 to 15 in a frame of 20, the cut is at 8.
    assert left.mask.shape == (10, 3)
    assert right.mask.shape == (10, 7)
    middle = render_icon(tiny['square'].part(0.3, 0.5), Pose(size=20))
    assert middle.mask.shape == (10, 4)


def test_tint_turns_the_hue(tiny):
    third = render_icon(tiny['square'], Pose(size=20), Tint(hue=120.0))
    dark = render_icon(tiny['square'], Pose(size=20), Tint(value=0.5))
    grey = render_icon(tiny['square'], Pose(size=20), Tint(saturation=0.0))

    assert (third.colour == (0, 0, 255)).all()
    assert (dark.colour == (0, 128, 0)).all()
    assert (grey.colour == 255).all()


def test_colour_is_premultiplied(tiny):
    sprite = render_icon(tiny['disc'], Pose(size=33.3, angle=10))

    assert ((sprite.alpha > 0) & (sprite.alpha < 255)).any()
    assert (sprite.colour <= sprite.alpha[..., None]).all()


def test_invisible_drawing_is_refused(tiny):
    with pytest.raises(ValueError, match='nothing of the drawing'):
        render_icon(tiny['nothing'], Pose(size=20))

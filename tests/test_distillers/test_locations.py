from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from mmwkd.distillers.places.base import Step
from mmwkd.distillers.places.location_logits import LocationLogitPlace
from mmwkd.functional import append_background

NUM_CLASSES = 3
STRIDES = [8, 16]


def score_maps(seed, *sizes, scores=NUM_CLASSES, anchors=2):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(2, anchors, scores, *size, generator=generator)
        for size in sizes
    ]


def confident_locations(
    student_maps, teacher_maps, num_classes, count, image_sizes=None
):
    """Logits that the place compares, and which rows are in their images."""
    place = object.__new__(LocationLogitPlace)
    place.num_classes, place._max_locations = num_classes, count
    place._strides = STRIDES
    student, teacher = (
        SimpleNamespace(scores=maps) for maps in (student_maps, teacher_maps)
    )
    return place.logits(Step(student, teacher, image_sizes))


def rows(maps):
    """All locations of each image, (N, M, S)."""
    return torch.cat(
        [m.permute(0, 1, 3, 4, 2).flatten(1, 3) for m in maps], dim=1
    )


@pytest.fixture
def maps():
    sizes = (4, 5), (2, 3)
    return score_maps(0, *sizes), score_maps(1, *sizes)


def test_the_most_confident_locations_of_each_image_are_kept(maps):
    student_maps, teacher_maps = maps
    picked = confident_locations(student_maps, teacher_maps, NUM_CLASSES, 7)

    best = rows(teacher_maps).amax(dim=2).topk(7, dim=1).indices
    for logits, expected in (
        (picked[0], rows(student_maps)),
        (picked[1], rows(teacher_maps)),
    ):
        expected = torch.stack(
            [image[index] for image, index in zip(expected, best, strict=True)]
        )
        assert_close(logits, append_background(expected.flatten(0, 1)))


def test_few_locations_are_all_kept_once(maps):
    student_maps, teacher_maps = maps
    everything = confident_locations(
        student_maps, teacher_maps, NUM_CLASSES, 1000
    )
    assert len(everything[0]) == 2 * 2 * (4 * 5 + 2 * 3)
    assert_close(
        everything[0].sort(dim=0).values,
        append_background(rows(student_maps).flatten(0, 1)).sort(dim=0).values,
    )


def test_a_softmax_is_taken_as_it_is():
    (student_map,), (teacher_map,) = (
        score_maps(seed, (2, 2), scores=NUM_CLASSES + 1) for seed in (0, 1)
    )
    picked = confident_locations([student_map], [teacher_map], NUM_CLASSES, 3)
    all_rows = rows([teacher_map])[0]
    margin = all_rows[:, :3].amax(dim=1) - all_rows[:, 3]
    assert_close(picked[1][:3], all_rows[margin.topk(3).indices])
    # a constant added to a row changes no probability, hence no choice
    shifted = teacher_map + torch.randn(2, 2, 1, 2, 2)
    again = confident_locations([student_map], [shifted], NUM_CLASSES, 3)
    assert_close(again[0], picked[0])


def test_a_sigmoid_student_learns_from_a_softmax_teacher():
    student_maps = score_maps(0, (2, 2))
    teacher_maps = score_maps(1, (2, 2), scores=NUM_CLASSES + 1)
    picked = confident_locations(student_maps, teacher_maps, NUM_CLASSES, 4)
    assert picked[0].shape == picked[1].shape == (8, 4)


def test_what_one_image_is_padded_further_is_cut_off(maps):
    student_maps, teacher_maps = maps
    padded = [
        torch.nn.functional.pad(m, (0, 1, 0, 2), value=9) for m in teacher_maps
    ]
    expected = confident_locations(student_maps, teacher_maps, NUM_CLASSES, 7)
    picked = confident_locations(student_maps, padded, NUM_CLASSES, 7)
    assert_close(picked[0], expected[0])
    assert_close(picked[1], expected[1])


def test_gradients_reach_the_picked_scores_alone(maps):
    student_maps, teacher_maps = maps
    student_maps = [m.requires_grad_() for m in student_maps]
    picked = confident_locations(student_maps, teacher_maps, NUM_CLASSES, 7)
    picked[0].sum().backward()
    grads = rows([m.grad for m in student_maps])
    assert_close(grads.unique(), torch.tensor([0.0, 1.0]))
    assert grads.sum() == 2 * 7 * NUM_CLASSES


def test_padding_is_no_location(maps):
    sizes = torch.tensor([[32.0, 40], [16, 20]])  # of 4x5 and 2x3 points
    alone = [
        [level[1:, ..., :2, :3], level2[1:, ..., :1, :2]]
        for level, level2 in maps
    ]
    expected = confident_locations(*alone, NUM_CLASSES, 7)
    *picked, inside = confident_locations(*maps, NUM_CLASSES, 7, sizes)
    for logits, own in zip(picked, expected, strict=False):
        assert_close(logits[7:], own)
    assert inside.all()

    *_, inside = confident_locations(*maps, NUM_CLASSES, 1000, sizes)
    assert inside.unflatten(0, (2, -1)).sum(dim=1).tolist() == [52, 16]

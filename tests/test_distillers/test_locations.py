import pytest
import torch
from torch.testing import assert_close

from mmwkd.distillers.locations import confident_locations
from mmwkd.functional import append_background

NUM_CLASSES = 3


def score_maps(seed, *sizes, scores=NUM_CLASSES, anchors=2):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(2, anchors, scores, *size, generator=generator)
        for size in sizes
    ]


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
    mine, theirs = maps
    picked = confident_locations(mine, theirs, NUM_CLASSES, 7)

    best = rows(theirs).amax(dim=2).topk(7, dim=1).indices
    for logits, expected in (
        (picked.student_logits, rows(mine)),
        (picked.teacher_logits, rows(theirs)),
    ):
        expected = torch.stack(
            [image[index] for image, index in zip(expected, best, strict=True)]
        )
        assert_close(logits, append_background(expected.flatten(0, 1)))


def test_few_locations_are_all_kept_once(maps):
    mine, theirs = maps
    everything = confident_locations(mine, theirs, NUM_CLASSES, 1000)
    assert len(everything.student_logits) == 2 * 2 * (4 * 5 + 2 * 3)
    assert_close(
        everything.student_logits.sort(dim=0).values,
        append_background(rows(mine).flatten(0, 1)).sort(dim=0).values,
    )


def test_a_softmax_is_taken_as_it_is():
    (mine,), (theirs,) = (
        score_maps(seed, (2, 2), scores=NUM_CLASSES + 1) for seed in (0, 1)
    )
    picked = confident_locations([mine], [theirs], NUM_CLASSES, 3)
    all_rows = rows([theirs])[0]
    margin = all_rows[:, :3].amax(dim=1) - all_rows[:, 3]
    assert_close(picked.teacher_logits[:3], all_rows[margin.topk(3).indices])
    # a constant added to a row changes no probability, hence no choice
    shifted = theirs + torch.randn(2, 2, 1, 2, 2)
    again = confident_locations([mine], [shifted], NUM_CLASSES, 3)
    assert_close(again.student_logits, picked.student_logits)


def test_a_sigmoid_student_learns_from_a_softmax_teacher():
    mine = score_maps(0, (2, 2))
    theirs = score_maps(1, (2, 2), scores=NUM_CLASSES + 1)
    picked = confident_locations(mine, theirs, NUM_CLASSES, 4)
    assert picked.student_logits.shape == picked.teacher_logits.shape == (8, 4)


def test_what_one_image_is_padded_further_is_cut_off(maps):
    mine, theirs = maps
    padded = [
        torch.nn.functional.pad(m, (0, 1, 0, 2), value=9) for m in theirs
    ]
    expected = confident_locations(mine, theirs, NUM_CLASSES, 7)
    picked = confident_locations(mine, padded, NUM_CLASSES, 7)
    assert_close(picked.student_logits, expected.student_logits)
    assert_close(picked.teacher_logits, expected.teacher_logits)


def test_gradients_reach_the_picked_scores_alone(maps):
    mine, theirs = maps
    mine = [m.requires_grad_() for m in mine]
    picked = confident_locations(mine, theirs, NUM_CLASSES, 7)
    picked.student_logits.sum().backward()
    grads = rows([m.grad for m in mine])
    assert_close(grads.unique(), torch.tensor([0.0, 1.0]))
    assert grads.sum() == 2 * 7 * NUM_CLASSES

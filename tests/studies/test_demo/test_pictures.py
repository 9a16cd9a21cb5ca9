import io

import numpy as np
import pytest
from mmdet.evaluation.functional import bbox_overlaps
from PIL import Image

from studies.demo import pictures
from studies.demo.pictures import (
    Column,
    confident,
    draw_curves,
    draw_detections,
    match,
    pick_samples,
)
from studies.demo.results import TITLES
from studies.grid.scalars import History
from studies.grid.theme import DARK, LIGHT
from studies.toydata.minicoco.categories import CLASSES
from studies.toydata.minicoco.generate import generate_minicoco
from tests.studies.test_demo.conftest import make_boxes

BLUE, WHITE = (86, 190, 255), (255, 255, 255)  # what is right, what is there
TRUTH = make_boxes((0, 0, 20, 20, 1, 1), (40, 40, 60, 60, 2, 1))


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp('demo') / 'minicoco'
    return generate_minicoco(root, num_train=1, num_val=12).root


def test_a_detection_is_right_once():
    found = make_boxes(
        (0, 0, 20, 20, 1, 0.9),
        (1, 1, 21, 21, 1, 0.8),
    )

    matching = match(found, TRUTH)

    assert matching.outcomes == ('right', 'extra')
    assert matching.missed == (1,)
    assert str(matching) == '1 of 2 right, 1 extra'


def test_the_right_place_with_another_name_is_the_wrong_category():
    matching = match(make_boxes((0, 0, 20, 20, 3, 0.9)), TRUTH)

    assert matching.outcomes == ('wrong category',)
    assert matching.missed == (0, 1)


def test_beside_an_object_is_extra():
    matching = match(make_boxes((11, 11, 31, 31, 1, 0.9)), TRUTH)

    assert matching.outcomes == ('extra',)


def test_a_wrong_name_does_not_take_the_object_from_a_right_one():
    found = make_boxes((0, 0, 20, 20, 3, 0.9), (0, 0, 20, 20, 1, 0.5))

    assert match(found, TRUTH).outcomes == ('wrong category', 'right')


@pytest.mark.parametrize(
    ('found', 'truth', 'text'),
    [
        (make_boxes(), TRUTH, '0 of 2 right'),
        (TRUTH, make_boxes(), '0 of 0 right, 2 extra'),
        (make_boxes(), make_boxes(), '0 of 0 right'),
    ],
)
def test_matching_of_nothing(found, truth, text):
    assert str(match(found, truth)) == text


def test_confident_sorts_and_cuts():
    boxes = make_boxes(
        (0, 0, 1, 1, 0, 0.31),
        (0, 0, 2, 2, 1, 0.29),
        (0, 0, 3, 3, 2, 0.95),
    )

    assert confident(boxes).labels.tolist() == [2, 0]


def test_samples_are_clear_first_and_then_busy(dataset):
    samples = pick_samples(dataset, 100)

    def rank(sample):
        overlaps = bbox_overlaps(sample.truth.corners, sample.truth.corners)
        np.fill_diagonal(overlaps, 0)
        return overlaps.any(), -len(sample.truth.labels)

    assert len(samples) == 12
    ranks = [rank(sample) for sample in samples]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) > 3
    first = [sample.image_id for sample in pick_samples(dataset, 4)]
    assert first == [sample.image_id for sample in samples[:4]]
    assert all(sample.file.is_file() for sample in samples)


@pytest.fixture
def coarse(monkeypatch):
    """Pictures of few pixels."""
    monkeypatch.setattr(pictures, '_DPI', 50)


def pixels(png):
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert('RGB')).astype(int)


def share_of(colour, page):
    if isinstance(colour, str):
        colour = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return (np.abs(page - colour).max(axis=-1) < 8).mean()


def test_the_picture_shows_what_was_found_and_what_was_missed(dataset, coarse):
    samples = pick_samples(dataset, 1)
    columns = [
        Column('all', [sample.truth for sample in samples]),
        Column('nothing', [make_boxes() for _ in samples]),
    ]

    page = pixels(draw_detections(samples, columns, CLASSES))

    truth, found, missed = np.array_split(page[60:], 3, axis=1)
    assert share_of(BLUE, found) > 10 * share_of(BLUE, truth)
    assert share_of(BLUE, found) > 10 * share_of(BLUE, missed)
    # dashes around what was missed
    assert share_of(WHITE, missed) > 2 * share_of(WHITE, found)


@pytest.mark.parametrize('theme', [LIGHT, DARK])
def test_curves_show_the_distilled_student_in_each_panel(
    history, distilled_history, coarse, theme
):
    histories = dict(
        teacher=history, baseline=history, distilled=distilled_history
    )

    page = pixels(draw_curves(histories, TITLES, theme))

    assert share_of(theme.page, page) > 0.6
    # the distilled student, or the term that it adds
    for third in np.array_split(page, 3, axis=1):
        assert share_of(theme.distilled, third) > 2e-4


def test_curves_of_a_training_that_logged_nothing(history, coarse):
    histories = dict(teacher=history, baseline=history, distilled=History())

    assert share_of(LIGHT.page, pixels(draw_curves(histories, TITLES))) > 0.6


def test_a_truncated_image_is_named(dataset, tmp_path):
    (sample,) = pick_samples(dataset, 1)
    file = tmp_path / 'half.png'
    file.write_bytes(sample.file.read_bytes()[:-500])
    broken = sample._replace(file=file)
    with pytest.raises(ValueError, match=f'^image {file} cannot be read'):
        draw_detections([broken], [Column('all', [sample.truth])], CLASSES)


def test_annotations_that_are_no_json_are_named(tmp_path):
    file = tmp_path / 'annotations' / 'instances_val.json'
    file.parent.mkdir()
    file.write_text('{')
    with pytest.raises(ValueError, match=f'^{file} is no JSON file'):
        pick_samples(tmp_path)

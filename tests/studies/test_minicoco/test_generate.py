"""The dataset on disk: its contents, and what is never overwritten."""

import json
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from studies.toydata.minicoco.categories import CLASSES, FAMILIES
from studies.toydata.minicoco.folder import annotation_file
from studies.toydata.minicoco.generate import MiniCoco, generate_minicoco
from studies.toydata.minicoco.style import SPLITS

TOOL = Path(__file__).parents[3] / 'tools' / 'make_minicoco.py'
SMALL = {'num_train': 4, 'num_val': 3, 'image_size': 64}


@pytest.fixture(scope='module')
def made(tmp_path_factory) -> MiniCoco:
    return generate_minicoco(
        tmp_path_factory.mktemp('minicoco') / 'data', num_train=30, num_val=25
    )


@pytest.fixture
def small(tmp_path) -> Path:
    return generate_minicoco(tmp_path / 'data', **SMALL).root


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


def _read(root: Path, split: str) -> dict:
    return json.loads(annotation_file(root, split).read_text())


def test_layout_is_coco(made):
    assert made.generated
    for split, num_images in (('train', 30), ('val', 25)):
        document = _read(made.root, split)
        assert list(document) == [
            *['info', 'licenses', 'images', 'annotations', 'categories']
        ]
        assert len(document['images']) == num_images
        names = {image['file_name'] for image in document['images']}
        assert names == {p.name for p in (made.root / split).iterdir()}
        image = cv2.imread(str(made.root / split / sorted(names)[0]))
        assert image.shape == (128, 128, 3)


def test_categories_have_supercategories(made):
    for split in SPLITS:
        categories = _read(made.root, split)['categories']
        assert tuple(c['name'] for c in categories) == CLASSES
        assert {c['supercategory'] for c in categories} == {
            family.name for family in FAMILIES
        }


@pytest.mark.parametrize('split', SPLITS)
def test_pycocotools_agrees_with_boxes_areas_and_masks(made, split):
    coco = COCO(annotation_file(made.root, split))

    assert len(coco.anns) >= len(coco.imgs)
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation)
        rows, columns = np.nonzero(mask)
        x, y, width, height = annotation['bbox']
        assert (x, y) == (columns.min(), rows.min())
        assert x + width == columns.max() + 1 <= 128
        assert y + height == rows.max() + 1 <= 128
        assert annotation['area'] == mask.sum() > 0
        assert annotation['iscrowd'] == 0
        assert 0.5 <= annotation['visible'] <= 1


@pytest.mark.parametrize('split', SPLITS)
def test_every_category_appears(made, split):
    annotations = _read(made.root, split)['annotations']

    assert {a['category_id'] for a in annotations} == set(range(1, 25))


def test_box_evaluation_gives_the_truth_full_marks(made):
    coco = COCO(annotation_file(made.root, 'val'))
    keys = ('image_id', 'category_id', 'bbox')
    detections = [
        {**{key: annotation[key] for key in keys}, 'score': 1.0}
        for annotation in coco.anns.values()
    ]

    evaluation = COCOeval(coco, coco.loadRes(detections), 'bbox')
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()

    np.testing.assert_allclose(evaluation.stats[0], 1.0)


def test_pixels_on_disk_are_the_scene_in_rgb(made):
    image = cv2.imread(str(made.root / 'train' / '000013.png'))
    (annotation, *_) = [
        a
        for a in _read(made.root, 'train')['annotations']
        if a['image_id'] == 13
    ]
    mask = COCO(annotation_file(made.root, 'train')).annToMask(annotation)
    blue, _, red = image[mask.astype(bool)].mean(axis=0)

    # Image 13 begins with category 13, the apple: were the channels
    # exchanged on the way to the file, it would be blue.
    assert CLASSES[annotation['category_id'] - 1] == 'apple'
    assert red > blue + 50


def test_same_seed_gives_the_same_bytes(small, tmp_path):
    again = generate_minicoco(tmp_path / 'again', **SMALL)

    assert _contents(again.root) == _contents(small)


def test_images_do_not_depend_on_how_many_there_are(small, tmp_path):
    more = generate_minicoco(
        tmp_path / 'more', num_train=7, num_val=5, image_size=64
    ).root

    for split in SPLITS:
        few_files, more_files = (
            _contents(root / split) for root in (small, more)
        )
        assert few_files.items() < more_files.items()
        few_document, more_document = (
            _read(root, split) for root in (small, more)
        )
        for key in ('images', 'annotations'):
            few = few_document[key]
            assert more_document[key][: len(few)] == few


def test_other_seed_gives_other_images(small, tmp_path):
    other = generate_minicoco(tmp_path / 'other', **SMALL, seed=1).root

    for split in SPLITS:
        images = zip(
            _contents(small / split).values(),
            _contents(other / split).values(),
            strict=True,
        )
        assert all(one != another for one, another in images)


def test_force_replaces_a_minicoco(small):
    assert not generate_minicoco(small, **SMALL).generated
    with pytest.raises(ValueError, match='holds minicoco with other param'):
        generate_minicoco(small, **SMALL, seed=3)

    replaced = generate_minicoco(small, **SMALL, seed=3, force=True)

    assert replaced.generated
    assert replaced.parameters.seed == 3
    assert _read(small, 'val')['info']['minicoco']['seed'] == 3


def test_tool_writes_once_and_then_says_so(tmp_path, monkeypatch, capsys):
    root, sheet = tmp_path / 'data', tmp_path / 'new' / 'sheet.png'
    command = [
        *[TOOL.name, str(root), '--contact-sheet', str(sheet)],
        *['--num-train', '2', '--num-val', '1'],
        *['--image-size', '64', '--seed', '5'],
    ]
    monkeypatch.setattr(sys, 'argv', command)

    for said in ('written', 'already there'):
        runpy.run_path(str(TOOL), run_name='__main__')
        assert f'{root}: {said}' in capsys.readouterr().out

    assert _read(root, 'train')['info']['minicoco']['seed'] == 5
    assert cv2.imread(str(sheet)) is not None

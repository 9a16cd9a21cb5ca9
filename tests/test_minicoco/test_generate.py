"""The dataset on disk: its contents, and what is never overwritten."""

import json
import re
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmwkd.minicoco.categories import CLASSES, FAMILIES
from mmwkd.minicoco.generate import (
    MiniCoco,
    annotation_file,
    generate_minicoco,
)
from mmwkd.minicoco.style import SPLITS

TOOL = Path(__file__).parents[2] / 'tools' / 'make_minicoco.py'
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


class _StopError(Exception):
    pass


def _stop_at_third(jobs):
    for position, job in enumerate(jobs):
        if position == 2:
            raise _StopError
        yield job


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


def test_finished_dataset_is_left_as_it_is(small):
    before = {path: path.stat().st_mtime_ns for path in small.rglob('*')}

    again = generate_minicoco(small, **SMALL, progress=_stop_at_third)

    assert not again.generated
    assert again.root == small
    assert before == {p: p.stat().st_mtime_ns for p in small.rglob('*')}


def test_other_parameters_are_refused_naming_both(small):
    before = _contents(small)

    with pytest.raises(ValueError, match='other parameters') as caught:
        generate_minicoco(small, **SMALL, seed=3)

    message = str(caught.value)
    assert re.search(r"found \{.*'seed': 0.*asked for .*'seed': 3", message)
    assert '--force' in message
    assert _contents(small) == before


def test_force_replaces_a_minicoco_and_leaves_nothing_else(small):
    replaced = generate_minicoco(small, **SMALL, seed=3, force=True)

    assert replaced.generated
    assert _read(small, 'val')['info']['minicoco']['seed'] == 3
    assert list(small.parent.iterdir()) == [small]


def test_missing_image_is_noticed_and_force_repairs(small):
    before = _contents(small)
    (small / 'val' / '000002.png').unlink()

    with pytest.raises(ValueError, match=r'misses 1 of .*000002\.png.*force'):
        generate_minicoco(small, **SMALL)

    generate_minicoco(small, **SMALL, force=True)
    assert _contents(small) == before


@pytest.mark.parametrize('force', [False, True])
def test_foreign_folder_is_never_touched(tmp_path, force):
    (tmp_path / 'thesis.txt').write_text('mine')

    with pytest.raises(ValueError, match='is not a minicoco'):
        generate_minicoco(tmp_path, **SMALL, force=force)

    assert _contents(tmp_path) == {'thesis.txt': b'mine'}


@pytest.mark.parametrize(
    'text', ['{"info": {}}', '[]', 'no JSON', '{"info": {"minicoco": {}}}']
)
def test_other_coco_dataset_is_never_touched(tmp_path, text):
    root = tmp_path / 'coco'
    (root / 'annotations').mkdir(parents=True)
    for split in SPLITS:
        annotation_file(root, split).write_text(text)

    with pytest.raises(ValueError, match='is not a minicoco'):
        generate_minicoco(root, **SMALL, force=True)


def test_file_in_the_way_is_never_touched(tmp_path):
    path = tmp_path / 'data'
    path.write_text('mine')

    with pytest.raises(ValueError, match='is not a minicoco'):
        generate_minicoco(path, **SMALL, force=True)

    assert path.read_text() == 'mine'


def test_splits_that_do_not_belong_together_are_no_minicoco(small, tmp_path):
    other = generate_minicoco(tmp_path / 'other', **SMALL, seed=1).root
    annotation_file(other, 'val').replace(annotation_file(small, 'val'))

    with pytest.raises(ValueError, match='is not a minicoco'):
        generate_minicoco(small, **SMALL, force=True)


def test_force_keeps_files_that_others_put_into_a_minicoco(small):
    (small / 'cost_matrix.npz').write_bytes(b'mine')

    with pytest.raises(ValueError, match=r'did not write.*cost_matrix\.npz'):
        generate_minicoco(small, **SMALL, seed=3, force=True)

    assert (small / 'cost_matrix.npz').read_bytes() == b'mine'


def test_empty_folder_and_missing_parents_are_fine(tmp_path):
    (tmp_path / 'empty').mkdir()

    for root in (tmp_path / 'empty', tmp_path / 'some' / 'where'):
        assert generate_minicoco(root, **SMALL).generated


def test_link_is_followed(tmp_path):
    link = tmp_path / 'link'
    link.symlink_to(tmp_path / 'disk', target_is_directory=True)

    made = generate_minicoco(link, **SMALL)

    assert link.is_symlink()
    assert made.root == (tmp_path / 'disk').resolve()
    assert not generate_minicoco(link, **SMALL).generated


@pytest.mark.parametrize(
    ('parameter', 'value', 'message'),
    [
        ('num_train', -1, 'num_train must be at least 1, got -1'),
        ('num_train', 0, 'num_train must be at least 1, got 0'),
        ('num_val', -5, 'num_val must be at least 1, got -5'),
        ('image_size', 63, 'image_size must be at least 64, got 63'),
        ('seed', -1, 'seed must be at least 0, got -1'),
        ('seed', 0.5, 'seed must be an integer, got 0.5'),
        ('num_val', True, 'num_val must be an integer, got True'),
    ],
)
def test_bad_number_is_refused(tmp_path, parameter, value, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        generate_minicoco(tmp_path / 'data', **{parameter: value})

    assert not list(tmp_path.iterdir())


def test_interruption_leaves_nothing(tmp_path):
    with pytest.raises(_StopError):
        generate_minicoco(tmp_path / 'data', **SMALL, progress=_stop_at_third)

    assert not list(tmp_path.iterdir())


def test_interruption_of_a_replacement_keeps_the_old_dataset(small):
    before = _contents(small)

    with pytest.raises(_StopError):
        generate_minicoco(
            small, **SMALL, seed=3, force=True, progress=_stop_at_third
        )

    assert _contents(small) == before
    assert list(small.parent.iterdir()) == [small]


def test_failed_rename_brings_the_old_dataset_back(small, monkeypatch):
    before = _contents(small)
    rename = Path.rename

    def fail_for_the_new_one(path, target):
        if '.partial-' in path.name:
            raise OSError('disk on strike')
        return rename(path, target)

    monkeypatch.setattr(Path, 'rename', fail_for_the_new_one)
    with pytest.raises(OSError, match='disk on strike'):
        generate_minicoco(small, **SMALL, seed=3, force=True)

    assert _contents(small) == before
    assert list(small.parent.iterdir()) == [small]


def test_folder_filled_in_the_meantime_is_kept(tmp_path):
    root = tmp_path / 'data'

    def fill(jobs):
        yield from jobs
        root.mkdir()
        (root / 'thesis.txt').write_text('mine')

    with pytest.raises(OSError, match='not empty'):
        generate_minicoco(root, **SMALL, progress=fill)

    assert _contents(tmp_path) == {'data/thesis.txt': b'mine'}


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

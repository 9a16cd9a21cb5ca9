"""The subset of COCO: sizes, boxes, splits, and what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

from studies.photographs.subset import (
    LONG_SIDE,
    image_ids,
    make_coco_photos,
    subset,
)
from tests.conftest import SHARED

SPLITS = {'train': [7, 3], 'val': [9]}
SIZES = {3: (640, 426), 7: (333, 500), 9: (320, 240), 11: (64, 64)}


def annotation(key, image, box, crowd=0):
    return {
        'id': key,
        'image_id': image,
        'category_id': 18,
        'bbox': box,
        'area': 5.0,
        'iscrowd': crowd,
        'segmentation': [[0, 0, 1, 1, 2, 2]],
    }


@pytest.fixture
def coco(tmp_path):
    root = tmp_path / 'coco'
    (root / 'annotations').mkdir(parents=True)
    (root / 'val2017').mkdir()
    images = []
    for key, size in SIZES.items():
        name = f'{key:012d}.jpg'
        Image.new('RGB', size, (200, key, 0)).save(root / 'val2017' / name)
        width, height = size
        images.append(dict(id=key, file_name=name, width=width, height=height))
    document = {
        'info': {'year': 2017},
        'licenses': [{'id': 1}],
        'images': images,
        'annotations': [
            annotation(1, 3, [10.0, 20.0, 100.0, 50.0]),
            annotation(2, 7, [0.0, 0.0, 333.0, 500.0], crowd=1),
            annotation(3, 9, [1.0, 2.0, 3.0, 4.0]),
            annotation(4, 11, [1.0, 2.0, 3.0, 4.0]),
        ],
        'categories': [{'id': 18, 'name': 'dog'}],
    }
    path = root / 'annotations' / 'instances_val2017.json'
    path.write_text(json.dumps(document))
    return root


def read(root, split):
    path = root / 'annotations' / f'instances_{split}.json'
    return json.loads(path.read_text())


def test_images_and_boxes_are_scaled_together(coco, tmp_path):
    root = make_coco_photos(coco, tmp_path / 'out', splits=SPLITS)
    train = read(root, 'train')
    assert [image['id'] for image in train['images']] == [3, 7]
    wide, tall = train['images']
    assert (wide['width'], wide['height']) == (384, 256)
    assert (tall['width'], tall['height']) == (256, 384)
    assert (wide['orig_width'], wide['orig_height']) == (640, 426)
    for image in train['images']:
        with Image.open(root / 'images' / image['file_name']) as file:
            assert file.size == (image['width'], image['height'])
    box, crowd = train['annotations']
    assert box['bbox'] == [6.0, 12.0, 60.0, 30.0]
    assert (box['area'], box['segmentation']) == (1800.0, [])
    assert (box['iscrowd'], crowd['iscrowd']) == (0, 1)
    assert train['categories'] == [{'id': 18, 'name': 'dog'}]


def test_a_small_image_stays_as_it_is(coco, tmp_path):
    root = make_coco_photos(coco, tmp_path / 'out', splits=SPLITS)
    val = read(root, 'val')
    assert [image['width'] for image in val['images']] == [320]
    assert val['annotations'][0]['bbox'] == [1.0, 2.0, 3.0, 4.0]
    assert len(list((root / 'images').iterdir())) == 3


def test_an_image_that_coco_lacks_is_named(coco, tmp_path):
    with pytest.raises(ValueError, match='lack 1 of 2 images.* 5: .*val2017'):
        make_coco_photos(coco, tmp_path / 'out', splits={'train': [3, 5]})


def test_a_missing_file_is_named_and_nothing_is_left(coco, tmp_path):
    (coco / 'val2017' / '000000000009.jpg').unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of 3 .*9\.jpg; unpack'):
        make_coco_photos(coco, tmp_path / 'out', splits=SPLITS)
    assert [path.name for path in tmp_path.iterdir()] == ['coco']


def test_a_broken_image_leaves_nothing(coco, tmp_path):
    (coco / 'val2017' / '000000000009.jpg').write_bytes(b'no image')
    with pytest.raises(OSError, match='identify'):
        make_coco_photos(coco, tmp_path / 'out', splits=SPLITS)
    assert [path.name for path in tmp_path.iterdir()] == ['coco']


def test_an_existing_folder_is_left_alone(coco, tmp_path):
    (tmp_path / 'out').mkdir()
    with pytest.raises(FileExistsError, match='out exists; name a new'):
        make_coco_photos(coco, tmp_path / 'out', splits=SPLITS)


def test_splits_share_no_image():
    splits = image_ids()
    assert {split: len(ids) for split, ids in splits.items()} == {
        'train': 1943,
        'tune': 321,
        'val': 585,
    }
    assert len(set().union(*splits.values())) == 1943 + 321 + 585


def test_splits_are_those_of_the_recorded_runs():
    photos = shared('coco_photos')
    for split, ids in image_ids().items():
        images = read(photos, split)['images']
        assert [image['id'] for image in images] == ids
        for image in images:
            assert max(image['width'], image['height']) <= LONG_SIDE


def test_coco_gives_the_files_of_the_recorded_runs(tmp_path):
    photos, coco = shared('coco_photos'), shared('coco_tiny')
    path = coco / 'annotations' / 'instances_val2017.json'
    source = json.loads(path.read_text())
    ids = {image['id'] for image in source['images']}
    recorded = merged([read(photos, split) for split in image_ids()], ids)
    made = merged([subset(source, ids)], ids)
    assert made.keys() == recorded.keys()
    for key, (size, boxes) in made.items():
        other_size, other_boxes = recorded[key]
        assert size == other_size
        np.testing.assert_allclose(boxes, other_boxes, atol=0.5)

    some = sorted(ids)[:3]
    root = make_coco_photos(coco, tmp_path / 'out', splits={'val': some})
    for image in read(root, 'val')['images']:
        name = f'images/{image["file_name"]}'
        np.testing.assert_array_equal(
            np.asarray(Image.open(root / name)),
            np.asarray(Image.open(photos / name)),
        )


def shared(name):
    path = SHARED / name
    if not path.is_dir():
        pytest.skip(f'{name} is not on this machine')
    return path


def merged(documents, ids):
    """Size and boxes of each image, boxes by category and position."""
    images = {}
    for document in documents:
        for image in document['images']:
            if image['id'] in ids:
                size = (image['width'], image['height'])
                images[image['id']] = (size, [])
        for each in document['annotations']:
            if each['image_id'] in ids:
                box = [float(each['category_id']), *each['bbox']]
                images[each['image_id']][1].append(box)
    return {
        key: (size, sorted(boxes)) for key, (size, boxes) in images.items()
    }

import zlib

import numpy as np
import pytest
from PIL import Image

from mmwkd.costs.annotations import (
    THUMBNAIL_SIZE,
    Crop,
    cut_thumbnails,
    read_annotations,
)


def test_reads_supercategories_by_name(coco, families):
    known = read_annotations(coco['ann_file'], ['bus', 'cat'])
    assert known.supercategories == {k: families[k] for k in ('bus', 'cat')}
    assert known.crops['bus'] == Crop('bus.png', (5.0, 5.0, 20.0, 15.0))


def test_without_supercategories_there_are_none(coco):
    categories = [dict(id=c['id'], name=c['name']) for c in coco['categories']]
    coco['write'](categories=categories)
    assert read_annotations(coco['ann_file'], ['cat']).supercategories is None


def test_a_category_that_the_file_lacks_is_named(coco):
    with pytest.raises(
        ValueError, match=r"'tram' of the cost .* \(1 of 2 are not\).*'cat'"
    ):
        read_annotations(coco['ann_file'], ['cat', 'tram'])


@pytest.mark.parametrize(
    'text', ['{', '[]', '{"categories": []}', '[' * 100_000]
)
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / 'other.json'
    path.write_text(text)
    with pytest.raises(ValueError, match='no annotation file in COCO format'):
        read_annotations(path, ['cat'])


def test_broken_references_are_refused(coco, tmp_path):
    coco['write'](images=coco['images'][1:])
    with pytest.raises(ValueError, match=r'COCO format: KeyError\(0\)'):
        read_annotations(coco['ann_file'], ['cat'])
    with pytest.raises(FileNotFoundError, match='does not exist'):
        read_annotations(tmp_path / 'none.json', ['cat'])


@pytest.mark.parametrize(
    'worse',
    [
        dict(bbox=[5.0, 5.0, 19.0, 15.0]),  # smaller
        dict(bbox=[0.0, 5.0, 30.0, 30.0]),  # cut at the left
        dict(bbox=[20.0, 5.0, 40.0, 30.0]),  # cut at the right
        dict(bbox=[5.0, 5.0, 50.0, 10.0]),  # long
        dict(bbox=[5.0, 5.0, 30.0, 30.0], iscrowd=1),
        dict(bbox=[5.0, 5.0, 30.0, 30.0], visible=0.1),
    ],
)
@pytest.mark.parametrize('first', [True, False])
def test_shows_the_largest_good_object(coco, worse, first):
    good = coco['annotations'][0]
    bad = {**good, 'id': 9, **worse}
    coco['write'](annotations=[bad, good] if first else [good, bad])
    crops = read_annotations(coco['ann_file'], ['cat', 'dog']).crops
    assert crops == {'cat': Crop('cat.png', tuple(good['bbox']))}


def test_thumbnails_show_the_object(coco):
    crop = Crop('dog.png', (5.0, 5.0, 20.0, 20.0))
    picture = cut_thumbnails({'dog': crop}, coco['img_prefix'])['dog']
    assert picture.size == (THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    assert (np.asarray(picture) == (60, 90, 200)).all()


def test_unreadable_images_are_left_out_with_a_warning(coco):
    crops = read_annotations(coco['ann_file'], ['cat', 'dog', 'bus']).crops
    (coco['img_prefix'] / 'cat.png').write_bytes(b'no image')
    (coco['img_prefix'] / 'dog.png').unlink()
    with (
        pytest.warns(UserWarning, match="no picture of 'cat'"),
        pytest.warns(UserWarning, match="no picture of 'dog'"),
    ):
        pictures = cut_thumbnails(crops, coco['img_prefix'])
    assert list(pictures) == ['bus']


NAN, INF = float('nan'), float('inf')


@pytest.mark.parametrize(
    'box',
    [
        [5, 5, 0, 10],
        [50, 30, -5, -5],
        [100, 100, 90, 90],
        [-90, 5, 80, 80],
        [NAN, 5, 90, 90],
        [5, 5, INF, 90],
        [-INF, 5, INF, 90],
    ],
)
def test_boxes_that_show_nothing_are_passed_over(coco, box):
    good = coco['annotations'][0]
    coco['write'](annotations=[{**good, 'bbox': box}, good])
    crops = read_annotations(coco['ann_file'], ['cat']).crops
    assert crops == {'cat': Crop('cat.png', tuple(good['bbox']))}
    coco['write'](annotations=[{**good, 'bbox': box}])
    assert read_annotations(coco['ann_file'], ['cat']).crops == {}


def test_a_picture_of_gigapixels_is_left_out_with_a_warning(coco):
    file = coco['img_prefix'] / 'cat.png'
    content = bytearray(file.read_bytes())
    content[16:24] = 2 * (60_000).to_bytes(4, 'big')  # width and height
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, 'big')
    file.write_bytes(content)
    crop = Crop('cat.png', (5.0, 5.0, 20.0, 20.0))
    with pytest.warns(UserWarning, match="no picture of 'cat'.*cat.png"):
        assert cut_thumbnails({'cat': crop}, coco['img_prefix']) == {}


def test_a_truncated_picture_is_left_out_with_a_warning(coco):
    file = coco['img_prefix'] / 'cat.png'
    Image.new('RGB', (60, 40), 'red').save(file, format='JPEG')
    file.write_bytes(file.read_bytes()[:-20])
    crop = Crop('cat.png', (5.0, 5.0, 20.0, 20.0))
    with pytest.warns(UserWarning, match='cat.png cannot be read .*truncated'):
        assert cut_thumbnails({'cat': crop}, coco['img_prefix']) == {}

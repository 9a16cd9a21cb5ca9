"""The dataset on disk: its contents, and what is never overwritten."""

import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmdet.registry import DATASETS
from pycocotools.coco import COCO

from studies.toydata.iconcoco import build as build_module
from studies.toydata.iconcoco.build import build_iconcoco, licences
from studies.toydata.iconcoco.categories import (
    CATEGORIES,
    CLASSES,
    SPLIT_VENDORS,
)
from studies.toydata.iconcoco.fetch import PACKAGES
from studies.toydata.iconcoco.scene import draw_scene
from studies.toydata.minicoco.folder import annotation_file

TOOL = Path(__file__).parents[3] / 'tools' / 'make_iconcoco.py'
SMALL = {'num_train': 4, 'num_val': 3, 'num_tune': 2, 'image_size': 64}


@pytest.fixture(autouse=True)
def offline(monkeypatch, icon_sets):
    monkeypatch.setattr(build_module, 'fetch_icon_sets', lambda _: icon_sets)


@pytest.fixture(scope='module')
def built(tmp_path_factory, icon_sets):
    folder = tmp_path_factory.mktemp('iconcoco')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_module, 'fetch_icon_sets', lambda _: icon_sets)
        return build_iconcoco(folder / 'data', cache=folder, **SMALL).root


@pytest.fixture
def small(built, tmp_path):
    """A copy, which a test may change."""
    return Path(shutil.copytree(built, tmp_path / 'data'))


def test_files_are_coco(small, icon_sets):
    for split, number in (('train', 4), ('val', 3), ('tune', 2)):
        coco = COCO(annotation_file(small, split))
        assert len(coco.imgs) == number
        assert sorted(coco.cats) == [c.id for c in CATEGORIES]
        for image in coco.imgs.values():
            scene = draw_scene(
                icon_sets, split, image['id'] - 1, image_size=64
            )
            file = cv2.imread(str(small / split / image['file_name']))
            np.testing.assert_array_equal(file[..., ::-1], scene.image)
            records = coco.imgToAnns[image['id']]
            for record, thing in zip(records, scene.objects, strict=True):
                category = CATEGORIES[thing.category_index]
                assert record['category_id'] == category.id
                mask = coco.annToMask(record).astype(bool)
                np.testing.assert_array_equal(mask, thing.mask)
                rows, columns = np.nonzero(mask)
                x, y, width, height = record['bbox']
                assert (x, y) == (columns.min(), rows.min())
                assert x + width - 1 == columns.max()
                assert y + height - 1 == rows.max()


def test_mmdet_reads_the_labels(small):
    dataset = DATASETS.build(
        {
            'type': 'mmdet.CocoDataset',
            'metainfo': {'classes': CLASSES},
            'data_root': str(small),
            'ann_file': 'annotations/instances_val.json',
            'data_prefix': {'img': 'val/'},
            'pipeline': [],
        }
    )
    document = json.loads(annotation_file(small, 'val').read_text())
    labels = [
        CATEGORIES[instance['bbox_label']].id
        for index in range(len(dataset))
        for instance in dataset.get_data_info(index)['instances']
    ]

    assert labels == [a['category_id'] for a in document['annotations']]


def test_contact_sheet_shows_every_vendor_and_category(small):
    sheet = cv2.imread(str(small / 'contact_sheet.png'))
    paper = sheet[-1, 0]
    rows = np.array_split(sheet[34:], len(CATEGORIES))
    widths = [(row != paper).any(axis=(0, 2)).sum() for row in rows]

    assert min(widths) > 100
    assert widths[0] > 2 * widths[1]  # people are drawn in many ways


def test_licences_name_every_package(small):
    text = (small / 'LICENSES.md').read_text()

    assert text == licences()
    for vendor, package in PACKAGES.items():
        assert f'@iconify-json/{vendor} {package.version}' in text
        assert package.licence in text
        assert package.author in text


def test_second_build_leaves_everything(small, tmp_path, monkeypatch):
    monkeypatch.setattr(build_module, 'fetch_icon_sets', None)  # not called

    again = build_iconcoco(small, cache=tmp_path, **SMALL)

    assert not again.built


def test_other_parameters_need_force(small, tmp_path):
    other = {**SMALL, 'seed': 5}
    before = annotation_file(small, 'train').read_bytes()

    with pytest.raises(ValueError, match=r'other parameters.*--force'):
        build_iconcoco(small, cache=tmp_path, **other)
    assert annotation_file(small, 'train').read_bytes() == before

    assert build_iconcoco(small, cache=tmp_path, **other, force=True).built
    assert annotation_file(small, 'train').read_bytes() != before


def test_foreign_folder_is_refused(tmp_path):
    root = tmp_path / 'photos'
    root.mkdir()
    (root / 'cat.jpg').write_text('meow')

    with pytest.raises(ValueError, match='is not iconcoco'):
        build_iconcoco(root, cache=tmp_path, **SMALL, force=True)
    assert [path.name for path in root.iterdir()] == ['cat.jpg']


@pytest.mark.parametrize('name', ['contact_sheet.png', 'LICENSES.md'])
def test_extra_file_belongs_to_the_dataset(small, tmp_path, name):
    (small / name).unlink()

    with pytest.raises(ValueError, match=rf'misses 1 of its files.*{name}'):
        build_iconcoco(small, cache=tmp_path, **SMALL)


@pytest.mark.parametrize('name', ['num_train', 'num_val', 'num_tune'])
def test_empty_split_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=f'{name} must be at least 1, got 0'):
        build_iconcoco(tmp_path / 'data', cache=tmp_path, **{**SMALL, name: 0})


def test_tool_builds(tmp_path, monkeypatch, capsys):
    root = tmp_path / 'data'
    arguments = f'--out {root} --train 2 --val 1 --tune 1 --size 64'
    monkeypatch.setattr(sys, 'argv', ['tool', *arguments.split()])

    runpy.run_path(str(TOOL), run_name='__main__')
    runpy.run_path(str(TOOL), run_name='__main__')

    said = capsys.readouterr().out
    assert re.findall(r'data: (.*)', said) == [
        'written',
        'already there, left as it is',
    ]
    assert set(SPLIT_VENDORS) < {path.name for path in root.iterdir()}

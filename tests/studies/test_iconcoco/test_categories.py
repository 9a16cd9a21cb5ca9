"""The category table against COCO's own."""

from pathlib import Path

from mmdet.datasets import CocoDataset
from mmengine.config import Config

from studies.toydata.iconcoco.categories import (
    CATEGORIES,
    CLASSES,
    SPLIT_VENDORS,
    drawn_by,
)
from studies.toydata.iconcoco.fetch import PACKAGES

REPO = Path(__file__).resolve().parents[3]
CONFIG = REPO / 'configs/_base_/datasets/iconcoco_detection.py'

# COCO numbers its 80 categories from 1 to 90 and leaves out these.
COCO_GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
# Highest id of each of COCO's supercategories, in order.
COCO_SUPERCATEGORIES = {
    'person': 1,
    'vehicle': 9,
    'outdoor': 15,
    'animal': 25,
    'accessory': 33,
    'sports': 43,
    'kitchen': 51,
    'food': 61,
    'furniture': 70,
    'electronic': 77,
    'appliance': 82,
    'indoor': 90,
}


def test_names_and_ids_are_those_of_coco():
    ids = [i for i in range(1, 91) if i not in COCO_GAPS]
    coco = dict(zip(CocoDataset.METAINFO['classes'], ids, strict=True))

    assert len(CATEGORIES) == 65
    assert [c.id for c in CATEGORIES] == [coco[name] for name in CLASSES]
    assert [c.id for c in CATEGORIES] == sorted({c.id for c in CATEGORIES})


def test_supercategories_are_those_of_coco():
    for category in CATEGORIES:
        expected = next(
            name
            for name, highest in COCO_SUPERCATEGORIES.items()
            if category.id <= highest
        )
        assert category.supercategory == expected, category.name


def test_the_config_has_these_classes_in_the_colours_of_coco():
    coco = CocoDataset.METAINFO
    colours = dict(zip(coco['classes'], coco['palette'], strict=True))
    config = Config.fromfile(CONFIG)

    assert config.metainfo.classes == CLASSES
    assert config.metainfo.palette == [colours[name] for name in CLASSES]
    for split in 'train', 'val', 'test':
        dataset = config[f'{split}_dataloader'].dataset
        assert dataset.metainfo == config.metainfo


def test_no_two_splits_share_a_vendor():
    vendors = [v for split in SPLIT_VENDORS.values() for v in split]

    assert sorted(vendors) == sorted(set(vendors)) == sorted(PACKAGES)


def test_training_and_validation_show_every_category():
    everything = list(range(len(CATEGORIES)))

    assert drawn_by(SPLIT_VENDORS['train']) == everything
    assert drawn_by(SPLIT_VENDORS['val']) == everything
    assert len(drawn_by(SPLIT_VENDORS['tune'])) == 48


def test_no_drawing_stands_for_two_categories():
    for vendor in PACKAGES:
        names = [n for c in CATEGORIES for n in c.icons.get(vendor, ())]
        assert len(names) == len(set(names)), vendor
        assert all(c.icons.get(vendor, ('x',)) for c in CATEGORIES)

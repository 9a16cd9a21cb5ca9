"""minicoco through mmdet."""

import json
from pathlib import Path

import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.registry import DATASETS
from mmengine.config import Config

from studies.toydata.minicoco.categories import CLASSES, palette
from studies.toydata.minicoco.folder import annotation_file
from studies.toydata.minicoco.generate import generate_minicoco

REPO = Path(__file__).resolve().parents[3]
CONFIG = REPO / 'configs/_base_/datasets/minicoco_detection.py'


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('minicoco') / 'data'
    return generate_minicoco(
        folder, num_train=6, num_val=1, image_size=64
    ).root


def test_the_config_has_the_category_table_of_the_drawings(root):
    document = json.loads(annotation_file(root, 'val').read_text())
    config = Config.fromfile(CONFIG)

    assert config.metainfo == dict(classes=CLASSES, palette=palette())
    for split in 'train', 'val', 'test':
        dataset = config[f'{split}_dataloader'].dataset
        assert dataset.metainfo == config.metainfo
    assert tuple(c['name'] for c in document['categories']) == CLASSES


def test_mmdet_reads_boxes_labels_and_masks(root):
    dataset = DATASETS.build(
        {
            'type': 'CocoDataset',
            'metainfo': Config.fromfile(CONFIG).metainfo,
            'data_root': str(root),
            'ann_file': 'annotations/instances_train.json',
            'data_prefix': {'img': 'train/'},
            'filter_cfg': {'filter_empty_gt': True},
            # Built ones: names would need a default scope.
            'pipeline': [
                LoadImageFromFile(),
                LoadAnnotations(with_bbox=True, with_mask=True),
            ],
        }
    )
    document = json.loads(annotation_file(root, 'train').read_text())

    assert len(dataset) == 6
    for index in range(6):
        sample = dataset[index]
        wanted = [
            a
            for a in document['annotations']
            if a['image_id'] == sample['img_id']
        ]
        x, y, width, height = np.array([a['bbox'] for a in wanted]).T
        np.testing.assert_allclose(
            sample['gt_bboxes'].numpy(),
            np.stack([x, y, x + width, y + height], axis=1),
        )
        np.testing.assert_array_equal(
            sample['gt_bboxes_labels'],
            [a['category_id'] - 1 for a in wanted],
        )
        assert not sample['gt_ignore_flags'].any()
        # mmdet's own reading of the run lengths encloses the same pixels.
        np.testing.assert_allclose(
            sample['gt_masks'].get_bboxes('hbox').numpy(),
            sample['gt_bboxes'].numpy(),
        )

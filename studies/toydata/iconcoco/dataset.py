"""iconcoco for mmdet configs."""

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS

from studies.toydata.iconcoco.categories import CLASSES


def _palette() -> list[tuple[int, int, int]]:
    """COCO's own colours for the categories that are here."""
    colours = dict(
        zip(
            CocoDataset.METAINFO['classes'],
            CocoDataset.METAINFO['palette'],
            strict=True,
        )
    )
    return [colours[name] for name in CLASSES]


@DATASETS.register_module()
class IconCocoDataset(CocoDataset):
    """iconcoco as ``tools/make_iconcoco.py`` writes it.

    Example of a config::

        dataset = dict(
            type='IconCocoDataset',
            data_root='data/iconcoco/',
            ann_file='annotations/instances_train.json',
            data_prefix=dict(img='train/'),
            pipeline=train_pipeline)
    """

    METAINFO = {'classes': CLASSES, 'palette': _palette()}

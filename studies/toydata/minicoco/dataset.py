"""minicoco for mmdet configs."""

from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS

from studies.toydata.minicoco.categories import CLASSES, palette


@DATASETS.register_module()
class MiniCocoDataset(CocoDataset):
    """minicoco as ``tools/make_minicoco.py`` writes it.

    Example of a config::

        dataset = dict(
            type='MiniCocoDataset',
            data_root='data/minicoco/',
            ann_file='annotations/instances_train.json',
            data_prefix=dict(img='train/'),
            pipeline=train_pipeline)
    """

    METAINFO = {'classes': CLASSES, 'palette': palette()}

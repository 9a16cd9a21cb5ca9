"""Class lists of datasets, whatever wraps or joins them."""

import json

import pytest
from mmdet.registry import DATASETS
from mmengine.config import Config
from torch.utils.data import Subset

from mmwkd.configs import (
    class_names,
    dataset_classes,
    metainfo_classes,
    read_model,
)
from mmwkd.testing import tiny_faster_rcnn

CLASSES = ('cat', 'dog')


@pytest.fixture
def member(tmp_path):
    """Config of a dataset of one image."""

    def make(name='a', classes=CLASSES, palette=((1, 2, 3), (4, 5, 6))):
        document = dict(
            images=[dict(id=0, file_name='0.png', width=9, height=9)],
            categories=[dict(id=i, name=c) for i, c in enumerate(CLASSES)],
            annotations=[
                dict(id=1, image_id=0, category_id=0, bbox=[1, 1, 5, 5])
                | dict(area=25, iscrowd=0)
            ],
        )
        path = tmp_path / f'{name}.json'
        path.write_text(json.dumps(document))
        return dict(
            type='CocoDataset',
            ann_file=str(path),
            data_prefix=dict(img=''),
            metainfo=dict(classes=classes, palette=palette),
            pipeline=[],
        )

    return make


def joined(*members, **options):
    return dict(type='ConcatDataset', datasets=list(members), **options)


def repeated(dataset):
    return dict(type='RepeatDataset', times=2, dataset=dataset)


def balanced(dataset):
    if dataset['type'] == 'ConcatDataset':  # which mmengine cannot balance
        return joined(*map(balanced, dataset['datasets']))
    return dict(
        type='ClassBalancedDataset', oversample_thr=0.1, dataset=dataset
    )


def mixed(dataset):
    return dict(type='MultiImageMixDataset', pipeline=[], dataset=dataset)


WRAPPERS = {
    'alone': lambda dataset: dataset,
    'repeated': repeated,
    'balanced': balanced,
    'mixed': mixed,
}


@pytest.mark.parametrize('wrap', WRAPPERS.values(), ids=WRAPPERS)
def test_members_that_differ_in_palette_have_common_classes(member, wrap):
    node = joined(member('a'), member('b', palette=((9, 9, 9), (8, 8, 8))))
    dataset = DATASETS.build(wrap(node))
    assert isinstance(dataset.metainfo, list)
    assert dataset_classes(dataset) == CLASSES
    assert metainfo_classes(dataset.metainfo) == CLASSES


@pytest.mark.parametrize('wrap', WRAPPERS.values(), ids=WRAPPERS)
def test_a_single_member_is_found_in_its_wrapper(member, wrap):
    dataset = DATASETS.build(wrap(member()))
    assert dataset_classes(dataset) == CLASSES


@pytest.mark.parametrize('wrap', WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize(
    ('classes', 'difference'),
    [
        (('dog', 'cat'), "class 0 is 'dog' instead of 'cat'"),
        (('cat',), '1 classes instead of 2'),
    ],
)
def test_a_member_of_other_classes_is_named(member, wrap, classes, difference):
    node = joined(member('a'), member('b'), member('odd', classes))
    dataset = DATASETS.build(wrap(node))
    with pytest.raises(
        ValueError, match=rf'member 2 .*odd\.json.*{difference}'
    ):
        dataset_classes(dataset)


def test_classes_that_a_joined_dataset_hides_are_compared(member):
    node = joined(
        member('a'),
        member('odd', ('dog', 'cat')),
        ignore_keys=['classes', 'palette'],
    )
    dataset = DATASETS.build(node)
    assert dataset.metainfo['classes'] == CLASSES
    with pytest.raises(ValueError, match=r'member 1 .*odd\.json'):
        dataset_classes(dataset)


def test_a_missing_comma_is_named(member):
    dataset = DATASETS.build(member(classes=('cat')))
    with pytest.raises(ValueError, match=r"'cat'.*comma.*\('cat',\)"):
        dataset_classes(dataset)
    with pytest.raises(ValueError, match=r'teacher.*comma'):
        class_names('cat')
    with pytest.raises(ValueError, match='comma'):
        metainfo_classes(dict(classes='cat'))


def test_a_dataset_without_classes_states_none(member):
    assert dataset_classes([1, 2]) is None
    assert metainfo_classes(None) is None
    assert class_names(None) is None
    node = member()
    del node['metainfo']['classes']
    dataset = DATASETS.build(node)
    # mmdet's own list of COCO stands in
    assert len(dataset_classes(dataset)) == 80


def test_attributes_that_are_no_datasets_hide_nothing(member):
    dataset = DATASETS.build(member())
    dataset.dataset, dataset.datasets = 'its name', ['a', 'b']
    assert dataset_classes(dataset) == CLASSES
    assert dataset_classes(Subset(Subset(dataset, [0]), [0])) == CLASSES


@pytest.mark.parametrize('beside', ['student', 'model'])
def test_a_distilled_student_teaches_with_its_preprocessor(tmp_path, beside):
    student = tiny_faster_rcnn()
    preprocessor = student.pop('data_preprocessor')
    model = dict(type='DetectorDistiller', student=student)
    config = dict(model=model)
    parent = model if beside == 'student' else config
    parent['data_preprocessor'] = preprocessor
    Config(config).dump(tmp_path / 'distilled.py')
    teacher = read_model(str(tmp_path / 'distilled.py'))
    assert teacher.type == 'FasterRCNN'
    assert teacher.data_preprocessor == preprocessor

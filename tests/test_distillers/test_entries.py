"""What a distiller's config may say, and where."""

import copy
import random

import numpy as np
import pytest
import torch
from mmdet.models.dense_heads import RetinaHead
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.logging import MessageHub
from mmengine.registry import DefaultScope, Registry
from torch.testing import assert_close

from mmwkd.distillers import Place, places
from mmwkd.distillers.adapters import build_adapter
from mmwkd.distillers.places import Needs
from mmwkd.losses import WKDFeatureLoss
from mmwkd.testing import tiny_batch, tiny_faster_rcnn, tiny_retinanet
from tests.test_distillers.conftest import teacher_config


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(teacher_ckpt='a.pth'),
            "no option 'teacher_ckpt'; .* 'teacher.checkpoint'",
        ),
        (dict(teacher_config='a.py'), r"'teacher\.config'"),
        (dict(test_cfg={}), r"no option 'test_cfg'; .* 'student\.test_cfg'"),
        (dict(roi_head={}), r"'student\.roi_head'"),
        (dict(roi_los={}), "did you mean 'roi_loss'"),
        (
            dict(teacher=[dict(config='a.py')] * 2),
            r'must be one dict .* got \[.*a.py',
        ),
        (
            dict(student=dict(model={}, train_cfg={})),
            r'student .* has model, train_cfg; of a whole config',
        ),
        (
            dict(teacher=dict(config=dict(model={}), allow_random=True)),
            r'teacher\.config .* has model; of a whole config',
        ),
        (dict(balance_interval='20'), "whole number, got '20'"),
        (dict(neck_adapter=True), "'auto', None or a dict, got True"),
        (
            dict(neck_adapter=dict(stride=2)),
            "neck_adapter .*'stride': 2.*: padding=",
        ),
        (dict(neck_adapter=dict(norm_cfg='BN')), 'neck_adapter .*norm_cfg'),
        (
            dict(
                teacher=dict(
                    config=tiny_faster_rcnn(),
                    allow_random=True,
                    image_scale='half',
                )
            ),
            r"image_scale must lie in \(0, 1\], got 'half'",
        ),
    ],
)
def test_misplaced_options_are_shown_their_place(build, changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_a_preprocessor_beside_the_students_own_must_equal_it(build):
    student = tiny_faster_rcnn()
    same = copy.deepcopy(student.data_preprocessor)
    same.mean = tuple(same.mean)
    build(student=student, data_preprocessor=same)
    with pytest.raises(ValueError, match=r'mean.*0\.0.*student has its own'):
        build(student=student, data_preprocessor=dict(same, mean=[0.0] * 3))


# --- classes --------------------------------------------------------------


@pytest.fixture
def dataset_meta():
    """Tell what a run's training data say of themselves."""
    hub = MessageHub.get_current_instance()

    def tell(meta):
        hub.update_info('loop_stage', 'train')
        hub.update_info('dataset_meta', meta)

    return tell


@pytest.mark.parametrize('place', ['neck_loss', 'roi_loss'])
def test_features_of_a_teacher_of_other_classes_are_compared(
    build, step, dataset_meta, place
):
    other = teacher_config(num_classes=5)
    dataset_meta(dict(classes=('cat', 'dog', 'bus')))
    losses = {'logit_loss', 'neck_loss', 'roi_loss'} - {place}
    distiller = build(
        teacher=dict(config=other, allow_random=True, classes=list('abcde')),
        **dict.fromkeys(losses),
    )
    assert all(value.isfinite() for value in sums(step(distiller)))


def sums(losses):
    return [value for value in losses.values() if torch.is_tensor(value)]


def test_datasets_may_say_the_same_several_times(build, step, dataset_meta):
    member = dict(classes=['cat', 'dog', 'bus'])
    dataset_meta([dict(member, palette=[1]), dict(member, palette=[2])])
    step(build())


@pytest.mark.parametrize(
    ('meta', 'message'),
    [
        (
            [dict(classes=['cat', 'dog', 'bus']), dict(classes=['cat'])],
            'member 1 .* 1 classes instead of 3',
        ),
        (dict(classes='person'), r"'person'.*comma, as in .*\('person',\)"),
        (
            [dict(classes=['cat', 'bus', 'dog'])] * 2,
            "1 is 'bus' instead of 'dog'",
        ),
    ],
)
def test_classes_of_a_dataset_are_refused_with_what_was_found(
    build, step, dataset_meta, meta, message
):
    dataset_meta(meta)
    with pytest.raises(ValueError, match=message):
        step(build())


def test_a_class_list_without_its_comma_is_refused(tmp_path, build):
    path = tmp_path / 'teacher.pth'
    weights = MODELS.build(teacher_config()).state_dict()
    meta = dict(dataset_meta=dict(classes='person'))
    torch.save(dict(state_dict=weights, meta=meta), path)
    source = dict(config=teacher_config(), checkpoint=str(path))
    with pytest.raises(ValueError, match=r"'person'.*comma"):
        build(teacher=source)
    build(teacher=dict(source, classes=['cat', 'dog', 'bus']))


# --- guarantee 16: the student is the one of plain training --------------


def test_a_seed_starts_the_same_student_with_and_without_us(
    teacher_checkpoint,
):
    def started(make):
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        model = make()
        model.init_weights()
        later = random.random(), np.random.rand(), torch.rand(1).item()
        return model.state_dict(), later

    plain, plain_draws = started(lambda: MODELS.build(tiny_faster_rcnn()))
    trained = dict(random_teacher(), checkpoint=str(teacher_checkpoint))
    del trained['allow_random']
    for teacher in (trained, random_teacher()):
        distilled, draws = started(lambda teacher=teacher: bare(teacher))
        assert plain.keys() == distilled.keys()
        assert all(plain[k].equal(distilled[k]) for k in plain)
        assert draws == plain_draws


def random_teacher():
    return dict(config=teacher_config(), allow_random=True)


def bare(teacher):
    """A distiller that is built and no more."""
    return MODELS.build(
        dict(
            type='DetectorDistiller',
            student=tiny_faster_rcnn(),
            teacher=teacher,
            neck_loss=dict(type='WKDFeatureLoss'),
            roi_loss=dict(type='WKDFeatureLoss'),
        )
    )


# --- other OpenMMLab packages ---------------------------------------------


@pytest.fixture
def other_scope():
    """A package of its own scope, whose detector mmdet does not know."""
    scope = 'otheryolo'
    registry = Registry('model', parent=MODELS.parent, scope=scope)
    registry.register_module(
        name='OtherRetinaNet', module=MODELS.get('mmdet.RetinaNet')
    )
    yield scope
    MODELS.parent.children.pop(scope)


def test_a_teacher_is_built_in_the_scope_of_its_file(
    build, step, other_scope, tmp_path
):
    # its parts are mmdet's, as many of mmyolo's are
    model = tiny_retinanet()
    parts = {k: prefixed(v) for k, v in model.items() if k != 'type'}
    (tmp_path / 'teacher.py').write_text(
        f'default_scope = {other_scope!r}\n'
        f"model = dict(type='OtherRetinaNet', **{parts!r})"
    )
    distiller = build(
        student=tiny_retinanet(),
        teacher=dict(config=str(tmp_path / 'teacher.py'), allow_random=True),
        roi_loss=None,
    )
    assert step(distiller)['loss_wkd_neck_mean'].isfinite()


def prefixed(node):
    """Name parts with the scope that they are of."""
    if isinstance(node, dict):
        node = {key: prefixed(value) for key, value in node.items()}
        if MODELS.get(f'mmdet.{node.get("type")}'):
            node['type'] = f'mmdet.{node["type"]}'
        return node
    return [prefixed(each) for each in node] if is_list(node) else node


def is_list(node):
    return isinstance(node, (list, tuple))


def test_losses_are_found_from_any_scope(build, other_scope):
    with DefaultScope.overwrite_default_scope(other_scope):
        detector = ConfigDict(prefixed(tiny_retinanet()))
        distiller = MODELS.build(
            dict(
                type='mmdet.DetectorDistiller',
                student=detector,
                teacher=dict(config=detector, allow_random=True),
                neck_loss=dict(type='WKDFeatureLoss'),
            )
        )
    assert isinstance(distiller.distillation_losses['neck'], WKDFeatureLoss)


def test_samples_in_a_mapping_are_passed_on(build):
    """As mmyolo's collate functions make them."""
    distiller = build(logit_loss=None, roi_loss=None)
    student = distiller.student
    received = []

    def loss(inputs, data_samples):
        received.append(data_samples)
        return dict(loss=student.extract_feat(inputs)[0].sum())

    student.loss = loss
    inputs = torch.randn(2, 3, 64, 96)
    samples = dict(bboxes_labels=torch.zeros(0, 6))
    losses = distiller.loss(inputs, samples)
    assert received == [samples]
    assert losses['loss_wkd_neck_mean'].isfinite()


# --- guarantee 12: an error reaches the user as it is ---------------------


class OutOfMemoryError(RuntimeError):
    """What a device would say."""


@pytest.mark.parametrize(
    'samples',
    [
        dict(bboxes_labels=torch.zeros(0, 6)),
        [object(), object()],
        [type('Sample', (), dict(gt_instances=None))] * 2,
        [type('Sample', (), dict(metainfo={}, gt_instances=object()))] * 2,
        None,
    ],
    ids=['dict', 'no samples', 'none', 'no boxes', 'nothing'],
)
def test_errors_of_the_student_arrive(build, samples):
    distiller = build()

    def fail(*args):
        raise OutOfMemoryError('out of memory')

    distiller.student.loss = fail
    with pytest.raises(OutOfMemoryError, match='^out of memory$'):
        distiller.loss(torch.zeros(2, 3, 64, 96), samples)


def test_a_broken_box_is_named_beside_the_students_error(build):
    distiller = build()
    data = distiller.data_preprocessor(tiny_batch(), training=True)
    sample = data['data_samples'][1]
    sample.gt_instances.bboxes[0, 0] = float('nan')

    def fail(*args):
        raise OutOfMemoryError('out of memory')

    distiller.student.loss = fail
    with pytest.raises(OutOfMemoryError) as caught:
        distiller(**data, mode='loss')
    assert str(caught.value) == 'out of memory'
    (note,) = caught.value.__notes__
    assert sample.metainfo['img_path'] in note


def test_an_empty_loss_is_refused_and_none_is_not(build):
    with pytest.raises(ValueError, match='logit_loss'):
        build(logit_loss={})
    assert 'logit' not in build(logit_loss=None).places


def test_an_idle_option_names_all_that_would_take_it(build):
    with pytest.raises(
        ValueError, match='no logit_loss between dense .* or box_loss between'
    ):
        build(max_locations=7)


class Judged(Place):
    """The teacher's logits of the first half of the student's RoIs."""

    entry = 'judged'
    compares = 'logits'
    title = 'judged_loss'
    needs = Needs(rois=True, roi_logits=True, teacher_predictions=True)

    def rois(self, student):
        (stage,) = student.stages
        return [stage.rois[::2], stage.rois[1::2]]

    def compare(self, step):
        self.seen = step
        zero = step.student.stages[0].logits.sum() * 0
        return [dict.fromkeys(self.loss.term_names, zero)]


def test_a_place_has_rois_of_its_own_beside_others(build, step, monkeypatch):
    monkeypatch.setattr('mmwkd.distillers.places._KINDS', [*places._KINDS])
    places.register_place(Judged)
    distiller = build(judged_loss=dict(type='KDLoss'))
    losses = step(distiller)
    assert {'loss_wkd_roi_mean', 'loss_wkd_logit_target'} < losses.keys()
    teacher = distiller._places['judged'].seen.teacher
    (own,), (even, odd) = teacher.stages, teacher.judged['judged']
    assert_close(even.logits, own.logits[::2])
    assert_close(odd.logits, own.logits[1::2])
    assert teacher.predictions is not None


@pytest.mark.parametrize(
    ('error', 'said'),
    [
        (torch.cuda.OutOfMemoryError('out of memory'), '^out of memory$'),
        (ValueError('mine'), 'blank image .*: mine$'),
        (RuntimeError('no such op on a CPU'), 'blank image .*: no such op'),
    ],
)
def test_an_error_while_shapes_are_learnt_chooses_no_other_place(
    build, monkeypatch, error, said
):
    def fail(*args):
        raise error

    monkeypatch.setattr(RetinaHead, 'forward', fail)
    detector = tiny_retinanet()
    with pytest.raises(RuntimeError, match=said):
        build(
            student=detector,
            teacher=dict(config=detector, allow_random=True),
            neck_loss=None,
            roi_loss=None,
        )


def test_a_loss_must_have_the_terms_that_it_names(build, step, monkeypatch):
    distiller = build(logit_loss=None, roi_loss=None)
    monkeypatch.setattr(WKDFeatureLoss, 'term_names', ('mean', 'other'))
    with pytest.raises(ValueError, match='terms mean, cov, .* mean, other$'):
        step(distiller)


@pytest.mark.parametrize(
    'options',
    [
        dict(kernel_size=3),
        dict(kernel_size=(1, 3), dilation=2),
        dict(kernel_size=3, padding_mode='reflect'),  # which mmcv pads
        dict(kernel_size=3, padding_mode='circular'),
    ],
)
def test_adapters_leave_positions_where_they_are(options):
    adapter = build_adapter('neck_adapter', 4, 6, options)
    assert adapter(torch.zeros(2, 4, 8, 9)).shape == (2, 6, 8, 9)

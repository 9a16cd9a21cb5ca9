import collections
import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.logging import MessageHub
from mmengine.runner.checkpoint import get_state_dict, load_state_dict
from torch import nn
from torch.testing import assert_close

from mmwkd.distillers.capture import box_heads
from mmwkd.testing import tiny_batch, tiny_faster_rcnn
from tests.conftest import cpu_autocasts_to

from .conftest import cascade_rcnn, distiller_config, teacher_config

KEYS = {
    'loss_wkd_logit_transport',
    'loss_wkd_logit_target',
    'loss_wkd_neck_mean',
    'loss_wkd_neck_cov',
    'loss_wkd_roi_mean',
    'loss_wkd_roi_cov',
}


def distillation(losses):
    return {k: v for k, v in losses.items() if k.startswith('loss_wkd')}


def backward(distiller, losses):
    total, _ = distiller.parse_losses(losses)
    total.backward()


# --- a step -------------------------------------------------------------


def test_step_adds_its_keys_and_keeps_the_students(build, step):
    distiller = build()
    losses = step(distiller)
    plain = step(distiller.student)
    assert losses.keys() == plain.keys() | KEYS
    assert all(value.isfinite() for value in distillation(losses).values())


def test_students_own_losses_are_those_of_the_plain_student(build, step):
    distiller = build()
    plain = copy.deepcopy(distiller.student)
    torch.manual_seed(5)
    actual = step(distiller)
    torch.manual_seed(5)
    for name, value in step(plain).items():
        assert_close(actual[name], value, rtol=0, atol=0)


@pytest.mark.parametrize(
    'places', [('logit',), ('neck',), ('roi',), ('logit', 'neck')]
)
def test_each_loss_may_be_absent(build, step, places):
    absent = {
        f'{place}_loss': None
        for place in ('logit', 'neck', 'roi')
        if place not in places
    }
    distiller = build(**absent)
    losses = distillation(step(distiller))
    assert {key.split('_')[2] for key in losses} == set(places)
    assert distiller.places == places


@pytest.mark.parametrize(
    ('place', 'kind', 'terms'),
    [
        ('logit', 'KDLoss', {'kd_logit_kl'}),
        ('logit', 'DKDLoss', {'dkd_logit_target', 'dkd_logit_nontarget'}),
        ('neck', 'FitNetLoss', {'fitnet_neck_mse'}),
        ('neck', 'PKDLoss', {'pkd_neck_pearson'}),
        ('neck', 'CWDLoss', {'cwd_neck_kl'}),
        ('roi', 'FitNetLoss', {'fitnet_roi_mse'}),
        ('roi', 'PKDLoss', {'pkd_roi_pearson'}),
        ('roi', 'CWDLoss', {'cwd_roi_kl'}),
    ],
)
def test_baselines_train_like_any_loss(build, step, place, kind, terms):
    losses = dict.fromkeys(('logit_loss', 'neck_loss', 'roi_loss'))
    losses[f'{place}_loss'] = dict(type=kind)
    distiller = build(**losses)
    plain = step(distiller.student)
    losses = step(distiller)
    added = {f'loss_{term}' for term in terms}
    assert losses.keys() == plain.keys() | added
    total = sum(losses[key] for key in added)
    total.backward()
    assert total > 0
    weight = distiller.student.backbone.conv1.weight
    assert weight.grad.isfinite().all()
    assert weight.grad.abs().sum() > 0


def test_every_parameter_gets_a_gradient(build, step):
    distiller = build()
    backward(distiller, step(distiller))
    assert [n for n, p in distiller.named_parameters() if p.grad is None] == []


def test_distillation_reaches_student_and_adapters(build, step):
    distiller = build()
    losses = distillation(step(distiller))
    sum(losses.values()).backward()
    assert distiller.student.backbone.conv1.weight.grad.abs().sum() > 0
    for parameter in distiller.adapters.parameters():
        assert parameter.grad.abs().sum() > 0


def test_loss_weight_of_logits_matches_a_mean_over_sampled_rois(build, step):
    """The reduction is that of the head's own classification loss."""
    distiller = build(neck_loss=None, roi_loss=None)
    computed = {}
    loss = distiller.distillation_losses['logit']
    terms = loss.terms

    def spy(*args):
        computed.update(terms(*args))
        return dict(computed)

    loss.terms = spy
    losses = step(distiller)
    assert_close(losses['loss_wkd_logit_target'], computed['target'].mean())


def count_calls(calls, role, detector):
    for name in ('backbone', 'neck', 'rpn_head', 'roi_head.bbox_head'):
        detector.get_submodule(name).register_forward_hook(
            lambda *args, key=(role, name): calls.update([key])
        )


def test_a_step_runs_nothing_twice_and_nothing_in_vain(build, step):
    distiller = build()
    calls = collections.Counter()
    count_calls(calls, 'student', distiller.student)
    count_calls(calls, 'teacher', distiller.teacher)
    step(distiller)
    assert calls == {
        ('student', 'backbone'): 1,
        ('student', 'neck'): 1,
        ('student', 'rpn_head'): 1,
        ('student', 'roi_head.bbox_head'): 1,
        ('teacher', 'backbone'): 1,
        ('teacher', 'neck'): 1,
        ('teacher', 'roi_head.bbox_head'): 1,
    }


def test_teachers_box_head_does_not_run_without_logit_loss(build, step):
    for options, expected in (
        (dict(logit_loss=None), 'roi_head'),
        (dict(logit_loss=None, roi_loss=None), 'neck'),
    ):
        distiller = build(**options)
        calls = collections.Counter()
        count_calls(calls, 'teacher', distiller.teacher)
        distiller.teacher.roi_head.bbox_roi_extractor.register_forward_hook(
            lambda *args, calls=calls: calls.update(['roi_head'])
        )
        step(distiller)
        assert ('teacher', 'roi_head.bbox_head') not in calls
        assert ('roi_head' in calls) == (expected == 'roi_head')


# --- guarantee 1: the frozen teacher ------------------------------------


def test_teacher_stays_in_eval_mode_and_frozen(build, step):
    distiller = build()
    assert distiller.train() is distiller
    assert distiller.student.training
    assert not any(m.training for m in distiller.teacher.modules())
    assert distiller.eval() is distiller
    distiller.train()
    before = copy.deepcopy(distiller.teacher.state_dict())
    backward(distiller, step(distiller))
    assert all(p.grad is None for p in distiller.teacher.parameters())
    for key, value in distiller.teacher.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_teacher_is_in_no_module_list_or_state_dict(build):
    distiller = build()
    teacher_tensors = {
        id(t)
        for t in (
            *distiller.teacher.parameters(),
            *distiller.teacher.buffers(),
        )
    }
    distiller_tensors = {
        id(t) for t in (*distiller.parameters(), *distiller.buffers())
    }
    assert not teacher_tensors & distiller_tensors
    assert not any(m is distiller.teacher for m in distiller.modules())
    assert not any('teacher' in key for key in distiller.state_dict())


@pytest.mark.parametrize('move', ['half', 'double', 'bfloat16', 'meta'])
def test_teacher_follows_moves(build, move):
    distiller = build()
    if move == 'meta':
        assert distiller.to('meta') is distiller
        assert next(distiller.teacher.parameters()).device.type == 'meta'
        # where raw images are sent
        assert distiller.teacher.data_preprocessor.device.type == 'meta'
    else:
        assert getattr(distiller, move)() is distiller
        assert (
            next(distiller.teacher.parameters()).dtype
            == next(distiller.student.parameters()).dtype
        )


def test_deepcopy_shares_the_teacher(build, step):
    distiller = build()
    twin = copy.deepcopy(distiller)
    assert twin.teacher is distiller.teacher
    assert twin.student is not distiller.student
    assert_close(twin.state_dict(), distiller.state_dict())


def test_moving_a_deepcopy_leaves_the_original_working(build, step):
    distiller = build()
    copy.deepcopy(distiller).half()
    losses = step(distiller)
    assert losses['loss_wkd_neck_mean'].dtype == torch.float32


# --- guarantee 3: the checkpoint is the plain student's -----------------


@pytest.mark.parametrize(
    'make',
    [lambda m: m.state_dict(), get_state_dict],
    ids=['torch', 'mmengine'],
)
def test_state_dict_is_the_plain_students(build, make):
    distiller = build()
    plain = MODELS.build(tiny_faster_rcnn())
    state_dict = make(distiller)
    assert list(state_dict) == list(plain.state_dict())
    missing, unexpected = plain.load_state_dict(state_dict, strict=True)
    assert not missing
    assert not unexpected
    assert_close(plain.state_dict(), distiller.student.state_dict())


def test_metadata_versions_are_the_plain_students(build):
    plain = MODELS.build(tiny_faster_rcnn()).state_dict()._metadata
    distiller_metadata = build().state_dict()._metadata
    for name, metadata in plain.items():
        if name:
            assert distiller_metadata[name] == metadata, name


def test_plain_student_predicts_identically(build):
    distiller = build().eval()
    plain = MODELS.build(tiny_faster_rcnn()).eval()
    plain.load_state_dict(distiller.state_dict())
    with torch.no_grad():
        distilled, expected = (
            model.test_step(tiny_batch()) for model in (distiller, plain)
        )
    for a, b in zip(distilled, expected, strict=True):
        for field in ('bboxes', 'scores', 'labels'):
            assert_close(
                a.pred_instances[field],
                b.pred_instances[field],
                rtol=0,
                atol=0,
            )


def test_tensor_mode_and_features_are_the_students(build):
    distiller = build().eval()
    data = distiller.data_preprocessor(tiny_batch())
    with torch.no_grad():
        assert_close(
            distiller(**data, mode='tensor'),
            distiller.student(**data, mode='tensor'),
        )
        assert_close(
            distiller.extract_feat(data['inputs']),
            distiller.student.extract_feat(data['inputs']),
        )


@pytest.mark.parametrize(
    'load',
    [
        lambda model, weights: model.load_state_dict(weights, strict=True),
        lambda model, weights: load_state_dict(model, weights, strict=True),
    ],
    ids=['torch', 'mmengine'],
)
def test_plain_student_weights_load(build, load):
    distiller = build()
    adapters = copy.deepcopy(distiller.adapters.state_dict())
    torch.manual_seed(9)
    plain = MODELS.build(tiny_faster_rcnn())
    plain.init_weights()
    load(distiller, plain.state_dict())
    assert_close(distiller.student.state_dict(), plain.state_dict())
    assert_close(distiller.adapters.state_dict(), adapters)  # left alone


def test_parts_of_the_student_may_have_the_distillers_names(build):
    """No name is taken from the student: adapters, preprocessor buffers."""
    distiller = build()
    student = distiller.student
    student.adapters = torch.nn.Linear(2, 2)
    student.data_preprocessor.register_buffer('scale', torch.ones(3))
    saved = distiller.state_dict()
    assert set(saved) == set(student.state_dict())
    saved['adapters.weight'] = torch.full((2, 2), 3.0)
    saved['data_preprocessor.scale'] = torch.full((3,), 2.0)
    distiller.load_state_dict(saved, strict=True)
    assert_close(student.adapters.weight, torch.full((2, 2), 3.0))
    assert_close(student.data_preprocessor.scale, torch.full((3,), 2.0))


def test_wrong_student_weights_are_still_noticed(build):
    distiller = build()
    weights = MODELS.build(tiny_faster_rcnn()).state_dict()
    del weights['backbone.conv1.weight']
    weights['intruder'] = torch.zeros(1)
    with pytest.raises(RuntimeError, match='intruder.*|Missing.*'):
        distiller.load_state_dict(weights)


@pytest.mark.parametrize('wrap', [False, True])
def test_adapters_travel_with_the_state_dict(build, tmp_path, wrap):
    first, second = build(), build()

    def container(model):
        return nn.ModuleDict(dict(module=model)) if wrap else model

    with torch.no_grad():
        for parameter in first.adapters.parameters():
            parameter.normal_()
    torch.save(container(first).state_dict(), tmp_path / 'weights.pth')
    weights = torch.load(tmp_path / 'weights.pth', weights_only=True)
    container(second).load_state_dict(weights, strict=True)
    assert_close(second.adapters.state_dict(), first.adapters.state_dict())


def test_adapters_of_another_pair_are_left_alone(build):
    narrow = build(
        teacher=dict(
            config=teacher_config(neck_channels=20), allow_random=True
        )
    )
    distiller = build(neck_loss=None)
    before = copy.deepcopy(distiller.adapters.state_dict())
    distiller.load_state_dict(narrow.state_dict(), strict=True)
    assert_close(distiller.adapters.state_dict(), before)


def test_saved_adapters_do_not_change_with_the_model(build):
    distiller = build()
    metadata = distiller.state_dict()._metadata['']['mmwkd_adapters']
    before = copy.deepcopy(metadata)
    with torch.no_grad():
        for parameter in distiller.adapters.parameters():
            parameter.zero_()
    assert_close(metadata, before)


def test_adapters_move_to_the_cpu_when_saved_and_not_before(
    build, monkeypatch, tmp_path
):
    distiller = build()
    moved = []
    cpu = torch.Tensor.cpu
    monkeypatch.setattr(
        torch.Tensor, 'cpu', lambda self: moved.append(self) or cpu(self)
    )

    state_dict = distiller.state_dict()
    assert moved == []
    torch.save(state_dict, tmp_path / 'student.pth')

    assert len(moved) == len(distiller.adapters.state_dict()) > 0
    loaded = torch.load(tmp_path / 'student.pth', weights_only=True)
    adapters = loaded._metadata['']['mmwkd_adapters']
    assert_close(adapters, distiller.adapters.state_dict())


# --- guarantee 5: differences between teacher and student ---------------


@pytest.mark.parametrize(
    'difference',
    [
        dict(mean=[103.53, 116.28, 123.675], std=[1.0] * 3, bgr_to_rgb=False),
        dict(pad_size_divisor=64),
        dict(num_outs=4),
        dict(base_channels=8, neck_channels=16),
    ],
    ids=['normalisation', 'padding', 'levels', 'nothing but weights'],
)
def test_differing_teachers_can_be_aligned(build, step, difference):
    distiller = build(
        teacher=dict(config=teacher_config(**difference), allow_random=True)
    )
    losses = step(distiller, sizes=[(70, 90), (64, 40)])
    assert all(value.isfinite() for value in distillation(losses).values())
    backward(distiller, losses)


def test_teacher_sees_the_pixels_of_its_own_preprocessor(build, step):
    config = teacher_config(
        mean=[103.53, 116.28, 123.675],
        std=[1.0] * 3,
        bgr_to_rgb=False,
        pad_size_divisor=64,
    )
    distiller = build(teacher=dict(config=config, allow_random=True))
    received = []
    distiller.teacher.backbone.register_forward_pre_hook(
        lambda module, args: received.append(args[0])
    )
    step(distiller, sizes=[(70, 90), (64, 40)])
    expected = distiller.teacher.data_preprocessor(
        tiny_batch([(70, 90), (64, 40)]), training=True
    )['inputs']
    assert_close(received[0], expected, rtol=1e-5, atol=1e-4)


def neck_adapters(distiller):
    return [a for n, a in distiller.adapters.items() if 'neck' in n]


def test_adapters_are_built_where_channels_differ(build):
    assert [type(a) for a in neck_adapters(build())] == [nn.Conv2d] * 5
    same = build(teacher=dict(config=tiny_faster_rcnn(), allow_random=True))
    assert [type(a) for a in neck_adapters(same)] == [nn.Identity] * 5
    normed = build(
        teacher=dict(config=tiny_faster_rcnn(), allow_random=True),
        roi_adapter=dict(norm_cfg=dict(type='BN')),
    )
    assert normed.adapters['roi_0'].with_norm


def test_levels_are_paired_by_stride(build):
    distiller = build(neck_loss=dict(type='WKDFeatureLoss', levels=(1, 3)))
    assert len(neck_adapters(distiller)) == 2
    assert [
        (p.student, p.teacher) for p in distiller._places['neck'].levels
    ] == [
        (1, 1),
        (3, 3),
    ]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(neck_loss=dict(type='WKDFeatureLoss', levels=(0, 7))),
            'asks for level 7.*in common: student strides .*64',
        ),
        (
            dict(
                teacher=dict(
                    config=teacher_config(num_outs=4), allow_random=True
                ),
                neck_loss=dict(type='WKDFeatureLoss', levels=(4,)),
            ),
            r'level 4, which.*strides \[4, 8, 16, 32, 64\], teacher '
            r'strides \[4, 8, 16, 32\]',
        ),
        (
            dict(neck_adapter=None),
            'maps have 16 channels .* and 24 .*set neck_adapter',
        ),
        (
            dict(roi_adapter=None),
            'maps have 16 channels .* and 24 .*set roi_adapter',
        ),
        (
            dict(roi_loss=None, roi_adapter=dict(norm_cfg=dict(type='BN'))),
            'roi_adapter is set, but there is no roi_loss',
        ),
        (dict(roi_adapter=dict(foo=1)), "roi_adapter takes .*'foo'"),
        (
            dict(neck_loss=dict(type='WKDFeatureLoss', levels=())),
            'no level to',
        ),
        (dict(student='student.py'), "of a detector, got 'student.py'"),
        (dict(teacher='teacher.py'), "must be one dict .* got 'teacher.py'"),
        (dict(logit_loss='WKDLogitLoss'), 'logit_loss must be a dict'),
        (
            dict(logit_loss=dict(type='WKDLogitLoss', reduction='sum')),
            "reduction must be 'mean' in a distiller, got 'sum'",
        ),
        (
            dict(logit_loss=dict(type='WKDLogitLoss', reg=0.005)),
            'reg 0.005 is too small for costs up to .* use at least 0.0',
        ),
        (
            dict(
                teacher=dict(
                    config=teacher_config(),
                    allow_random=True,
                    classes=['cat', 'dog'],
                )
            ),
            'teacher has 3 classes, but its class list has 2 names',
        ),
        (
            dict(roi_loss=dict(type='PKDLoss', epsilon=1e-5)),
            "unknown option 'epsilon'; PKDLoss takes eps, levels, loss_weight",
        ),
        (dict(neck_adapter='never'), "must be 'auto', None or a dict"),
        (
            dict(student=tiny_faster_rcnn(num_classes=5)),
            'student has 5 classes, the teacher 3',
        ),
        (
            dict(logit_loss=None, neck_loss=None, roi_loss=None),
            'no distillation loss is configured',
        ),
        (
            dict(logit_loss=dict(type='WKDLogitLoss', gama=3)),
            "unknown option 'gama'; WKDLogitLoss takes .*gamma",
        ),
        (
            dict(logit_loss=dict(type='WKDLogitLos')),
            "'WKDLogitLos' is not a reg",
        ),
        (
            dict(logit_loss=dict(type='CrossEntropyLoss')),
            "'CrossEntropyLoss' is not a registered distillation loss",
        ),
        (
            dict(logit_loss=dict(type='WKDFeatureLoss')),
            'logit_loss cannot be a WKDFeatureLoss',
        ),
        (
            dict(roi_loss=dict(type='WKDLogitLoss')),
            'roi_loss cannot be a WKDLogitLoss',
        ),
        (
            dict(roi_loss=dict(type='WKDFeatureLoss', levels=(0,))),
            'roi_loss has no levels',
        ),
        (
            dict(neck_loss=dict(type='WKDFeatureLoss', background_weight=0.5)),
            'neck_loss has no RoIs that are labelled',
        ),
    ],
)
def test_what_cannot_be_aligned_is_refused(build, changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_roi_maps_of_other_size_are_refused(build):
    student = tiny_faster_rcnn()
    student.roi_head.bbox_roi_extractor.roi_layer.output_size = 5
    student.roi_head.bbox_head.roi_feat_size = 5
    with pytest.raises(ValueError, match='5 x 5 in the student and 7 x 7'):
        build(student=student)


def test_heads_without_softmax_are_refused(build):
    student = tiny_faster_rcnn()
    student.roi_head.bbox_head.loss_cls.use_sigmoid = True
    with pytest.raises(
        ValueError,
        match="student's box head is trained with "
        'CrossEntropyLoss, not with a softmax.*work for CrossEntropyLoss',
    ):
        build(student=student)


def test_detectors_of_proposals_are_no_students(build):
    student = tiny_faster_rcnn()
    student.type = 'RPN'
    student.pop('roi_head')
    with pytest.raises(ValueError, match='student has 1 classes, the teacher'):
        build(student=student, roi_loss=None)
    with pytest.raises(
        ValueError, match='RoIs are compared .* student is a RPN'
    ):
        build(student=student, logit_loss=None)


def test_cost_matrix_of_other_size_is_refused(build, tmp_path):
    import numpy as np

    from mmwkd.costs import CostMatrix

    path = tmp_path / 'cost.npz'
    CostMatrix(
        categories=('cat', 'background'),
        interrelation=np.eye(2, dtype=np.float32),
        estimator='centroid',
    ).save(path)
    with pytest.raises(ValueError, match='1 classes instead of 3'):
        build(logit_loss=dict(type='WKDLogitLoss', cost=str(path)))


# --- guarantee 6: row r is the same box ---------------------------------


def test_equal_detectors_in_eval_are_at_distance_0(build, step):
    """RoIs, crops and features line up, else this could not be 0."""
    distiller = build(
        teacher=dict(config=tiny_faster_rcnn(), allow_random=True),
        logit_loss=dict(type='WKDLogitLoss', temperature=1.0, reg=0.05),
    )
    distiller.teacher.load_state_dict(distiller.student.state_dict())
    # unrelated categories and a small reg: entropic OT is then 0 as well
    loss = distiller.distillation_losses['logit']
    loss.ground_cost = 1 - torch.eye(4)
    distiller.eval()
    losses = distillation(step(distiller))
    assert losses.pop('loss_wkd_logit_target') > 0  # is a cross-entropy
    for name, value in losses.items():
        assert value.abs() < 1e-5, name


def test_teacher_heads_run_on_the_students_rois(build, step):
    distiller = build(neck_loss=None, roi_loss=None)
    received = {}

    def remember(role):
        return lambda module, args: received.update({role: args[1]})

    for role, detector in (
        ('student', distiller.student),
        ('teacher', distiller.teacher),
    ):
        detector.roi_head.bbox_roi_extractor.register_forward_pre_hook(
            remember(role)
        )
    step(distiller)
    assert torch.equal(received['student'], received['teacher'])


@pytest.fixture
def build_cascade(build):
    """A distiller of two cascades; keeps logit_loss and roi_loss."""

    def build_distiller():
        return build(
            student=cascade_rcnn(),
            teacher=dict(config=cascade_rcnn(), allow_random=True),
            neck_loss=None,
        )

    return build_distiller


def test_cascades_are_compared_stage_by_stage(build_cascade, step):
    distiller = build_cascade()
    distiller.teacher.load_state_dict(distiller.student.state_dict())
    loss = distiller.distillation_losses['logit']
    loss.ground_cost, loss.reg = 1 - torch.eye(4), 0.05
    distiller.eval()
    losses = distillation(step(distiller))
    assert losses.pop('loss_wkd_logit_target') > 0
    for name, value in losses.items():
        assert value.abs() < 1e-5, name


def test_a_cascade_that_runs_out_of_rois_gives_zeros(build_cascade, step):
    distiller = build_cascade()
    distiller.student.train_cfg.rpn_proposal.min_bbox_size = 10_000
    losses = step(distiller, boxes_per_image=0)
    values = distillation(losses)
    assert len(values) == 4
    assert all(value == 0 for value in values.values())


@pytest.fixture
def stages_run():
    """Record which box heads of a detector run."""

    def record(detector):
        received = []
        for index, head in enumerate(box_heads(detector)):
            head.register_forward_hook(
                lambda *args, index=index: received.append(index)
            )
        return received

    return record


def test_a_single_stage_learns_from_the_first_of_a_cascade(
    build, step, stages_run
):
    distiller = build(teacher=dict(config=cascade_rcnn(), allow_random=True))
    stages = stages_run(distiller.teacher)
    assert sum(distillation(step(distiller)).values()).isfinite()
    assert stages == [0]


def test_all_stages_of_a_cascade_learn_from_a_single_one(build, step):
    distiller = build(student=cascade_rcnn())
    losses = distillation(step(distiller))
    assert set(losses) == set(distillation(step(build())))
    sum(losses.values()).backward()
    for head in box_heads(distiller.student):
        assert head.fc_cls.weight.grad.abs().sum() > 0


def test_seesaw_heads_are_compared_by_what_they_predict(build, step):
    student = with_seesaw(tiny_faster_rcnn())
    teacher = with_seesaw(teacher_config())
    distiller = build(
        student=student, teacher=dict(config=teacher, allow_random=True)
    )
    batch = tiny_batch()
    data = distiller.data_preprocessor(batch, training=True)
    student_pass, teacher_pass, *_ = distiller.observe(
        data['inputs'], data['data_samples']
    )[1]
    head = box_heads(distiller.student)[0]
    (stage,) = student_pass.stages
    raw = head(stage.feats)[0]
    torch.testing.assert_close(
        stage.logits.softmax(dim=1), head.loss_cls.get_activation(raw)
    )
    assert teacher_pass.stages[0].logits.shape == stage.logits.shape
    assert sum(distillation(step(distiller)).values()).isfinite()


def with_seesaw(model):
    model.roi_head.bbox_head.loss_cls = dict(
        type='SeesawLoss', num_classes=3, p=0.8, q=2.0
    )
    return model


# --- guarantees 7 and 8: hard cases, and constant keys ------------------


def test_keys_are_the_same_whatever_the_batch(build, step):
    distiller = build()
    assert distillation(step(distiller)).keys() == KEYS
    assert distillation(step(distiller, boxes_per_image=0)).keys() == KEYS
    distiller.set_distillation_weight(0.0)
    assert distillation(step(distiller)).keys() == KEYS
    distiller.student.train_cfg.rpn_proposal.min_bbox_size = 10_000
    distiller.set_distillation_weight(1.0)
    losses = step(distiller, boxes_per_image=0)
    assert distillation(losses).keys() == KEYS


@pytest.mark.parametrize('adapter', ['auto', dict(norm_cfg=dict(type='BN'))])
def test_no_rois_give_exact_zeros_in_the_graph(build, step, adapter):
    distiller = build(roi_adapter=adapter)
    distiller.student.train_cfg.rpn_proposal.min_bbox_size = 10_000
    losses = step(distiller, boxes_per_image=0)
    for name in KEYS:
        if 'neck' not in name:
            assert losses[name].item() == 0.0, name
    backward(distiller, losses)
    for name, parameter in distiller.adapters.named_parameters():
        assert parameter.grad is not None, name


def test_extreme_logits_stay_finite(build, step):
    distiller = build(neck_loss=None, roi_loss=None)
    for detector, sign in ((distiller.student, 1), (distiller.teacher, -1)):
        with torch.no_grad():
            detector.roi_head.bbox_head.fc_cls.bias.copy_(
                sign * torch.tensor([100.0, -100.0, 100.0, -100.0])
            )
    losses = step(distiller)
    assert all(value.isfinite() for value in distillation(losses).values())
    backward(distiller, losses)
    gradient = distiller.student.backbone.conv1.weight.grad
    assert gradient.isfinite().all()


@pytest.mark.usefixtures('mmcv_ops_take_halves')
@pytest.mark.parametrize(
    'dtype',
    [
        torch.bfloat16,
        pytest.param(
            torch.float16,
            marks=pytest.mark.skipif(
                not cpu_autocasts_to(torch.float16),
                reason='this torch autocasts to bfloat16 alone on a CPU',
            ),
        ),
    ],
)
def test_losses_are_float32_under_autocast(build, step, dtype):
    distiller = build().eval()
    # a fresh student's logits are nearly 0, where rounding is most of D
    distiller.student.roi_head.bbox_head.fc_cls.weight.data.mul_(20)
    propose_once(distiller.student.rpn_head)
    torch.manual_seed(0)  # of the RoIs that are sampled
    reference = distillation(step(distiller))
    torch.manual_seed(0)
    with torch.autocast('cpu', dtype=dtype):
        losses = distillation(step(distiller))
    for name, value in losses.items():
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert_close(value, reference[name], rtol=0.1, atol=1e-3)


def propose_once(rpn_head):
    """Let later passes have the proposals of the first."""
    predict, first = rpn_head.loss_and_predict, []

    def repeat(*args, **kwargs):
        losses, proposals = predict(*args, **kwargs)
        first.append(proposals)
        return losses, copy.deepcopy(first[0])

    rpn_head.loss_and_predict = repeat


def test_diagnostics_do_not_count_as_losses(build, step):
    distiller = build()
    losses = step(distiller)
    total, log_vars = distiller.parse_losses(losses)
    counted = sum(
        sum(value) if isinstance(value, list) else value
        for name, value in losses.items()
        if name != 'acc'
    )
    assert_close(total, counted)


# --- weights of the losses ----------------------------------------------


def test_factor_scales_the_losses(build, step):
    distiller = build().eval()
    torch.manual_seed(2)
    full = distillation(step(distiller))
    distiller.set_distillation_weight(0.25)
    torch.manual_seed(2)
    scaled = distillation(step(distiller))
    for name in KEYS:
        assert_close(scaled[name], 0.25 * full[name])


def test_teacher_does_not_run_when_the_factor_is_0(build, step):
    distiller = build()
    distiller.set_distillation_weight(0.0)
    distiller._teacher.observe = None  # would raise if called
    losses = step(distiller)
    assert all(value == 0 for value in distillation(losses).values())
    backward(distiller, losses)
    assert [n for n, p in distiller.named_parameters() if p.grad is None] == []


def test_bad_factors_are_refused(build):
    with pytest.raises(ValueError, match='must not be negative, got -1'):
        build().set_distillation_weight(-1)


# --- while training -----------------------------------------------------


@pytest.mark.parametrize(
    ('tensor', 'name'),
    [
        ('neck.fpn_convs.0.conv.bias', 'neck feature map 0'),
        ('roi_head.bbox_head.fc_cls.bias', 'class logits of stage 0'),
    ],
)
def test_non_finite_teacher_is_named_with_the_images(
    build, step, tensor, name
):
    distiller = build()
    distiller.teacher.get_parameter(tensor).data.fill_(torch.nan)
    with pytest.raises(
        FloatingPointError,
        match=f"teacher's {name} is not finite.*image_0.jpg, image_1.jpg",
    ):
        step(distiller)


def test_non_finite_student_is_left_to_the_trainer(build, step):
    """A GradScaler skips such a step; it is no fault of the teacher."""
    distiller = build(neck_loss=None, roi_loss=None)
    distiller.student.roi_head.bbox_head.fc_cls.bias.data.fill_(torch.nan)
    assert not step(distiller)['loss_wkd_logit_target'].isfinite()


@pytest.fixture
def training_on():
    """Pretend that mmengine's loop trains on a dataset of given classes."""
    hub = MessageHub.get_current_instance()

    def pretend(classes):
        hub.update_info('loop_stage', 'train')
        hub.update_info('dataset_meta', dict(classes=classes))

    return pretend


def test_dataset_of_the_teachers_classes_is_accepted(build, step, training_on):
    training_on(('cat', 'dog', 'bus'))
    step(build())


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        (
            ('dog', 'cat', 'bus'),
            "0 is 'dog' instead of 'cat'",
        ),
        (('cat', 'dog'), '2 classes instead of 3'),
    ],
)
def test_dataset_of_other_classes_is_refused(
    build, step, training_on, classes, message
):
    training_on(classes)
    with pytest.raises(ValueError, match=message):
        step(build())


def test_cost_matrix_of_other_classes_than_the_dataset_is_refused(
    build, step, training_on, tmp_path
):
    import numpy as np

    from mmwkd.costs import CostMatrix

    training_on(('cat', 'dog', 'bus'))
    path = tmp_path / 'cost.npz'
    CostMatrix(
        categories=('cat', 'cow', 'bus', 'background'),
        interrelation=np.eye(4, dtype=np.float32),
        estimator='centroid',
    ).save(path)
    teacher = dict(config=teacher_config(), allow_random=True)
    distiller = build(
        teacher=teacher, logit_loss=dict(type='WKDLogitLoss', cost=str(path))
    )
    with pytest.raises(ValueError, match="class 1 is 'cow' instead of 'dog'"):
        step(distiller)


def test_class_names_can_be_overridden(
    teacher_checkpoint, build, step, training_on
):
    training_on(('kitty', 'doggy', 'bus'))
    teacher = dict(
        config=teacher_config(),
        checkpoint=str(teacher_checkpoint),
        classes=('kitty', 'doggy', 'bus'),
    )
    step(build(teacher=teacher))


def test_config_of_the_student_is_not_changed(teacher_checkpoint):
    cfg = distiller_config(teacher_checkpoint)
    before = copy.deepcopy(cfg['student'])
    MODELS.build(cfg)
    assert cfg['student'].keys() == before.keys()


def test_data_preprocessor_may_stand_beside_the_student(teacher_checkpoint):
    cfg = distiller_config(teacher_checkpoint)
    preprocessor = cfg['student'].pop('data_preprocessor')
    distiller = MODELS.build(dict(cfg, data_preprocessor=preprocessor))
    assert distiller.data_preprocessor.pad_size_divisor == 32


def test_adapters_and_balance_of_another_teacher_are_left_alone(build, step):
    first, second = build(balance_interval=1), build(balance_interval=1)
    step(first)
    for parameter in first.adapters.parameters():
        parameter.data.fill_(0.5)
    other = copy.deepcopy(first.state_dict())
    other._metadata['']['mmwkd_teacher'] = 'of another file'
    before = copy.deepcopy(second.adapters.state_dict())
    second.load_state_dict(other)
    assert_close(second.adapters.state_dict(), before)
    assert second.balance.iteration == 0
    second.load_state_dict(first.state_dict())
    assert_close(second.adapters.state_dict(), first.adapters.state_dict())
    assert second.balance.iteration == 1

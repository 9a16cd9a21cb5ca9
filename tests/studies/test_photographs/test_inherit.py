"""A student that starts with its teacher's neck and head."""

import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch.testing import assert_close

import studies.photographs.inherit  # noqa: F401
from mmwkd.configs import without_pretrained
from tests.test_configs import CONFIGS

MODEL = '_base_/models/cocophotos_{}.py'
LEVELS = ((64, 8), (128, 16), (256, 32))  # channels and stride


def model(name):
    return Config.fromfile(CONFIGS / MODEL.format(name)).model


def test_the_student_has_the_teachers_neck_and_head(tmp_path):
    teacher = MODELS.build(model('yolox-nano')).eval()
    for name, module in teacher.named_modules():
        # a file whose normalisation was folded into the convolutions
        if isinstance(module, torch.nn.BatchNorm2d) and 'backbone' not in name:
            module.bias.data.normal_()
    path = str(tmp_path / 'teacher.pth')
    torch.save(dict(state_dict=teacher.state_dict()), path)
    config = model('yolox_mobilenetv2_pafpn64')
    config.backbone.init_cfg = None
    config.neck[1].init_cfg.checkpoint = path
    config.bbox_head.init_cfg.checkpoint = path
    student = MODELS.build(config)
    student.init_weights()
    student.train()

    maps = tuple(
        torch.randn(2, channels, 64 // stride, 64 // stride)
        for channels, stride in LEVELS
    )
    # in training mode as in evaluation
    own, inherited = teacher.neck(maps), student.neck[1](maps)
    assert_close(inherited, own)
    head, inherited_head = teacher.bbox_head(own), student.bbox_head(own)
    assert_close(inherited_head[1], head[1])
    # YOLOX sets the biases of its scores anew
    for scores, others in zip(
        head[0] + head[2], inherited_head[0] + inherited_head[2], strict=True
    ):
        gap = others - scores
        assert_close(gap, gap[:, :, :1, :1].expand_as(gap))


def test_maps_get_the_channels_that_the_neck_takes():
    student = MODELS.build(model('yolox_mobilenetv2_pafpn64'))
    convert, neck = student.neck
    converted = convert(student.backbone(torch.randn(2, 3, 64, 64)))
    assert [tuple(each.shape) for each in converted] == [
        (2, channels, 64 // stride, 64 // stride)
        for channels, stride in LEVELS
    ]
    assert [each.shape[1] for each in neck(converted)] == [64, 64, 64]


def test_a_faster_rcnn_starts_with_its_teachers_neck_and_heads(tmp_path):
    teacher_config = config('faster-rcnn_yolox-nano_pafpn64_3000').model
    teacher_config.backbone.init_cfg = teacher_config.neck.init_cfg = None
    teacher = MODELS.build(teacher_config)
    teacher.init_weights()
    path = str(tmp_path / 'teacher.pth')
    torch.save(dict(state_dict=teacher.state_dict()), path)
    student_config = config('faster-rcnn_mobilenetv2_pafpn64_1000').model
    student_config.backbone.init_cfg = None
    for inheriting in (
        student_config.neck[1],
        student_config.rpn_head,
        student_config.roi_head.bbox_head,
    ):
        assert inheriting.init_cfg.checkpoint.endswith('/iter_1200.pth')
        inheriting.init_cfg.checkpoint = path
    student = MODELS.build(student_config)
    student.init_weights()
    for inherited, own in (
        (student.neck[1], teacher.neck),
        (student.rpn_head, teacher.rpn_head),
        (student.roi_head, teacher.roi_head),
    ):
        assert_close(inherited.state_dict(), own.state_dict())


def test_a_faster_rcnn_goes_on_from_where_it_was(tmp_path):
    before = MODELS.build(
        without_pretrained(
            config('faster-rcnn_mobilenetv2_pafpn64_1000').model
        )
    )
    path = str(tmp_path / 'before.pth')
    torch.save(dict(state_dict=before.state_dict()), path)
    student_config = config('faster-rcnn_mobilenetv2_pafpn64_1000-more').model
    assert student_config.init_cfg.checkpoint.endswith('/iter_1000.pth')
    student_config.backbone.init_cfg = None
    student_config.init_cfg.checkpoint = path
    student = MODELS.build(student_config)
    student.init_weights()
    assert_close(student.state_dict(), before.state_dict())


def test_the_teacher_keeps_backbone_and_neck():
    teacher_config = config('faster-rcnn_yolox-nano_pafpn64_3000')
    teacher = MODELS.build(without_pretrained(teacher_config.model))
    teacher.train()
    wrapper = build_optim_wrapper(teacher, teacher_config.optim_wrapper)
    rates = {
        id(group['params'][0]): group['lr'] for group in wrapper.param_groups
    }
    weights = [*teacher.backbone.parameters(), *teacher.neck.parameters()]
    assert not any(
        weight.requires_grad and rates[id(weight)] for weight in weights
    )
    assert all(rates[id(weight)] for weight in teacher.roi_head.parameters())


def config(name):
    return Config.fromfile(CONFIGS / f'cocophotos/{name}_cocophotos.py')

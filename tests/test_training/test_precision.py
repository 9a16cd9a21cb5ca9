"""Half precision: the losses, overflowing steps, teachers of another dtype."""

import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close

from mmwkd.testing import tiny_batch
from studies.toydata.minicoco.categories import CLASSES
from tests.conftest import cpu_autocasts_to

LOSSES = [
    dict(type='WKDLogitLoss'),
    dict(type='KDLoss'),
    dict(type='DKDLoss'),
    dict(type='WKDFeatureLoss', grid=2),
    dict(type='WKDFeatureLoss', grid=2, covariance='full'),
    dict(type='FitNetLoss'),
    dict(type='PKDLoss'),
    dict(type='CWDLoss'),
]


def loss_and_input(cfg, scale):
    """A loss, and a student's and a teacher's tensor with entries to scale."""
    loss = MODELS.build(cfg)
    if loss.compares == 'logits':
        loss.bind(torch.randn(9, 16), 9)
        target = (torch.arange(6) % 9,)
        pair = torch.rand(2, 6, 9)
    else:
        target = ()
        pair = torch.rand(2, 4, 6, 8, 8)
    return loss, scale * (2 * pair - 1), target


def value_and_gradient(loss, student, teacher, target, *, autocast):
    student = student.clone().requires_grad_()
    dtype = student.dtype if autocast else None
    with torch.autocast('cpu', dtype=dtype, enabled=autocast):
        value = loss(student, teacher, *target)
    value.backward()
    return value.detach(), student.grad


@pytest.mark.parametrize('scale', [1.0, 100.0, 65000.0])
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    'cfg', LOSSES, ids=lambda cfg: '-'.join(map(str, cfg.values()))
)
def test_losses_of_halves_are_those_of_float64(cfg, dtype, scale):
    """Only the gradient is rounded, to the dtype of the student's tensor."""
    if not cpu_autocasts_to(dtype):
        pytest.skip('this torch autocasts to bfloat16 alone on a CPU')
    loss, pair, target = loss_and_input(cfg, scale)
    halves = pair.to(dtype)
    assert halves.isfinite().all()
    value, grad = value_and_gradient(loss, *halves, target, autocast=True)
    expected, expected_grad = value_and_gradient(
        loss, *halves.double(), target, autocast=False
    )
    assert_close(value.double(), expected, rtol=2e-6, atol=0)
    assert grad.dtype == dtype
    limits = torch.finfo(dtype)
    largest = expected_grad.abs().max().item()
    underflow = limits.smallest_normal * limits.eps
    assert_close(
        grad.double(),
        expected_grad,
        rtol=0,
        atol=limits.eps * largest + underflow,
    )


@pytest.fixture
def distiller(run_config):
    run_config.model.student.train_cfg.rcnn.sampler.num = 32
    model = MODELS.build(run_config.model)
    model.init_weights()
    return model


def step(distiller):
    batch = tiny_batch(num_classes=len(CLASSES))
    data = distiller.data_preprocessor(batch, training=True)
    return distiller(**data, mode='loss')


@pytest.mark.usefixtures('mmcv_ops_take_halves')
@pytest.mark.parametrize(
    'overflowing',
    ['backbone.conv1.weight', 'rpn_head.rpn_reg.weight', 'neck.fpn_convs'],
)
def test_an_overflowing_student_is_skipped_by_the_scaler(
    distiller, overflowing
):
    if not cpu_autocasts_to(torch.float16):
        pytest.skip('this torch autocasts to bfloat16 alone on a CPU')
    for name, parameter in distiller.student.named_parameters():
        if name.startswith(overflowing):
            parameter.data.fill_(1e6)
    scaler = torch.amp.GradScaler('cpu', init_scale=1024.0)
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.1)
    before = [p.clone() for p in distiller.parameters()]
    with torch.autocast('cpu', dtype=torch.float16):
        losses = step(distiller)
    total, _ = distiller.parse_losses(losses)
    assert not total.isfinite()
    scaler.scale(total).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 512.0
    for parameter, value in zip(distiller.parameters(), before, strict=True):
        assert torch.equal(parameter, value)


def propose_whole_pixels(rpn_head):
    """Propose boxes that bfloat16 has: mmdet rounds RoIs to the maps' type."""
    predict = rpn_head.loss_and_predict

    def rounded(*args, **kwargs):
        losses, proposals = predict(*args, **kwargs)
        for each in proposals:
            each.bboxes = each.bboxes.round()
        return losses, proposals

    rpn_head.loss_and_predict = rounded


@pytest.mark.usefixtures('mmcv_ops_take_halves')
@pytest.mark.parametrize(
    ('dtype', 'tolerance'),
    [(torch.bfloat16, 0.05), (torch.float16, 0.01), (torch.float64, 1e-4)],
)
def test_a_teacher_may_have_another_dtype(distiller, dtype, tolerance):
    if dtype == torch.float16 and not cpu_autocasts_to(dtype):
        pytest.skip('this torch has no convolution of float16 on a CPU')
    distiller.eval()  # both steps sample the same RoIs
    propose_whole_pixels(distiller.student.rpn_head)
    torch.manual_seed(0)
    expected = step(distiller)
    distiller.teacher.to(dtype)
    torch.manual_seed(0)
    losses = step(distiller)
    for name, value in losses.items():
        if 'wkd' in name:
            assert_close(
                value.float(), expected[name], rtol=tolerance, atol=1e-3
            )
    total, _ = distiller.parse_losses(losses)
    total.backward()
    weight = distiller.student.backbone.conv1.weight
    assert weight.grad.isfinite().all()

import warnings

import numpy as np
import ot
import pytest
import torch
from mmengine.config import Config
from torch.testing import assert_close

from mmwkd.cli import main
from mmwkd.costs.plots import draw_errors, draw_plans
from mmwkd.costs.transport import (
    TransportSubject,
    exact_costs,
    inspect_transport,
    observe_logits,
    subject_of,
    transport_errors,
    transport_plans,
)
from mmwkd.functional import sinkhorn_cost, transport_term
from mmwkd.functional.logit_distillation import class_distribution
from mmwkd.losses import WKDLogitLoss
from mmwkd.testing import tiny_batch
from tests.test_distillers.conftest import distiller_config, teacher_config

from .test_plots import num_colours, pixels

NUM_ROIS, SIZE = 4, 6


def problem(*, excluded=True, seed=0):
    """Histograms, a cost and the category of each row that is left out."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(SIZE, SIZE, generator=generator)
    cost = (draw + draw.T) / 2
    cost.fill_diagonal_(0)
    target = torch.tensor([0, 3, 5, 3]) if excluded else None
    p, q = (
        class_distribution(
            3 * torch.randn(NUM_ROIS, SIZE, generator=generator), target, 1.0
        )
        for _ in range(2)
    )
    return p, q, cost, target


# --- plans --------------------------------------------------------------


@pytest.mark.parametrize('excluded', [True, False])
@pytest.mark.parametrize('num_iters', [1, 2, 10])
def test_plans_cost_what_the_loss_computes(excluded, num_iters):
    p, q, cost, target = problem(excluded=excluded)
    options = dict(excluded=target, reg=0.2, num_iters=num_iters)
    plans = transport_plans(p, q, cost, **options)
    actual = (plans * cost).sum(dim=(1, 2))
    expected = sinkhorn_cost(p, q, cost, **options)
    assert_close(actual.float(), expected, rtol=1e-4, atol=1e-6)


def test_plans_cost_what_the_term_of_the_loss_is():
    student, teacher = torch.randn(2, NUM_ROIS, SIZE).unbind()
    *_, cost, target = problem()
    sides = (class_distribution(z, target, 2.0) for z in (student, teacher))
    plans = transport_plans(*sides, cost, excluded=target, reg=0.1)
    expected = transport_term(
        student, teacher, cost, target, temperature=2.0, reg=0.1
    )
    actual = (plans * cost).sum(dim=(1, 2)).float()
    assert_close(actual, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('reg', [0.3, 0.02, 0.005])
def test_converged_plans_are_pots(reg):
    p, q, cost, _ = problem(excluded=False)
    plans = transport_plans(p, q, cost, reg=reg, num_iters=3000)
    for row in range(NUM_ROIS):
        a, b = (h[row].double() / h[row].double().sum() for h in (p, q))
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # POT may stop short of 1e-12
            expected = ot.sinkhorn(
                a.numpy(),
                b.numpy(),
                cost.double().numpy(),
                reg,
                method='sinkhorn_log',
                numItermax=20000,
                stopThr=1e-12,
            )
        np.testing.assert_allclose(plans[row].numpy(), expected, atol=1e-4)


def test_plans_keep_the_source_and_leave_out_the_excluded():
    p, q, cost, target = problem()
    plans = transport_plans(p, q, cost, excluded=target, reg=0.1, num_iters=3)
    assert_close(plans.sum(dim=2), p.double())
    rows = torch.arange(NUM_ROIS)
    assert (plans[rows, target] == 0).all()
    assert (plans[rows, :, target] == 0).all()


def test_plans_of_extreme_and_strided_input():
    logits = 100 * torch.randn(NUM_ROIS, SIZE)
    p, q = class_distribution(logits, None, 1.0), torch.eye(SIZE)[:NUM_ROIS]
    *_, cost, _ = problem()
    plan = transport_plans(p, q, cost, reg=1e-3, num_iters=50)
    assert plan.isfinite().all()
    wide = torch.zeros(NUM_ROIS, 2 * SIZE)
    wide[:, ::2] = p
    strided = transport_plans(
        wide[:, ::2], q, cost.T.contiguous().T, reg=1e-3, num_iters=50
    )
    assert_close(strided, plan)


# --- exact transport and errors -----------------------------------------


def test_exact_costs_are_right_where_the_answer_is_known():
    *_, cost, _ = problem()
    corners = torch.eye(SIZE)
    actual = exact_costs(corners[[0, 1, 2]], corners[[3, 1, 5]], cost)
    assert_close(actual.float(), cost[[0, 1, 2], [3, 1, 5]])


def test_errors_vanish_with_small_reg_and_many_iterations():
    p, q, cost, target = problem()
    errors = transport_errors(
        p,
        q,
        cost,
        excluded=target,
        regs=[0.5, 0.05],
        num_iters=[500, 1],
    )
    assert errors.regs == (0.05, 0.5)
    assert errors.num_iters == (1, 500)
    assert errors.exact == pytest.approx(exact_costs(p, q, cost).mean().item())
    assert abs(errors.bias[0, 1]) < 0.02
    assert errors.bias[1, 1] > 0.05  # a converged plan is never cheaper
    assert errors.violations[0, 1] < 0.02
    assert errors.violations[1, 1] < 1e-6
    assert (errors.violations[:, 0] > errors.violations[:, 1]).all()


def test_violation_is_the_mass_that_misses_the_sink():
    p, q, cost, target = problem()
    errors = transport_errors(
        p, q, cost, excluded=target, regs=[0.1], num_iters=[3]
    )
    plans = transport_plans(p, q, cost, excluded=target, reg=0.1, num_iters=3)
    reached = plans.sum(dim=1)
    expected = (q - reached).clamp(min=0).sum(dim=1).mean()
    assert errors.violations[0, 0] == pytest.approx(expected.item(), rel=1e-4)


def test_the_cost_is_that_of_the_losss_arithmetic():
    p, q, cost, target = problem()
    options = dict(excluded=target, reg=0.005, num_iters=200)
    errors = transport_errors(
        p, q, cost, excluded=target, regs=[0.005], num_iters=[200]
    )
    loss = sinkhorn_cost(p, q, cost, **options).mean().item()
    assert errors.bias[0, 0] == pytest.approx(loss / errors.exact - 1)
    plans = transport_plans(p, q, cost, **options)
    assert loss < 0.9 * (plans * cost).sum() / NUM_ROIS


def test_equal_sides_have_no_relative_error():
    p, _, cost, _ = problem(excluded=False)
    errors = transport_errors(p, p, cost, regs=[0.1], num_iters=[5])
    assert np.isnan(errors.bias).all()
    picture = draw_errors(errors, reg=0.1, num_iters=5)
    assert num_colours(pixels(picture)) > 10


# --- logits of a live pair ----------------------------------------------


def test_observed_logits_are_those_of_the_step(build):
    distiller = build(neck_loss=None, roi_loss=None)
    _, everything, target = observe_logits(distiller, tiny_batch(), 1000)
    assert (target < 3).all()  # objects alone
    assert len(target) > 3
    _, few, _ = observe_logits(distiller, tiny_batch(), 3)
    rows = {tuple(row) for row in everything.tolist()}
    picked = {tuple(row) for row in few.tolist()}
    assert len(picked) == 3
    assert picked <= rows


def test_equal_detectors_have_equal_logits(build, teacher_checkpoint):
    distiller = build(student=teacher_config(), roi_loss=None, neck_loss=None)
    weights = distiller.teacher.state_dict()
    distiller.student.load_state_dict(weights)
    student, teacher, _ = observe_logits(distiller, tiny_batch(), 8)
    assert_close(student, teacher)


def test_images_without_objects_are_refused(build):
    batch = tiny_batch(boxes_per_image=0)
    with pytest.raises(ValueError, match='no sampled RoI .*--num-images'):
        observe_logits(build(neck_loss=None, roi_loss=None), batch, 8)


def make_config(coco, checkpoint, **changes):
    # three classes, as the tiny detectors have
    dataset = dict(
        type='CocoDataset',
        ann_file=str(coco['ann_file']),
        data_prefix=dict(img=str(coco['img_prefix'])),
        metainfo=dict(classes=('cat', 'dog', 'bus')),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackDetInputs'),
        ],
    )
    config = dict(
        model=distiller_config(checkpoint, **changes),
        train_dataloader=dict(
            batch_size=1,
            num_workers=2,
            persistent_workers=True,
            sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=dataset,
        ),
    )
    return Config(config)


def test_a_config_is_run_on_its_training_images(
    tmp_path, coco, teacher_checkpoint, make_matrix
):
    config = make_config(coco, teacher_checkpoint)
    subject = subject_of(config, num_images=3)
    assert subject.categories == ('cat', 'dog', 'bus', 'background')
    assert 1 <= len(subject.target) <= 32
    for seed in (1, 0):
        again = subject_of(config, num_images=3, seed=seed)
    assert_close(again.student_logits, subject.student_logits)

    make_matrix(size=4).save(tmp_path / 'cost.npz')
    config.model.logit_loss.cost = f'{tmp_path}/cost.npz'
    with pytest.raises(ValueError, match='made for other classes'):
        subject_of(config)


def test_the_students_checkpoint_is_loaded(coco, teacher_checkpoint):
    config = make_config(coco, teacher_checkpoint, student=teacher_config())
    subject = subject_of(config, str(teacher_checkpoint), num_images=3)
    assert_close(subject.student_logits, subject.teacher_logits)


def test_configs_without_transport_are_refused(coco, teacher_checkpoint):
    for logit_loss in (None, dict(type='KDLoss')):
        config = make_config(coco, teacher_checkpoint, logit_loss=logit_loss)
        with pytest.raises(ValueError, match='no DetectorDistiller whose'):
            subject_of(config)
    with pytest.raises(ValueError, match='no DetectorDistiller whose'):
        subject_of(Config(dict(model=teacher_config())))


# --- pictures and the inspection ----------------------------------------


def test_plans_are_drawn():
    p, q, cost, target = problem()
    plans = transport_plans(p, q, cost, excluded=target)
    names = [f'$name_{i}$' for i in range(SIZE)]
    picture = draw_plans(p, q, plans, names, ['one'] * 3)
    assert num_colours(pixels(picture)) > 20
    alone = draw_plans(p[:1], q[:1], plans[:1], names, ['one'])
    assert num_colours(pixels(alone)) > 20


@pytest.fixture
def small_grid(monkeypatch):
    for name, values in dict(REGS=(0.05, 0.2), NUM_ITERS=(1, 5)).items():
        monkeypatch.setattr(f'mmwkd.costs.transport.{name}', values)


def drawn_subject(blocks, **options):
    loss = WKDLogitLoss(**options)
    loss.ground_cost = blocks.cost(loss.kappa)
    logits = 3 * torch.randn(2, NUM_ROIS, 5)
    target = torch.tensor([0, 1, 4, 2])
    return TransportSubject(*logits, target, loss, blocks.categories)


@pytest.mark.usefixtures('small_grid')
@pytest.mark.parametrize('separate_target', [True, False])
def test_inspection_prints_and_draws(
    blocks, tmp_path, separate_target, capsys
):
    subject = drawn_subject(blocks, separate_target=separate_target, reg=0.07)
    paths = inspect_transport(subject, tmp_path, num_plans=1)
    printed = capsys.readouterr().out
    assert 'reg 0.07, 20 iterations' in printed  # the loss's own
    target = subject.target if separate_target else None
    sides = (class_distribution(z, target, 2.0) for z in subject[:2])
    exact = exact_costs(*sides, subject.loss.ground_cost).mean()
    assert f'exact {exact:.4g}' in printed
    for path in paths:
        assert str(path) in printed
        assert num_colours(pixels(path.read_bytes())) > 20
    before = paths[0].read_bytes()
    with pytest.raises(FileExistsError, match='plans.png exists.*--force'):
        inspect_transport(subject, tmp_path)
    assert paths[0].read_bytes() == before
    inspect_transport(subject, tmp_path, force=True)


@pytest.mark.usefixtures('small_grid')
def test_the_command_takes_changes_of_the_config(
    tmp_path, coco, teacher_checkpoint, capsys
):
    config = tmp_path / 'config.py'
    make_config(coco, teacher_checkpoint).dump(config)
    words = [config, '--num-images', 2, '--num-rois', 3]
    words = [*map(str, words), '--out-dir', str(tmp_path)]
    words += ['--cfg-options', 'model.logit_loss.reg=0.07']
    assert main(['cost', 'transport', *words]) == 0
    assert ' RoIs, reg 0.07' in capsys.readouterr().out
    assert (tmp_path / 'plans.png').is_file()
    assert main(['cost', 'transport', *words]) == 2
    assert '--force' in capsys.readouterr().err
    assert main(['cost', 'transport', *words, '--num-plans', '0']) == 2
    assert 'num_plans must be at least 1, got 0' in capsys.readouterr().err


def test_rois_are_drawn_the_same_with_any_checkpoint(
    coco, teacher_checkpoint, monkeypatch
):
    drawn = []
    monkeypatch.setattr(
        'mmwkd.costs.transport.observe_logits',
        lambda *_: drawn.append(torch.rand(1).item()) or (None,) * 3,
    )
    config = make_config(coco, teacher_checkpoint, student=teacher_config())
    for checkpoint in (None, str(teacher_checkpoint)):
        subject_of(config, checkpoint, num_images=1)
    assert drawn[0] == drawn[1]

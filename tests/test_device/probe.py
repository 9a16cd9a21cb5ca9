"""Run the losses on a device that is not there.

    python -m tests.test_device.probe FILE

A private-use device under ``FakeTensorMode`` has shapes, types and devices,
and no values: what would wait for it, or mix it with the host, is an error.
It stays registered for a process's life, hence one of its own. The file gets
what each case did, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import reduce_mean, register_all_modules
from torch import Tensor
from torch._subclasses.fake_tensor import (
    FakeTensorMode,
    unset_fake_temporarily,
)
from torch.utils import backend_registration

import mmwkd.functional as WF
import mmwkd.losses
from mmwkd.distillers.balance import GradientBalance
from mmwkd.distillers.chance import ChanceCheck
from mmwkd.distillers.finite import FiniteCheck
from mmwkd.distillers.matching import closest
from mmwkd.distillers.pixels import PixelAdapter
from mmwkd.distillers.places.base import Step as BothPasses
from mmwkd.distillers.places.box import recode
from mmwkd.distillers.places.location_logits import LocationLogitPlace
from mmwkd.distillers.predictions import Predictions, deltas_of_label
from tests.test_device.ledger import Ledger

DEVICE = 'imagined'
MIB = 2**20
# batch 16 of 800 x 1333, padded to 32, on P2 to P6, with 512 RoIs an image
FPN = tuple(
    (16, 256, -(-800 // stride), -(-1344 // stride))
    for stride in (4, 8, 16, 32, 64)
)
ROI_MAPS = (8192, 256, 7, 7)
NUM_ROIS = 8192
FEATURE_TERMS = {
    'fitnet': WF.fitnet_term,
    'pkd': WF.pkd_term,
    'cwd': WF.cwd_term,
    'diag': WF.gaussian_wasserstein,
    'full': lambda s, t, **options: WF.gaussian_wasserstein(
        s, t, covariance='full', **options
    ),
}

Step = Callable[[], Any]


class Backend(backend_registration._DummyBackendModule):
    """What autocast asks of a device."""

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        return [torch.float16, torch.bfloat16]


def main() -> None:
    register_all_modules(init_default_scope=True)
    backend_registration._setup_privateuseone_for_python_backend(
        DEVICE, Backend()
    )
    results = {
        kind: {
            # the losses again, which are warm by then
            name: run(prepare, warm=kind != 'memory')
            for name, prepare in cases.items()
        }
        for kind, cases in (
            ('functions', functions()),
            ('losses', losses()),
            ('modules', modules()),
            ('memory', memory()),
            ('faults', faults()),
        )
    }
    Path(sys.argv[1]).write_text(json.dumps(results, indent=1))
    # autograd's thread for the device runs on, and torch aborts a process
    # that ends by itself before the thread does
    os._exit(0)


def run(prepare: Callable[[], Step], *, warm: bool) -> dict[str, Any]:
    """Run a step, a second time if it is to be warm, and say what it did."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        started = time.perf_counter()
        try:
            step = prepare()
            if warm:
                step()
            with Ledger(DEVICE) as ledger:
                step()
            error = None
        except Exception as failure:
            return {'error': f'{type(failure).__name__}: {failure}'[:2000]}
        return {
            'error': error,
            'copies': ledger.copies_from_host,
            'waits': ledger.waits,
            'peak': round(ledger.peak / MIB, 1),
            'operators': ledger.operators,
            'seconds': round(time.perf_counter() - started, 2),
        }


def differentiate(function: Callable, student: Tensor, *others: Any) -> Step:
    """A step that computes a value and the student's gradient."""
    student.requires_grad_()

    def step() -> None:
        student.grad = None
        value = function(student, *others)
        terms = value if isinstance(value, tuple) else (value,)
        assert all(term.device.type == DEVICE for term in terms)
        sum(term.sum() for term in terms).backward()
        assert student.grad.device.type == DEVICE

    return step


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, dtype=dtype, device=DEVICE)


def labels(count: int, num_categories: int) -> Tensor:
    return torch.randint(num_categories, (count,), device=DEVICE)


def logits(count: int, num_categories: int, **options: Any) -> list[Tensor]:
    return [random(count, num_categories, **options) for _ in range(2)]


def functions() -> dict[str, Callable[[], Step]]:
    def on_logits(function: Callable, *, target: bool) -> Callable[[], Step]:
        return lambda: differentiate(
            function, *logits(6, 9), *([labels(6, 9)] if target else [])
        )

    def on_maps(function: Callable, size: int, **options: Any) -> Any:
        def prepare() -> Step:
            student, teacher = (
                random(3, 4, size, size),
                random(3, 4, size, size),
            )
            extents = torch.full((3, 2), 3.5, device=DEVICE)
            return differentiate(
                lambda s, t: tuple(
                    torch.stack(value)
                    if isinstance(
                        value := function(s, t, **options, **more), tuple
                    )
                    else value
                    for more in ({}, {'extents': extents})
                ),
                student,
                teacher,
            )

        return prepare

    def transport(**options: Any) -> Callable[[], Step]:
        return lambda: differentiate(
            lambda s, t, target: WF.transport_term(
                s, t, random(9, 9), target, **options
            ),
            *logits(6, 9),
            labels(6, 9),
        )

    def pure(function: Callable, *shapes: tuple[int, ...], **options: Any):
        def prepare() -> Step:
            arguments = [random(*shape) for shape in shapes]
            return lambda: function(*arguments, **options)

        return prepare

    cases = {
        'target_term': on_logits(WF.target_term, target=True),
        'kd_term': on_logits(WF.kd_term, target=False),
        'dkd_terms': on_logits(WF.dkd_terms, target=True),
        'joint_logit': on_logits(WF.joint_logit, target=False),
        'append_background': lambda: differentiate(
            WF.append_background, random(6, 8)
        ),
        'smooth_l1_term': lambda: differentiate(
            WF.smooth_l1_term, random(6, 4), random(6, 4)
        ),
        'transport_term': transport(),
        'sinkhorn_cost': lambda: differentiate(
            WF.sinkhorn_cost, *logits(6, 9), random(9, 9)
        ),
        # what only estimates a cost waits, and is run before training
        'interrelation_to_cost': pure(
            WF.interrelation_to_cost, (5, 5), kappa=2
        ),
        'add_unrelated': pure(WF.add_unrelated, (5, 5)),
        'classifier_interrelation': pure(WF.classifier_interrelation, (5, 8)),
        'centroid_interrelation': pure(WF.centroid_interrelation, (5, 8)),
        'confusion_interrelation': pure(WF.confusion_interrelation, (5, 5)),
        'paired_cka_interrelation': pure(
            lambda *rows: WF.paired_cka_interrelation(rows), (6, 8), (6, 8)
        ),
    }
    cases['standardize'] = on_maps(
        lambda s, t, **options: (
            WF.standardize(s, **options) - WF.standardize(t, **options)
        ),
        4,
    )
    for name, term in FEATURE_TERMS.items():
        for size in (4, 20):
            cases[f'{name} on maps of {size}'] = on_maps(term, size)
    for covariance in ('diag', 'full'):
        for size in (4, 20):
            cases[f'{covariance} grid on maps of {size}'] = on_maps(
                WF.gaussian_wasserstein, size, grid=4, covariance=covariance
            )
    return cases


def build_loss(name: str, num_categories: int, **options: Any) -> Any:
    loss = MODELS.build(dict(type=name, **options)).to(DEVICE)
    if hasattr(loss, 'ground_cost'):
        loss.ground_cost = random(num_categories, num_categories)
    return loss


def losses() -> dict[str, Callable[[], Step]]:
    def prepare(name: str, dtype: torch.dtype, compares: str) -> Step:
        loss = build_loss(name, 9)
        arguments, options = {
            'logits': lambda: ([*logits(6, 9, dtype=dtype), labels(6, 9)], {}),
            'boxes': lambda: (logits(6, 4, dtype=dtype), {}),
            'features': lambda: (
                [random(6, 4, 20, 18, dtype=dtype) for _ in range(2)],
                {'extents': torch.full((6, 2), 9.5, device=DEVICE)},
            ),
        }[compares]()
        weight = loss.roi_weights(labels(6, 9), random(6), 8)
        return differentiate(
            lambda *args: loss(
                *args,
                weight=weight,
                avg_factor=reduce_mean(weight.sum()).clamp(min=1),
                **options,
            ),
            *arguments,
        )

    return {
        f'{name} {str(dtype).removeprefix("torch.")}': (
            lambda name=name, dtype=dtype, compares=kind.compares: prepare(
                name, dtype, compares
            )
        )
        for name in mmwkd.losses.__all__
        if isinstance(kind := MODELS.get(name), type)
        for dtype in (torch.float32, torch.float16, torch.bfloat16)
    }


def modules() -> dict[str, Callable[[], Step]]:
    def pixels() -> Step:
        normalised = dict(
            type='DetDataPreprocessor', mean=[1.0, 2, 3], std=[4.0, 5, 6]
        )
        with unset_fake_temporarily():
            adapter = PixelAdapter(
                MODELS.build(dict(normalised, pad_size_divisor=32)),
                MODELS.build(
                    dict(
                        type='DetDataPreprocessor',
                        bgr_to_rgb=True,
                        pad_size_divisor=64,
                    )
                ),
            )
        samples = [
            DetDataSample(metainfo=dict(img_shape=shape))
            for shape in ((30, 60), (40, 64))
        ]
        images = random(2, 3, 64, 64)
        adapter._placed = random(2, 3)  # as after a first step
        return lambda: adapter(images, samples)

    def locations() -> Step:
        place = object.__new__(LocationLogitPlace)
        place.num_classes, place._max_locations = 4, 50
        place._strides = [8, 16]
        made = SimpleNamespace(
            scores=[random(2, 3, 4, size, size) for size in (8, 4)]
        )
        sizes = 40 + random(2, 2)
        return lambda: place.logits(BothPasses(made, made, sizes))[:2]

    def predictions(owned: bool) -> Step:
        scores = [random(2, 3, 4, size, size) for size in (8, 4)]
        student = Predictions(
            random(2, 240, 4),
            tuple(scores),
            random(2, 2),
            random(2, 240) > 0 if owned else None,
        )
        boxes, rows = random(2, 50, 4), random(2, 50, 5)

        def step() -> tuple[Tensor, Tensor]:
            index = student.most_confident(4, 50)
            match, _ = closest(student, boxes, rows, 4)
            return student.rows(match), student.clipped_boxes(index)

        return step

    def boxes() -> Step:
        coders = [
            DeltaXYWHBBoxCoder(target_stds=[std] * 4) for std in (0.1, 0.2)
        ]
        deltas, target = random(6, 12), labels(6, 4)
        return lambda: recode(deltas_of_label(deltas, target), *coders)

    def chance() -> Step:
        check = ChanceCheck(num_batches=2)
        rows, target = random(6, 9), labels(6, 9)
        return lambda: check(rows, target)

    def finite() -> Step:
        check = FiniteCheck()
        values = {'neck feature map 0': random(2, 4, 8, 8)}
        return lambda: (
            check._pending.clear() or check([random(1)[0]], values, [])
        )

    def balance() -> Step:
        factors = GradientBalance(
            {'neck': 1.0}, {'neck': ''}, 20, features=['neck']
        )
        for name, buffer in list(factors.named_buffers()):
            setattr(factors, name, random(1).to(buffer.dtype))
        maps = [random(2, 4, 8, 8).requires_grad_()]

        def step() -> dict[str, Tensor]:
            losses = {'loss_cls': maps[0].sin().sum()}
            neck = (maps[0] ** 2).sum()
            factors.measure(losses, {'neck': {'loss': neck}}, maps)
            return factors.factors()

        return step

    return {
        'balance': balance,
        'pixels': pixels,
        'locations': locations,
        'predictions': lambda: predictions(owned=False),
        'predictions of RoIs': lambda: predictions(owned=True),
        'boxes': boxes,
        'chance': chance,
        'finite': finite,
        'sum over ranks': lambda: lambda: reduce_mean(random(3).sum()),
    }


def memory() -> dict[str, Callable[[], Step]]:
    def wkd_l(num_categories: int, dtype: torch.dtype) -> Step:
        loss = build_loss('WKDLogitLoss', num_categories)
        return differentiate(
            loss,
            *logits(NUM_ROIS, num_categories, dtype=dtype),
            labels(NUM_ROIS, num_categories),
        )

    def on_maps(
        loss: dict[str, Any], shape: tuple[int, ...], dtype: torch.dtype
    ) -> Step:
        student, teacher = (random(*shape, dtype=dtype) for _ in range(2))
        return differentiate(MODELS.build(loss), student, teacher)

    def rival(name: str, dtype: torch.dtype) -> Step:
        target = labels(NUM_ROIS, 1204)
        return differentiate(
            MODELS.build(dict(type=name)),
            *logits(NUM_ROIS, 1204, dtype=dtype),
            target,
        )

    def on_levels(loss: dict[str, Any], dtype: torch.dtype) -> Step:
        module = MODELS.build(loss)
        levels = [
            [random(*shape, dtype=dtype) for _ in range(2)] for shape in FPN
        ]
        for student, _ in levels:
            student.requires_grad_()

        def step() -> None:
            for student, _ in levels:
                student.grad = None
            torch.stack([module(*level) for level in levels]).mean().backward()

        return step

    cases: dict[str, Callable[[], Step]] = {}
    for dtype in (torch.float32, torch.float16):
        end = str(dtype).removeprefix('torch.')
        for num_categories in (81, 1204):
            cases[f'WKD-L K={num_categories}, {end}'] = (
                lambda k=num_categories, dtype=dtype: wkd_l(k, dtype)
            )
        for name in ('KDLoss', 'DKDLoss'):
            cases[f'{name} K=1204, {end}'] = lambda name=name, dtype=dtype: (
                rival(name, dtype)
            )
        for grid in (1, 4):
            loss = dict(type='WKDFeatureLoss', grid=grid)
            cases[f'WKD-F grid {grid} on P2 to P6, {end}'] = (
                lambda loss=loss, dtype=dtype: on_levels(loss, dtype)
            )
        for name, loss in {
            'WKD-F grid 1': dict(type='WKDFeatureLoss'),
            'WKD-F grid 4': dict(type='WKDFeatureLoss', grid=4),
            'WKD-F full': dict(type='WKDFeatureLoss', covariance='full'),
            'WKD-F standardized': dict(
                type='WKDFeatureLoss', grid=8, standardize=True
            ),
            'FitNet': dict(type='FitNetLoss'),
            'PKD': dict(type='PKDLoss'),
            'CWD': dict(type='CWDLoss'),
        }.items():
            for place, shape in {'P2': FPN[0], 'RoIs': ROI_MAPS}.items():
                cases[f'{name} on {place}, {end}'] = (
                    lambda loss=loss, shape=shape, dtype=dtype: on_maps(
                        loss, shape, dtype
                    )
                )
    return cases


def faults() -> dict[str, Callable[[], Step]]:
    """What must not pass unnoticed."""
    return {
        'mixed devices': lambda: lambda: random(3) + torch.randn(3),
        'item': lambda: lambda: random(3).sum().item(),
        'branch': lambda: lambda: bool(random(3).isfinite().all()),
        'selection': lambda: lambda: (rows := random(3))[rows > 0],
        'copy from host': lambda: lambda: torch.ones(3).to(DEVICE),
        'copy to host': lambda: lambda: random(3).cpu(),
        # of 1 MiB each: square, sine and what their derivatives make
        'gradient': lambda: differentiate(
            lambda student: (student * student).sin(), random(512, 512)
        ),
    }


if __name__ == '__main__':
    main()

"""Time and memory of a distillation step against its unavoidable parts.

    python benchmarks/step.py [--pair NAME] [--teacher-options] [--out DIR]

The parts are measured alternately with the step in the same process: the
student's own step (forward, backward), and the teacher's forward on the same
images and RoIs. The student draws the same RoIs in each, from one seed. With
--teacher-options the teacher alone is measured under each of its options, and
what they change in the losses. Runs on the GPU where there is one.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger
from timing import alternate, peak_extra_mib, report

from mmwkd.distillers import DetectorDistiller
from mmwkd.testing import tiny_batch, tiny_faster_rcnn

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
REAL_PAIRS = {
    'r18-from-r101': (
        'faster-rcnn_r18_fpn_1x_coco.py',
        'mmdet::faster_rcnn/faster-rcnn_r101_fpn_2x_coco.py',
    ),
    'mobilenetv2-from-r50': (
        'faster-rcnn_mobilenetv2_fpn_1x_coco.py',
        'mmdet::faster_rcnn/faster-rcnn_r50_fpn_2x_coco.py',
    ),
}
# file in configs/_base_/losses, and which of its losses
LOSSES = {
    'kd': ('kd.py', ('logit_loss',)),
    'wkd-l': ('wkd.py', ('logit_loss',)),
    'wkd-f': ('wkd.py', ('neck_loss',)),
    'wkd-f-roi': ('wkd.py', ('roi_loss',)),
    'wkd-lf': ('wkd.py', ('logit_loss', 'roi_loss')),
}
TEACHER_OPTIONS: dict[str, dict[str, Any]] = {
    'none': {},
    'fuse_conv_bn': dict(fuse_conv_bn=True),
    'channels_last': dict(channels_last=True),
    'autocast bfloat16': dict(autocast='bfloat16'),
    'compile': dict(compile=True),
    'fuse_conv_bn, channels_last': dict(fuse_conv_bn=True, channels_last=True),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--pair', choices=('tiny', *REAL_PAIRS), default='tiny'
    )
    parser.add_argument('--teacher-options', action='store_true')
    parser.add_argument('--size', type=int, nargs=2, default=(256, 256))
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/bench'))
    return parser.parse_args()


def build(losses: str, pair: str, **teacher_options: Any) -> DetectorDistiller:
    """A distiller with random weights, drawn from one seed."""
    torch.manual_seed(0)
    file, places = LOSSES[losses]
    pieces = Config.fromfile(CONFIGS / '_base_/losses' / file)
    student, teacher = models(pair)
    distiller = MODELS.build(
        dict(
            type='DetectorDistiller',
            student=student,
            teacher=dict(config=teacher, allow_random=True, **teacher_options),
            **{name: pieces[name] for name in places},
        )
    )
    if torch.cuda.is_available():
        distiller.cuda()
    return distiller.train()


def models(pair: str) -> tuple[ConfigDict, ConfigDict | str]:
    """Student and teacher."""
    if pair == 'tiny':
        return (
            tiny_faster_rcnn(num_classes=80, num_rois=512),
            tiny_faster_rcnn(
                num_classes=80, base_channels=32, neck_channels=64
            ),
        )
    file, teacher = REAL_PAIRS[pair]
    student = Config.fromfile(CONFIGS / 'faster_rcnn' / file).model
    student.backbone.init_cfg = None
    return student, teacher


class Step:
    """A distiller's step and its parts, on images of one size."""

    def __init__(
        self,
        distiller: DetectorDistiller,
        size: tuple[int, int],
        num_images: int = 2,
    ) -> None:
        self.distiller = distiller
        self.batch = distiller.data_preprocessor(
            tiny_batch([size] * num_images, num_classes=80, boxes_per_image=8),
            training=True,
        )
        self.rois: list[torch.Tensor] = []
        extractor = distiller.student.roi_head.bbox_roi_extractor
        extractor.register_forward_pre_hook(self._keep_rois)
        self.student()  # so that there are RoIs

    def _keep_rois(self, module: torch.nn.Module, inputs: tuple) -> None:
        self.rois = [inputs[1]]

    def _train(self, model: torch.nn.Module) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model.zero_grad()
        total, terms = model.parse_losses(model(**self.batch, mode='loss'))
        total.backward()
        return terms

    def whole(self) -> dict[str, torch.Tensor]:
        return self._train(self.distiller)

    def student(self) -> None:
        self._train(self.distiller.student)

    def teacher(self) -> None:
        needs_rois = {'logit', 'roi'} & set(self.distiller.places)
        self.distiller._teacher.observe(
            self.batch['inputs'],
            self.rois if needs_rois else [],
            logits='logit' in self.distiller.places,
        )


def step_row(losses: str, args: argparse.Namespace) -> dict[str, Any]:
    step = Step(build(losses, args.pair), tuple(args.size))
    parts: dict[str, Callable[[], Any]] = {
        'whole': step.whole,
        'student': step.student,
        'teacher': step.teacher,
    }
    times = alternate(parts, args.rounds)
    peaks = {name: peak_extra_mib(run) for name, run in parts.items()}
    median = {name: value['median_ms'] for name, value in times.items()}
    return {
        'losses': losses,
        'student ms': median['student'],
        'teacher ms': median['teacher'],
        'distiller ms': median['whole'],
        'iqr ms': times['whole']['iqr_ms'],
        'overhead %': 100
        * (median['whole'] / (median['student'] + median['teacher']) - 1),
        **{f'{name} peak MiB': peak for name, peak in peaks.items()},
    }


def option_row(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """The teacher with one option, alternating with a plain one."""
    plain, quick = (
        Step(build('wkd-lf', args.pair, **options), tuple(args.size))
        for options in ({}, TEACHER_OPTIONS[name])
    )
    times = alternate(
        {'plain': plain.teacher, 'quick': quick.teacher}, args.rounds
    )
    expected, actual = (
        {key: value.detach() for key, value in step.whole().items()}
        for step in (plain, quick)
    )
    change = max(
        float((actual[key] - value).abs() / value.abs())
        for key, value in expected.items()
        if 'wkd' in key
    )
    return {
        'option': name,
        'plain ms': times['plain']['median_ms'],
        'with it ms': times['quick']['median_ms'],
        'iqr ms': times['quick']['iqr_ms'],
        'speed-up': times['plain']['median_ms'] / times['quick']['median_ms'],
        'largest relative change of a loss': change,
    }


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    register_all_modules()
    MMLogger.get_current_instance().setLevel('ERROR')
    height, width = args.size
    setting = f'{args.pair}, 2 images of {height} x {width}'
    if args.teacher_options:
        report(
            f"The teacher's forward, {setting}",
            [option_row(name, args) for name in TEACHER_OPTIONS],
            args.out / f'teacher_{args.pair}.json',
        )
        return
    report(
        f'A step, {setting}',
        [step_row(losses, args) for losses in LOSSES],
        args.out / f'step_{args.pair}.json',
    )


if __name__ == '__main__':
    main()

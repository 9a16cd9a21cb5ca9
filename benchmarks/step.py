"""Time and memory of a distillation step against its unavoidable parts.

    python benchmarks/step.py [--pair NAME] [--teacher-options] [--out DIR]

The parts are measured alternately with the step in the same process: the
student's own step (forward, backward), and the teacher's forward on the same
images and RoIs. The student draws the same RoIs in each, from one seed. With
--teacher-options the teacher alone is measured under each of its options, and
what they change in the losses. Runs on the GPU where there is one.
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger
from timing import (
    alternate,
    median_interval,
    peak_extra_mib,
    report,
    time_rounds,
)

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
    'autocast bfloat16': dict(autocast='bfloat16'),
    'image_scale 0.5': dict(image_scale=0.5),
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


def prepare() -> None:
    """Make mmdet's models known, and its log quiet."""
    register_all_modules()
    MMLogger.get_current_instance().setLevel('ERROR')


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
            balance_interval=0,  # one step in so many also measures it
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
        seed: int = 0,
    ) -> None:
        self.distiller = distiller
        self.batch = distiller.data_preprocessor(
            tiny_batch(
                [size] * num_images,
                num_classes=80,
                boxes_per_image=8,
                seed=seed,
            ),
            training=True,
        )
        self.rois: list[torch.Tensor] = []
        extractor = distiller.student.roi_head.bbox_roi_extractor
        extractor.register_forward_pre_hook(self._keep_rois)
        self.student()  # so that there are RoIs

    def _keep_rois(self, module: torch.nn.Module, inputs: tuple) -> None:
        self.rois = [inputs[1]]

    def train(self, model: torch.nn.Module) -> dict[str, torch.Tensor]:
        """Forward and backward of the distiller, or of what it consists of."""
        torch.manual_seed(0)
        model.zero_grad()
        losses = model(**self.batch, mode='loss')
        total, terms = self.distiller.parse_losses(losses)
        total.backward()
        return terms

    def whole(self) -> dict[str, torch.Tensor]:
        return self.train(self.distiller)

    def student(self) -> None:
        self.train(self.distiller.student)

    def teacher(self) -> None:
        needs_rois = {'logit', 'roi'} & set(self.distiller.places)
        self.distiller._teacher.observe(
            self.batch['inputs'],
            self.rois if needs_rois else [],
            logits='logit' in self.distiller.places,
        )

    def parts(self) -> dict[str, Callable[[], Any]]:
        return {
            'whole': self.whole,
            'student': self.student,
            'teacher': self.teacher,
        }


def compare_parts(
    parts: dict[str, Callable[[], Any]], rounds: int
) -> dict[str, float]:
    """Times of the parts of a step, and what the whole takes beyond them.

    The overhead is that of each round, so that drift of the machine is in
    both; its interval is that of the median.
    """
    times = time_rounds(parts, rounds)
    low, _, high = statistics.quantiles(times['whole'], n=4)
    overheads = [
        100 * (whole / (student + teacher) - 1)
        for whole, student, teacher in zip(
            times['whole'], times['student'], times['teacher'], strict=True
        )
    ]
    least, most = median_interval(overheads)
    return {
        'student ms': statistics.median(times['student']),
        'teacher ms': statistics.median(times['teacher']),
        'distiller ms': statistics.median(times['whole']),
        'iqr ms': high - low,
        'overhead %': statistics.median(overheads),
        'overhead from %': least,
        'overhead to %': most,
    }


def step_row(losses: str, args: argparse.Namespace) -> dict[str, Any]:
    step = Step(build(losses, args.pair), tuple(args.size))
    peaks = {name: peak_extra_mib(run) for name, run in step.parts().items()}
    return {
        'losses': losses,
        **compare_parts(step.parts(), args.rounds),
        **{f'{name} peak MiB': peak for name, peak in peaks.items()},
    }


def option_figures(
    name: str, pair: str, size: tuple[int, int], rounds: int
) -> dict[str, float]:
    """The teacher with one option, alternating with a plain one."""
    plain, quick = (
        Step(build('wkd-lf', pair, **options), size)
        for options in ({}, TEACHER_OPTIONS[name])
    )
    times = alternate({'plain': plain.teacher, 'quick': quick.teacher}, rounds)
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
        'plain ms': times['plain']['median_ms'],
        'with it ms': times['quick']['median_ms'],
        'iqr ms': times['quick']['iqr_ms'],
        'speed-up': times['plain']['median_ms'] / times['quick']['median_ms'],
        'largest relative change of a loss': change,
    }


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    prepare()
    height, width = args.size
    setting = f'{args.pair}, 2 images of {height} x {width}'
    if args.teacher_options:
        report(
            f"The teacher's forward, {setting}",
            [
                {'option': name}
                | option_figures(name, args.pair, (height, width), args.rounds)
                for name in TEACHER_OPTIONS
            ],
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

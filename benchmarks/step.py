"""Cost of a distillation step against the sum of its unavoidable parts.

    python benchmarks/step.py [--real] [--rounds N] [--threads N] [--out DIR]

The parts are measured alternately with the step in the same process: the
student's own step (forward, backward), and the teacher's forward on the same
images and RoIs. The student draws the same RoIs in each, from one seed.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.logging import MMLogger
from timing import alternate, report

from mmwkd.distillers import DetectorDistiller
from mmwkd.testing import tiny_batch, tiny_faster_rcnn

ROOT = Path(__file__).resolve().parents[1]
LOSSES = {
    'wkd-l': ('logit_loss',),
    'wkd-f': ('neck_loss',),
    'wkd-f-roi': ('roi_loss',),
    'wkd-lf': ('logit_loss', 'roi_loss'),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--real',
        action='store_true',
        help='ResNet-101 to ResNet-18, 80 classes',
    )
    parser.add_argument('--size', type=int, nargs=2, default=(256, 256))
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/bench'))
    return parser.parse_args()


def build(losses: tuple[str, ...], real: bool) -> DetectorDistiller:
    pieces = Config.fromfile(ROOT / 'configs/_base_/losses/wkd.py')
    if real:
        folder = ROOT / 'configs/faster_rcnn'
        student = Config.fromfile(folder / 'faster-rcnn_r18_fpn_1x_coco.py')
        student = student.model
        student.backbone.init_cfg = None
        teacher = 'mmdet::faster_rcnn/faster-rcnn_r101_fpn_2x_coco.py'
    else:
        student = tiny_faster_rcnn(num_classes=80, num_rois=512)
        teacher = tiny_faster_rcnn(
            num_classes=80, base_channels=32, neck_channels=64
        )
    distiller = MODELS.build(
        dict(
            type='DetectorDistiller',
            student=student,
            teacher=dict(config=teacher, allow_random=True),
            **{name: pieces[name] for name in losses},
        )
    )
    return distiller.train()


def measure(
    name: str, losses: tuple[str, ...], args: argparse.Namespace
) -> dict[str, object]:
    distiller = build(losses, args.real)
    batch = distiller.data_preprocessor(
        tiny_batch([tuple(args.size)] * 2, num_classes=80, boxes_per_image=8),
        training=True,
    )
    rois: list[torch.Tensor] = []
    distiller.student.roi_head.bbox_roi_extractor.register_forward_pre_hook(
        lambda module, inputs: rois.__setitem__(slice(None), [inputs[1]])
    )

    def step(model: torch.nn.Module) -> Callable[[], None]:
        def run() -> None:
            torch.manual_seed(0)
            model.zero_grad()
            total, _ = model.parse_losses(model(**batch, mode='loss'))
            total.backward()

        return run

    step(distiller.student)()  # so that there are RoIs
    needs_rois = losses != ('neck_loss',)

    def teacher() -> None:
        distiller._teacher.observe(
            batch['inputs'],
            rois if needs_rois else [],
            logits='logit_loss' in losses,
        )

    times = alternate(
        {
            'distiller': step(distiller),
            'student': step(distiller.student),
            'teacher': teacher,
        },
        args.rounds,
    )
    parts = times['student']['median_ms'] + times['teacher']['median_ms']
    median = times['distiller']['median_ms']
    return {
        'losses': name,
        'student ms': times['student']['median_ms'],
        'teacher ms': times['teacher']['median_ms'],
        'distiller ms': median,
        'iqr ms': times['distiller']['iqr_ms'],
        'overhead %': 100 * (median / parts - 1),
    }


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    register_all_modules()
    MMLogger.get_current_instance().setLevel('ERROR')
    kind = 'real (R101 to R18)' if args.real else 'tiny'
    height, width = args.size
    report(
        f'A step, {kind} detectors, 2 images of {height} x {width}',
        [measure(name, losses, args) for name, losses in LOSSES.items()],
        args.out / ('step_real.json' if args.real else 'step_tiny.json'),
    )


if __name__ == '__main__':
    main()

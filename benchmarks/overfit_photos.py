"""Overfit a teacher on a few real photographs and distil a student from it.

A detector that learns at all reaches a high AP on photographs it was trained
on; one that is distilled wrongly does not. Both detectors are scored by
CocoMetric on the photographs they saw, so the APs say that the machinery
works on real input, and nothing about generalisation.

    python benchmarks/overfit_photos.py --data-root DIR --work-dir work_dirs/x

DIR is in COCO's layout (annotations/instances_train2017.json, train2017/).
"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.runner import Runner

import mmwkd  # noqa: F401  registers the components

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # tests/ is not installed

from tests.shrinking import shrink  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--data-root', type=Path, required=True)
    parser.add_argument('--work-dir', type=Path, required=True)
    parser.add_argument('--num-images', type=int, default=8)
    parser.add_argument('--teacher-iters', type=int, default=400)
    parser.add_argument('--student-iters', type=int, default=400)
    parser.add_argument('--image-size', type=int, default=256)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--queries',
        action='store_true',
        help='a DINO and a Deformable DETR in place of two Faster R-CNNs',
    )
    return parser.parse_args()


def write_subset(data_root: Path, out: Path, num_images: int) -> None:
    """Annotations of photographs with a few large objects each."""
    source = data_root / 'annotations' / 'instances_train2017.json'
    document = json.loads(source.read_text())
    boxes = Counter(a['image_id'] for a in document['annotations'])
    smallest: dict[int, float] = {}
    for annotation in document['annotations']:
        image, side = annotation['image_id'], min(annotation['bbox'][2:])
        smallest[image] = min(side, smallest.get(image, side))
    # in minutes, a detector from scratch learns large objects alone
    large = [i for i in boxes if 2 <= boxes[i] <= 4 and smallest[i] >= 64]
    chosen = set(sorted(large)[:num_images])
    document['images'] = [i for i in document['images'] if i['id'] in chosen]
    document['annotations'] = [
        a for a in document['annotations'] if a['image_id'] in chosen
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document))


def run_config(args: argparse.Namespace, name: str, iters: int) -> Config:
    """Config of a run on the subset; the model is left to the caller."""
    size = (args.image_size, args.image_size)
    ann_file = str((args.work_dir / 'subset.json').resolve())
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='Resize', scale=size, keep_ratio=True),
        dict(
            type='PackDetInputs',
            meta_keys=(
                'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor',
            ),
        ),
    ]  # fmt: skip

    def dataloader(batch_size: int, sampler: str, test_mode: bool) -> dict:
        return dict(
            batch_size=batch_size,
            num_workers=0,
            sampler=dict(type=sampler, shuffle=not test_mode),
            dataset=dict(
                type='CocoDataset',
                data_root=str(args.data_root),
                ann_file=ann_file,
                data_prefix=dict(img='train2017/'),
                test_mode=test_mode,
                pipeline=pipeline,
            ),
        )

    cfg = Config.fromfile(
        ROOT / 'configs/minicoco/faster-rcnn_r18-half_fpn_800_minicoco.py'
    )
    cfg.work_dir = str(args.work_dir / name)
    cfg.train_dataloader = dataloader(4, 'InfiniteSampler', False)
    cfg.val_dataloader = dataloader(4, 'DefaultSampler', True)
    cfg.val_evaluator.ann_file = ann_file
    cfg.test_dataloader, cfg.test_evaluator, cfg.test_cfg = None, None, None
    cfg.train_cfg.update(max_iters=iters, val_interval=iters)
    cfg.param_scheduler[1].end = iters
    cfg.optim_wrapper.optimizer = dict(type='AdamW', lr=1e-3)
    cfg.default_hooks.checkpoint.interval = iters
    cfg.randomness.seed = args.seed
    cfg.vis_backends, cfg.visualizer.vis_backends = [], []
    cfg.experiment_name = f'{name}_{time.time_ns()}'
    return cfg


def detector(cfg: Config, base_channels: int, neck_channels: int) -> None:
    """Give minicoco's detector another width, and COCO's 80 categories."""
    model = cfg.model
    model.backbone.base_channels = base_channels
    model.neck.update(
        in_channels=[base_channels * 2**i for i in range(4)],
        out_channels=neck_channels,
    )
    model.rpn_head.update(
        in_channels=neck_channels, feat_channels=neck_channels
    )
    model.roi_head.bbox_roi_extractor.update(
        out_channels=neck_channels, finest_scale=28
    )
    model.roi_head.bbox_head.update(in_channels=neck_channels, num_classes=80)


def with_queries(config: str, factor: int) -> Config:
    """A small detector with queries, for COCO's 80 categories."""
    model = get_config(f'mmdet::{config}').model
    model.backbone.depth = 18
    model.neck.in_channels = [128, 256, 512]
    model.bbox_head.embed_dims = 256
    return shrink(model, num_classes=80, factor=factor)


def train(cfg: Config) -> dict[str, Any]:
    started = time.time()
    runner = Runner.from_cfg(cfg)
    runner.train()
    scalars = runner.message_hub.log_scalars
    # without a single detection CocoMetric reports nothing
    ap, ap50 = (
        float(scalars[name].current()) if name in scalars else 0.0
        for name in ('val/coco/bbox_mAP', 'val/coco/bbox_mAP_50')
    )
    distances = {  # once the balance has settled, and in the end
        name.removeprefix('train/'): [
            float(values.data[0][part].mean())
            for part in (slice(100, 120), slice(-20, None))
        ]
        for name, values in scalars.items()
        if 'loss_wkd' in name
    }
    return {
        'box AP': ap,
        'AP50': ap50,
        'minutes': (time.time() - started) / 60,
        'distances': distances,
    }


def main() -> None:
    args = parse_args()
    args.data_root = args.data_root.resolve()
    register_all_modules()
    write_subset(
        args.data_root, args.work_dir / 'subset.json', args.num_images
    )

    teacher_cfg = run_config(args, 'teacher', args.teacher_iters)
    student_cfg = run_config(args, 'student', args.student_iters)
    if args.queries:
        teacher_cfg.model = with_queries(
            'dino/dino-4scale_r50_8xb2-12e_coco.py', 4
        )
        student_cfg.model = with_queries(
            'deformable_detr/deformable-detr_r50_16xb2-50e_coco.py', 8
        )
    else:
        detector(teacher_cfg, 32, 64)
        detector(student_cfg, 16, 32)
    teacher_model = teacher_cfg.model.to_dict()
    student_model = student_cfg.model.to_dict()
    results = {'teacher': train(teacher_cfg)}
    results['student alone'] = train(student_cfg)

    distilled_cfg = run_config(args, 'distilled', args.student_iters)
    losses = Config.fromfile(ROOT / 'configs/_base_/losses/wkd.py')
    distilled_cfg.model = dict(
        type='DetectorDistiller',
        student=student_model,
        teacher=dict(
            config=teacher_model,
            checkpoint=str(
                args.work_dir / 'teacher' / f'iter_{args.teacher_iters}.pth'
            ),
        ),
        logit_loss=losses.logit_loss,
        **({} if args.queries else dict(roi_loss=losses.roi_loss)),
    )
    results['distilled'] = train(distilled_cfg)

    report = dict(
        options={k: str(v) for k, v in vars(args).items()},
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        results=results,
    )
    (args.work_dir / 'results.json').write_text(json.dumps(report, indent=2))
    for name, values in results.items():
        print(name, values)


if __name__ == '__main__':
    main()

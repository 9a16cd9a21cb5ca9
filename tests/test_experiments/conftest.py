"""Small stand-ins for what a training logs."""

import json


def scalars_text(iterations, **extra):
    """What mmengine logs: a line for training, then one of validation."""
    lines = []
    for iteration in iterations:
        train = {
            'lr': 0.04,
            'loss': 3.0 / iteration + sum(extra.values()),
            'loss_cls': 2.0 / iteration,
            'loss_bbox': 1.0 / iteration,
            **extra,
            'acc': 93.0,
            'iter': iteration,
            'step': iteration,
        }
        validation = {
            'coco/bbox_mAP': iteration / 1000,
            'coco/bbox_mAP_50': iteration / 500,
            'coco/bbox_mAP_75': iteration / 2000,
            'coco/bbox_mAP_s': iteration / 4000,
            'coco/bbox_mAP_m': iteration / 1000,
            'coco/bbox_mAP_l': -1.0,
            'time': 0.1,
            'step': iteration,
        }
        lines += [json.dumps(train), json.dumps(validation)]
    return '\n'.join(lines) + '\n'

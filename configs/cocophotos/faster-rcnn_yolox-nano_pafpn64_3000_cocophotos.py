# A teacher: heads of Faster R-CNN on a YOLOX-nano of COCO that stays as it is.
_base_ = [
    '../_base_/models/cocophotos_faster-rcnn_yolox-nano.py',
    '../_base_/datasets/cocophotos_detection.py',
    '../_base_/schedules/cocophotos_1000.py',
    '../_base_/minicoco_runtime.py',
]
custom_imports = dict(imports=['mmwkd', 'studies.photographs.inherit'])
max_iters = 3000
train_cfg = dict(max_iters=max_iters, val_interval=1000)
_base_.param_scheduler[-1].update(end=max_iters)
# in bfloat16 an RPN's suppression of duplicates does not run
optim_wrapper = dict(
    type='OptimWrapper',
    paramwise_cfg=dict(custom_keys={'neck': dict(lr_mult=0)}),
)
# a student starts with the heads of iteration 1200
default_hooks = dict(checkpoint=dict(interval=600, max_keep_ckpts=-1))

# What the stop at half asks of the losses on RoIAlign maps, with another
# teacher: that of minicoco_methods.py trained anew, on another kind of CPU, so
# that its weights differ. Images and seeds are those of minicoco_tuning.py.
_pair = 'faster-rcnn_r18-eighth-from-r18-half_fpn_800_minicoco.py'
_weight = 'model.roi_loss.loss_weight'
_tune_root = 'data/minicoco_tune/'
_ann_file = _tune_root + 'annotations/instances_val.json'

dataset = 'minicoco, tuning split, second teacher'
seeds = [10]
teacher = dict(
    config='configs/minicoco/faster-rcnn_r18-half_fpn_800_minicoco.py',
    checkpoint='work_dirs/minicoco_teacher/iter_800.pth',
)
cfg_options = {
    'model.teacher.checkpoint': teacher['checkpoint'],
    'train_cfg.val_interval': 800,
    'val_dataloader.dataset.data_root': _tune_root,
    'val_evaluator.ann_file': _ann_file,
    'test_dataloader.dataset.data_root': _tune_root,
    'test_evaluator.ann_file': _ann_file,
}
baseline = 'wkd-lf-fast'
rows = {
    'wkd-lf-fast': dict(config=f'configs/minicoco/wkd-lf-fast_{_pair}'),
    'wkd-lf-fast-grid-7_0.07': dict(
        config=f'configs/minicoco/wkd-lf-fast_{_pair}',
        cfg_options={'model.roi_loss.grid': 7, _weight: 0.07},
    ),
    'fitnet-roi-fast_9': dict(
        config=f'configs/minicoco/fitnet-roi-fast_{_pair}',
        cfg_options={_weight: 9.0},
    ),
}

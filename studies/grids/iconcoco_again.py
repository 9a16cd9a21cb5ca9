# The nearest rival with the stop at half on iconcoco, beside ours, with
# another teacher: that of iconcoco.py trained anew, on another kind of CPU, so
# that its weights differ. The table has one more row, of a variant that was
# left out.
_base_ = './iconcoco.py'
_pair = 'faster-rcnn_mobilenetv2_fpn48-from-fpn96_700_iconcoco.py'

dataset = 'iconcoco, second teacher'
seeds = [0, 1, 2]
baseline = 'wkd-lf-fast'
rows = {
    '_delete_': True,
    **{
        method: dict(config=f'configs/iconcoco/{method}_{_pair}')
        for method in ('wkd-lf-fast', 'fitnet-roi-fast')
    },
    'wkd-l': dict(config=f'configs/iconcoco/wkd-l_{_pair}', num_seeds=1),
}

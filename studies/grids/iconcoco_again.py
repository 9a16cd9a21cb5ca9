# The nearest rival with the stop at half on iconcoco, beside ours, with
# another teacher: that of iconcoco.py trained anew, on another kind of CPU, so
# that its weights differ. The table has one more row, of a variant that was
# left out.
_base_ = './iconcoco.py'

dataset = 'iconcoco, second teacher'
seeds = [0, 1, 2]
baseline = 'wkd-lf-fast'
rows = {
    '_delete_': True,
    'wkd-lf-fast': dict(
        losses='wkd_small', places=['logit', 'roi'], **_base_._fast
    ),
    'fitnet-roi-fast': dict(losses='fitnet', places=['roi'], **_base_._fast),
    'wkd-l': dict(losses='wkd_small', places=['logit'], num_seeds=1),
}

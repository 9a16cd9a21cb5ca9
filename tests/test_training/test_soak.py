"""Nothing piles up in a run, however long it is."""

from pathlib import Path

import pytest
from mmdet.registry import MODELS

BENCHMARKS = Path(__file__).resolve().parents[2] / 'benchmarks'
STEADY = ('tensors', 'hooks', 'open files', 'threads')


@pytest.fixture
def soak(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import soak

    return soak


@pytest.mark.slow
def test_sixty_iterations_with_everything_on_leave_nothing(
    soak, train, run_config
):
    run_config.custom_hooks = [
        dict(type='DistillationWeightHook', warmup=5, by_epoch=False),
        dict(type='EMAHook', momentum=0.1),
    ]
    run_config.default_hooks.checkpoint.update(
        type='SafeCheckpointHook', interval=5, max_keep_ckpts=2
    )
    watch = soak.Watch(12)  # where an epoch of 4 ends
    train(hooks=[watch], train_cfg=dict(max_epochs=15, val_interval=3))
    assert [row['iteration'] for row in watch.rows] == [12, 24, 36, 48, 60]
    _, first, *later = watch.rows  # some things are made once, at the start
    for name in STEADY:
        counts = [row[name] for row in later]
        assert max(counts) <= first[name], name
        assert min(counts) > 0


def test_counts_notice_what_piles_up(soak, run_config):
    distiller = MODELS.build(run_config.model)
    before = soak.counts(distiller)
    kept = [distiller.adapters.neck_0.weight * 1]
    distiller.teacher.backbone.register_forward_hook(lambda *args: None)
    distiller.student.neck.register_full_backward_hook(lambda *args: None)
    with open('/dev/null'):
        after = soak.counts(distiller)
    assert after['tensors'] == before['tensors'] + len(kept)
    assert after['hooks'] == before['hooks'] + 2
    assert after['open files'] == before['open files'] + 1

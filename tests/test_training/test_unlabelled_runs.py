"""A run in which half of each batch has no labels."""

import pytest
from mmengine.hooks import Hook

from mmwkd.distillers.unlabelled import has_labels


class Spy(Hook):
    """Whether the images of every iteration have labels."""

    def __init__(self):
        self.batches = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        samples = data_batch['data_samples']
        self.batches.append([has_labels(sample) for sample in samples])


@pytest.mark.parametrize('places', [('logit', 'neck', 'roi'), ('neck',)])
def test_a_mix_of_datasets_trains(run_config, train, places):
    for place in {'logit', 'neck', 'roi'} - set(places):
        run_config.model.pop(f'{place}_loss')
    loader = run_config.train_dataloader
    labelled = loader.dataset.copy()
    labelled.indices = 2
    unlabelled = loader.dataset.copy()
    unlabelled.pipeline = [
        transform
        for transform in unlabelled.pipeline
        if transform.type != 'LoadAnnotations'
    ]
    loader.dataset = dict(
        type='ConcatDataset', datasets=[labelled, unlabelled]
    )
    loader.batch_size = 4
    loader.sampler = dict(
        type='MultiSourceSampler', batch_size=4, source_ratio=[1, 3]
    )
    run_config.train_cfg = dict(
        type='IterBasedTrainLoop', max_iters=3, val_interval=3
    )
    run_config.default_hooks.checkpoint.by_epoch = False
    spy = Spy()
    runner = train(hooks=[spy])
    assert spy.batches == [[True, False, False, False]] * 3
    logged = runner.message_hub.log_scalars
    for place in places:
        mean, _ = logged[f'train/balance_{place}'].data
        assert len(mean) == 3

import pytest
import torch
from mmengine.config import Config

from studies.demo.measure import (
    check_promise,
    load_detector,
    quiet,
    time_detectors,
)
from studies.demo.pipeline import CONFIGS
from tests.studies.test_demo.conftest import REPO


@pytest.mark.parametrize('in_training', [28.6, 28.7, 28.8])
def test_rounding_keeps_the_promise(in_training):
    check_promise(28.7, in_training, 'student')


@pytest.mark.parametrize('in_training', [28.5, 28.9, 0.0])
def test_another_detector_breaks_the_promise(in_training):
    with pytest.raises(RuntimeError, match='student: the checkpoint has 28.7'):
        check_promise(28.7, in_training, 'student')


def test_a_checkpoint_of_another_detector_is_refused(tmp_path):
    config = Config.fromfile(REPO / CONFIGS['baseline'])
    other = load_weights(REPO / CONFIGS['teacher'])
    torch.save({'state_dict': other}, tmp_path / 'other.pth')

    with pytest.raises(RuntimeError, match='size mismatch'):
        load_detector(config, tmp_path / 'other.pth')


def test_a_checkpoint_with_other_keys_is_refused(tmp_path):
    config = Config.fromfile(REPO / CONFIGS['baseline'])
    weights = load_weights(REPO / CONFIGS['baseline'])
    weights['student.backbone.conv1.weight'] = torch.zeros(1)
    torch.save({'state_dict': weights}, tmp_path / 'more.pth')

    with pytest.raises(RuntimeError, match='student.backbone.conv1.weight'):
        load_detector(config, tmp_path / 'more.pth')


def load_weights(config):
    from mmdet.registry import MODELS

    return MODELS.build(Config.fromfile(config).model).state_dict()


def test_quiet_is_quiet(capsys):
    with quiet():
        print('creating index...')
    print('heard')

    assert capsys.readouterr().out == 'heard\n'


def test_detectors_take_turns(monkeypatch):
    turns = []

    class Detector:
        def __init__(self, name):
            self.name = name

        def test_step(self, batch):
            turns.append(self.name + batch)

    monkeypatch.setattr(
        'studies.demo.measure._single_images', lambda config, count: 'xyz'
    )

    speeds = time_detectors(
        [Detector('a'), Detector('b')], Config(), warm_up=1
    )

    assert turns == ['ax', 'bx', 'ay', 'by', 'az', 'bz']
    assert all(speed > 0 for speed in speeds)

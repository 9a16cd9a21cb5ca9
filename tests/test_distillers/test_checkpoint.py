import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from mmdet.registry import MODELS
from mmengine.logging import HistoryBuffer, history_buffer

from mmwkd.distillers import build_teacher
from mmwkd.distillers.checkpoint import find_damage, read_weights
from mmwkd.testing import tiny_faster_rcnn
from tests.damage import read_damaged


class Canary:
    """Pickles to something that would create a file when loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


@pytest.fixture
def state_dict():
    return MODELS.build(tiny_faster_rcnn()).state_dict()


@pytest.fixture
def teacher_of(tmp_path):
    """Build a teacher from what a checkpoint file holds."""

    def build(content, config=None, **options):
        path = tmp_path / 'teacher.pth'
        torch.save(content, path)
        return build_teacher(
            dict(
                config=config or tiny_faster_rcnn(),
                checkpoint=str(path),
                **options,
            )
        )

    return build


def test_weights_and_classes_are_loaded(teacher_of, state_dict):
    meta = dict(dataset_meta=dict(CLASSES=('a', 'b', 'c')))
    teacher = teacher_of(dict(state_dict=state_dict, meta=meta))
    assert teacher.classes == ('a', 'b', 'c')
    for key, value in teacher.detector.state_dict().items():
        assert torch.equal(value, state_dict[key])
    assert not any(p.requires_grad for p in teacher.detector.parameters())
    assert not any(m.training for m in teacher.detector.modules())


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Torch's hub folder; downloads into it are noted and write a file."""
    folder = tmp_path / 'hub' / 'checkpoints'
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(folder.parent))
    urls = []

    def download(url, path, digest):
        urls.append((url, digest))
        time.sleep(0.2)  # long enough for others to come
        torch.save(dict(weight=torch.ones(1)), path)

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    return urls


URL = 'https://there/detector-01234567.pth'


def read_at_once(num_readers):
    with ThreadPoolExecutor(num_readers) as pool:
        return list(pool.map(read_weights, [URL] * num_readers))


def test_a_url_is_fetched_once_for_each_machine(hub):
    """Whoever launched the readers, and whether they are joined or not."""
    for weights in (*read_at_once(4), read_weights(URL)):
        assert set(weights.state_dict) == {'weight'}
    assert hub == [(URL, '01234567')]


def test_a_disk_without_locks_costs_downloads_only(hub, monkeypatch):
    def refuse(*args, **kwargs):
        raise NotImplementedError('no flock here')

    monkeypatch.setattr(FileLock, 'acquire', refuse)
    assert len(read_at_once(2)) == 2


@pytest.mark.parametrize('scheme', ['open-mmlab', 's3', 'torchvision'])
def test_a_scheme_that_cannot_be_read_is_named(scheme):
    with pytest.raises(ValueError, match=f'{scheme}://resnet50 .* https://'):
        read_weights(f'{scheme}://resnet50')


def test_a_download_that_fails_says_why(hub, monkeypatch):
    def fail(*args):
        raise OSError('no route')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', fail)
    with pytest.raises(ValueError, match=r'\(no route\); download it else'):
        read_weights(URL)


def test_older_checkpoints_keep_classes_in_meta(teacher_of, state_dict):
    meta = dict(CLASSES=('a', 'b', 'c'))
    assert teacher_of(dict(state_dict=state_dict, meta=meta)).classes == (
        'a',
        'b',
        'c',
    )
    assert teacher_of(state_dict).classes is None
    assert teacher_of(state_dict, classes=['x', 'y', 'z']).classes == (
        'x',
        'y',
        'z',
    )


def test_ddp_prefix_is_stripped(teacher_of, state_dict):
    teacher_of({f'module.{k}': v for k, v in state_dict.items()})


def test_training_checkpoints_are_read_without_unpickling(
    teacher_of, state_dict
):
    buffer = HistoryBuffer([1.0, 2.0], [1, 1])
    teacher_of(
        dict(
            state_dict=state_dict,
            meta={},
            message_hub=dict(log_scalars={'train/loss': buffer}),
        )
    )


def test_code_in_a_checkpoint_is_not_executed(
    teacher_of, state_dict, tmp_path
):
    canary = tmp_path / 'canary'
    with pytest.raises(ValueError, match='cannot be read safely'):
        teacher_of(dict(state_dict=state_dict, meta=Canary(canary)))
    path = tmp_path / 'old_format.pth'
    path.write_bytes(pickle.dumps(Canary(canary)))
    with pytest.raises(ValueError, match='old_format.pth'):
        read_weights(str(path))
    assert not canary.exists()


class Made:
    """Pickles to a call, to which a state and items are then given."""

    def __init__(self, function, *args, state=None, items=None):
        self.parts = function, args, state, None, items

    def __reduce__(self):
        *parts, items = self.parts
        return *parts, items and iter(items)


def test_names_that_mmengine_calls_safe_reach_no_code(
    teacher_of, state_dict, tmp_path, monkeypatch
):
    monkeypatch.setattr(history_buffer, 'np', np)  # what the file replaces
    canary = tmp_path / 'canary'
    init = Made(getattr, HistoryBuffer, '__init__')
    builtins = Made(getattr, init, '__builtins__')

    def replace_array(function):
        fake = Made(HistoryBuffer, 'len', 'len', state=dict(array=function))
        return Made(getattr, init, '__globals__', items=[('np', fake)])

    # HistoryBuffer(x, x) calls np.array(x)
    find = replace_array(Made(getattr, builtins, '__getitem__'))
    found = Made(HistoryBuffer, 'eval', 'eval')
    run = replace_array(Made(getattr, found, '_log_history'))
    code = f'open({str(canary)!r}, "w")'
    hostile = [find, run, Made(HistoryBuffer, code, code)]
    # an older torch fails on the placeholder that the code became
    with pytest.raises(ValueError, match='cannot be read( safely|; it may)'):
        teacher_of(dict(state_dict=state_dict, message_hub=hostile))
    assert history_buffer.np is np
    assert not canary.exists()


def test_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match='checkpoint /no/such.pth'):
        build_teacher(
            dict(config=tiny_faster_rcnn(), checkpoint='/no/such.pth')
        )


@pytest.mark.parametrize('content', [b'', b'PK\x03\x04 not really'])
def test_unreadable_file_is_named(tmp_path, content):
    path = tmp_path / 'broken.pth'
    path.write_bytes(content)
    with pytest.raises(ValueError, match='broken.pth cannot be read'):
        read_weights(str(path))


def test_truncated_file_is_named(tmp_path, state_dict):
    path = tmp_path / 'half.pth'
    torch.save(state_dict, path)
    path.write_bytes(path.read_bytes()[:10_000])
    with pytest.raises(ValueError, match='half.pth cannot be read'):
        read_weights(str(path))


def test_files_without_weights_are_refused(tmp_path):
    path = tmp_path / 'other.pth'
    torch.save(dict(epoch=3, lr=0.1), path)
    with pytest.raises(ValueError, match=r"no weights.*'epoch', 'lr'"):
        read_weights(str(path))
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match='is a list'):
        read_weights(str(path))


@pytest.mark.parametrize('is_zip', [True, False])
def test_damaged_files_are_read_or_refused(tmp_path, is_zip):
    path = tmp_path / 'damaged.pth'
    content = dict(
        state_dict=dict(weight=torch.randn(4, 3)),
        meta=dict(dataset_meta=dict(classes=('x', 'y'))),
        message_hub=dict(loss=HistoryBuffer([1.0, 2.0], [1, 1])),
    )
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    messages = read_damaged(lambda file: read_weights(str(file)), path)
    assert len(messages) > 100
    assert all(str(path) in message for message in messages)


@pytest.mark.parametrize(
    'meta',
    [
        None,
        'text',
        dict(dataset_meta=['a']),
        dict(classes=3),
        dict(dataset_meta=dict(classes=np.array(['a', 'b', 'c']))),
    ],
)
def test_metadata_of_another_form_names_no_classes(
    teacher_of, state_dict, meta
):
    assert teacher_of(dict(state_dict=state_dict, meta=meta)).classes is None


def test_weights_need_names(tmp_path):
    path = tmp_path / 'numbered.pth'
    torch.save({0: torch.zeros(1)}, path)
    with pytest.raises(ValueError, match='holds no weights'):
        read_weights(str(path))


def test_missing_keys_are_named(teacher_of, state_dict):
    del state_dict['roi_head.bbox_head.fc_cls.weight']
    with pytest.raises(
        ValueError, match='1 weights are missing.*bbox_head.fc_cls.weight'
    ):
        teacher_of(state_dict)


def test_another_architecture_is_refused(teacher_of, state_dict):
    with pytest.raises(
        ValueError,
        match=r'backbone.conv1.weight is \(8, 3, '
        r'7, 7\) in the file and \(12, 3, 7, 7\)',
    ):
        teacher_of(state_dict, tiny_faster_rcnn(base_channels=12))


def test_another_number_of_classes_is_refused(teacher_of, state_dict):
    with pytest.raises(ValueError, match='fc_cls.weight is .*classes'):
        teacher_of(state_dict, tiny_faster_rcnn(num_classes=7))


def test_superfluous_keys_are_tolerated(teacher_of, state_dict):
    teacher_of({**state_dict, 'mask_head.weight': torch.zeros(1)})


def test_no_checkpoint_needs_a_word():
    with pytest.raises(ValueError, match='checkpoint is not set.*allow_rand'):
        build_teacher(dict(config=tiny_faster_rcnn()))
    with pytest.raises(ValueError, match='contradicts allow_random'):
        build_teacher(
            dict(
                config=tiny_faster_rcnn(),
                checkpoint='x.pth',
                allow_random=True,
            )
        )
    build_teacher(dict(config=tiny_faster_rcnn(), allow_random=True))


def test_unknown_teacher_options_are_refused():
    with pytest.raises(ValueError, match="got .*'ckpt'"):
        build_teacher(dict(config=tiny_faster_rcnn(), ckpt='x.pth'))


@pytest.mark.parametrize(
    'config', ['no/such/config.py', 'mmdet::faster_rcnn/no-such-config.py']
)
def test_missing_config_is_named(config):
    with pytest.raises(FileNotFoundError, match=config):
        build_teacher(dict(config=config, allow_random=True))


def test_external_config_builds_without_downloads():
    teacher = build_teacher(
        dict(
            config='mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
            allow_random=True,
        )
    )
    assert teacher.detector.roi_head.bbox_head.num_classes == 80


def test_a_config_that_needs_another_package_says_which(tmp_path):
    path = tmp_path / 'convnext.py'
    path.write_text("custom_imports = dict(imports=['no_such.models'])")
    with pytest.raises(ImportError, match=r'import no_such\.models\): inst'):
        build_teacher(dict(config=str(path), allow_random=True))


def test_a_config_without_model_is_refused(tmp_path):
    path = tmp_path / 'runtime.py'
    path.write_text('log_level = 1\n')
    with pytest.raises(ValueError, match='has no model'):
        build_teacher(dict(config=str(path), allow_random=True))


def test_the_student_of_a_distiller_config_can_teach():
    config = dict(type='DetectorDistiller', student=tiny_faster_rcnn())
    teacher = build_teacher(dict(config=config, allow_random=True))
    assert type(teacher.detector).__name__ == 'FasterRCNN'


def test_damage_that_torch_does_not_notice_is_named(tmp_path, state_dict):
    path = tmp_path / 'teacher.pth'
    torch.save(state_dict, path)
    assert find_damage(path) is None
    content = bytearray(path.read_bytes())
    for start, length in ((len(content) // 2, 1), (len(content) // 3, 4096)):
        broken = content.copy()
        # one bit, as of bad memory; a block, as of a power failure
        for position in range(start, start + length):
            broken[position] ^= 1 if length == 1 else broken[position]
        path.write_bytes(broken)
        torch.load(path, weights_only=True)
        with pytest.raises(
            ValueError, match='teacher.pth is damaged: its entry .*/data/'
        ):
            read_weights(str(path))


@pytest.mark.parametrize(
    ('content', 'damage'),
    [
        (b'', 'it is empty'),
        (bytes(5000), 'it is no checkpoint'),
        (b'PK\x03\x04 and no more', 'it is cut short'),
    ],
)
def test_damage_is_told_apart(tmp_path, content, damage):
    path = tmp_path / 'broken.pth'
    path.write_bytes(content)
    assert find_damage(path).startswith(damage)


def test_files_without_checksums_are_not_damaged(tmp_path):
    old, fast = tmp_path / 'old.pth', tmp_path / 'fast.pth'
    weights = dict(weight=torch.ones(3))
    torch.save(weights, old, _use_new_zipfile_serialization=False)
    set_crc32_options = getattr(
        torch.serialization, 'set_crc32_options', lambda compute: None
    )
    set_crc32_options(False)
    try:
        torch.save(weights, fast)
    finally:
        set_crc32_options(True)
    for path in (old, fast):
        assert find_damage(path) is None
        assert read_weights(str(path)).state_dict.keys() == weights.keys()

"""Datasets are written whole or not at all, and nothing of others is lost."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest

from studies.toydata.minicoco.folder import (
    DatasetParameters,
    annotation_file,
    provide_dataset,
    write_splits,
)
from studies.toydata.minicoco.scene import Scene, SceneObject


@dataclass(frozen=True)
class Parameters(DatasetParameters):
    name = 'greys'
    splits = ('day', 'night')
    extra_files = ('README',)

    num_day: int = 3
    num_night: int = 2
    image_size: int = 64
    seed: int = 0


def _provide(root, *, force=False, progress=None, **changes):
    """A dataset of grey images, each with one object in its corner."""
    wanted = Parameters(**changes)

    def draw(split, index):
        grey = 100 * wanted.splits.index(split) + 10 * index + wanted.seed
        mask = np.zeros((64, 64), dtype=bool)
        mask[: index + 1, :5] = True
        return Scene(
            np.full((64, 64, 3), grey, np.uint8),
            (SceneObject(category_index=1, mask=mask, visible=1.0),),
        )

    def write(folder):
        write_splits(
            folder,
            wanted,
            draw,
            categories=[{'id': 7, 'name': 'a'}, {'id': 9, 'name': 'b'}],
            info=lambda split: {'description': f'greys of the {split}'},
            progress=progress,
        )
        (folder / 'README').write_text('grey')

    return provide_dataset(root, wanted, write, force=force)


@pytest.fixture
def greys(tmp_path) -> Path:
    root, written = _provide(tmp_path / 'data')
    assert written
    return root


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


class _StopError(Exception):
    pass


def _stop_at_third(jobs):
    yield from jobs[:2]
    raise _StopError


def test_every_split_has_its_images_and_records(greys):
    assert sorted(_contents(greys)) == [
        'README',
        'annotations/instances_day.json',
        'annotations/instances_night.json',
        *(f'day/00000{number}.png' for number in (1, 2, 3)),
        *(f'night/00000{number}.png' for number in (1, 2)),
    ]
    document = json.loads(annotation_file(greys, 'night').read_text())
    assert document['info'] == {
        'description': 'greys of the night',
        'greys': asdict(Parameters()),
    }
    assert [(i['id'], i['file_name']) for i in document['images']] == [
        (1, '000001.png'),
        (2, '000002.png'),
    ]
    keys = ('id', 'image_id', 'category_id', 'area')
    assert [[a[key] for key in keys] for a in document['annotations']] == [
        [1, 1, 9, 5],
        [2, 2, 9, 10],
    ]


def test_finished_dataset_is_left_as_it_is(greys):
    before = {path: path.stat().st_mtime_ns for path in greys.rglob('*')}

    assert _provide(greys, progress=_stop_at_third) == (greys, False)

    assert before == {p: p.stat().st_mtime_ns for p in greys.rglob('*')}


def test_other_parameters_are_refused_naming_both(greys):
    before = _contents(greys)

    with pytest.raises(ValueError, match='greys with other param') as caught:
        _provide(greys, seed=3)

    message = str(caught.value)
    assert re.search(r"found \{.*'seed': 0.*asked for .*'seed': 3", message)
    assert '--force' in message
    assert _contents(greys) == before


def test_force_replaces_a_dataset_and_leaves_nothing_else(greys):
    before = _contents(greys)

    assert _provide(greys, seed=3, force=True) == (greys, True)

    after = _contents(greys)
    assert before.keys() == after.keys()
    assert before['day/000001.png'] != after['day/000001.png']
    assert list(greys.parent.iterdir()) == [greys]


@pytest.mark.parametrize('name', ['night/000002.png', 'README'])
def test_missing_file_is_noticed_and_force_repairs(greys, name):
    before = _contents(greys)
    (greys / name).unlink()

    message = rf'misses 1 of its files.*{re.escape(name)}.*force'
    with pytest.raises(ValueError, match=message):
        _provide(greys)

    _provide(greys, force=True)
    assert _contents(greys) == before


@pytest.mark.parametrize('force', [False, True])
def test_foreign_folder_is_never_touched(tmp_path, force):
    (tmp_path / 'thesis.txt').write_text('user file')

    with pytest.raises(ValueError, match='exists and is not greys'):
        _provide(tmp_path, force=force)

    assert _contents(tmp_path) == {'thesis.txt': b'user file'}


@pytest.mark.parametrize(
    'text',
    [
        *['{"info": {}}', '[]', 'no JSON', '{"info": {"greys": {"x": 1}}}'],
        '{"info": {"greys": {"seed": -1}}}',
    ],
)
def test_other_coco_dataset_is_never_touched(tmp_path, text):
    root = tmp_path / 'coco'
    (root / 'annotations').mkdir(parents=True)
    for split in Parameters.splits:
        annotation_file(root, split).write_text(text)
    before = _contents(root)

    with pytest.raises(ValueError, match='exists and is not greys'):
        _provide(root, force=True)

    assert _contents(root) == before


def test_file_in_the_way_is_never_touched(tmp_path):
    path = tmp_path / 'data'
    path.write_text('user file')

    with pytest.raises(ValueError, match='exists and is not greys'):
        _provide(path, force=True)

    assert path.read_text() == 'user file'


def test_splits_that_do_not_belong_together_are_refused(greys, tmp_path):
    other, _ = _provide(tmp_path / 'other', seed=1)
    annotation_file(other, 'night').replace(annotation_file(greys, 'night'))

    with pytest.raises(ValueError, match='exists and is not greys'):
        _provide(greys, force=True)


def test_force_keeps_files_that_others_put_there(greys):
    (greys / 'cost_matrix.npz').write_bytes(b'user file')

    with pytest.raises(ValueError, match=r'did not write.*cost_matrix\.npz'):
        _provide(greys, seed=3, force=True)

    assert (greys / 'cost_matrix.npz').read_bytes() == b'user file'


def test_empty_folder_and_missing_parents_are_fine(tmp_path):
    (tmp_path / 'empty').mkdir()

    for root in (tmp_path / 'empty', tmp_path / 'some' / 'where'):
        assert _provide(root) == (root, True)


def test_link_is_followed(tmp_path):
    link = tmp_path / 'link'
    link.symlink_to(tmp_path / 'disk', target_is_directory=True)
    target = (tmp_path / 'disk').resolve()

    assert _provide(link) == (target, True)
    assert link.is_symlink()
    assert _provide(link) == (target, False)


@pytest.mark.parametrize(
    ('parameter', 'value', 'message'),
    [
        ('num_day', -1, 'num_day must be at least 1, got -1'),
        ('num_night', 0, 'num_night must be at least 1, got 0'),
        ('image_size', 63, 'image_size must be at least 64, got 63'),
        ('seed', -1, 'seed must be at least 0, got -1'),
        ('seed', 0.5, 'seed must be an integer, got 0.5'),
        ('num_night', True, 'num_night must be an integer, got True'),
    ],
)
def test_bad_number_is_refused(parameter, value, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Parameters(**{parameter: value})


def test_interruption_leaves_nothing(tmp_path):
    with pytest.raises(_StopError):
        _provide(tmp_path / 'data', progress=_stop_at_third)

    assert not list(tmp_path.iterdir())


def test_interruption_of_a_replacement_keeps_the_old_dataset(greys):
    before = _contents(greys)

    with pytest.raises(_StopError):
        _provide(greys, seed=3, force=True, progress=_stop_at_third)

    assert _contents(greys) == before
    assert list(greys.parent.iterdir()) == [greys]


def test_failed_rename_brings_the_old_dataset_back(greys, monkeypatch):
    before = _contents(greys)
    rename = Path.rename

    def fail_for_the_new_one(path, target):
        if '.partial-' in path.name:
            raise OSError('disk on strike')
        return rename(path, target)

    monkeypatch.setattr(Path, 'rename', fail_for_the_new_one)
    with pytest.raises(OSError, match='disk on strike'):
        _provide(greys, seed=3, force=True)

    assert _contents(greys) == before
    assert list(greys.parent.iterdir()) == [greys]


def test_folder_filled_in_the_meantime_is_kept(tmp_path):
    root = tmp_path / 'data'

    def fill(jobs):
        yield from jobs
        root.mkdir()
        (root / 'thesis.txt').write_text('user file')

    with pytest.raises(OSError, match='not empty'):
        _provide(root, progress=fill)

    assert _contents(tmp_path) == {'data/thesis.txt': b'user file'}

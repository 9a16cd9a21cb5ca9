import json

import numpy as np
import pytest

from mmwkd.cli import main
from mmwkd.costs.inspection import (
    PICTURES,
    figures_of,
    read_supercategories,
)


def test_figures_are_those_of_the_distances(make_matrix, blocks, families):
    text = '\n'.join(figures_of(blocks, families))
    gaps = (1 - blocks.interrelation)[~np.eye(5, dtype=bool)]
    mean, std = gaps.mean(), gaps.std()
    assert f'{mean:.3f} ± {std:.3f}, {gaps.min():.3f} to' in text
    assert f'variation: {std / mean:.3f}' in text
    assert 'AUC: 1.000 [1.000, 1.000]' in text
    assert 'cat: dog 0.200, bus 0.800' in text
    assert 'needs supercategories' in '\n'.join(figures_of(blocks))
    same = figures_of(make_matrix(np.ones((6, 6))))
    assert 'variation: 0.000' in '\n'.join(same)


def test_supercategories_are_read_by_name(coco, families):
    known = read_supercategories(coco['ann_file'], ['bus', 'cat'])
    assert known == {name: families[name] for name in ('bus', 'cat')}
    with pytest.raises(ValueError, match="'tram' of the cost matrix"):
        read_supercategories(coco['ann_file'], ['cat', 'tram'])
    bare = [dict(id=c['id'], name=c['name']) for c in coco['categories']]
    coco['write'](categories=bare)
    assert read_supercategories(coco['ann_file'], ['cat']) is None


@pytest.mark.parametrize('document', [[], {}, dict(categories=[1])])
def test_other_files_are_refused(tmp_path, document):
    path = tmp_path / 'other.json'
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match='no annotation file in COCO format'):
        read_supercategories(path, ['cat'])


def test_the_command_prints_and_draws_once(blocks, coco, tmp_path, capsys):
    blocks.save(tmp_path / 'cost.npz')
    folder = tmp_path / 'report'
    words = [tmp_path / 'cost.npz', '--ann-file', coco['ann_file']]
    words = [*map(str, words), '--out-dir', str(folder)]
    assert main(['cost', 'inspect', *words, '--kappa', '0']) == 2
    assert 'kappa must be positive, got 0' in capsys.readouterr().err
    assert not folder.exists()
    assert main(['cost', 'inspect', *words]) == 0
    assert 'AUC: 1.000 [1.000, 1.000]' in capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == set(PICTURES)
    before = (folder / 'heatmap.png').read_bytes()
    assert main(['cost', 'inspect', *words, '--kappa', '3']) == 2
    assert '--force' in capsys.readouterr().err
    assert (folder / 'heatmap.png').read_bytes() == before
    assert main(['cost', 'inspect', *words, '--kappa', '3', '--force']) == 0
    assert (folder / 'heatmap.png').read_bytes() != before

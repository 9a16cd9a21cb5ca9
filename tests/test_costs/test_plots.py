import io
import sys

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.text import Text
from PIL import Image
from scipy.cluster.hierarchy import leaves_list

from mmwkd.costs.plots import (
    _PALETTE,
    cluster,
    draw_heatmap,
    draw_map,
    embed,
    group_colours,
    to_png,
)

from .test_quality import permuted


def pixels(png):
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == 'PNG'
        return np.asarray(image.convert('RGB')).astype(int)


def share_of(colour, page):
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return (np.abs(page - wanted).max(axis=-1) < 8).mean()


def num_colours(page):
    return len(np.unique(page.reshape(-1, 3), axis=0))


@pytest.mark.parametrize('draw', [draw_heatmap, draw_map])
@pytest.mark.parametrize('size', [2, 3, 12])
def test_pictures_of_any_size(make_matrix, draw, size):
    assert num_colours(pixels(draw(make_matrix(size=size)))) > 10


@pytest.mark.parametrize('draw', [draw_heatmap, draw_map])
def test_pictures_of_many_categories_stay_bounded(
    make_matrix, draw, monkeypatch
):
    matrix = make_matrix(size=60)
    free = pixels(draw(matrix))
    monkeypatch.setattr('mmwkd.costs.plots._MAX_SIDE', 6.0)
    bounded = pixels(draw(matrix))
    assert bounded.shape[0] < 0.8 * free.shape[0]
    assert num_colours(bounded) > 5


@pytest.mark.parametrize('draw', [draw_heatmap, draw_map])
@pytest.mark.parametrize('value', [0.0, 1.0])
def test_flat_matrices_can_be_drawn(make_matrix, draw, value):
    flat = np.full((6, 6), value)
    np.fill_diagonal(flat, 1)
    assert num_colours(pixels(draw(make_matrix(flat)))) > 10


@pytest.mark.parametrize('draw', [draw_heatmap, draw_map])
def test_supercategories_are_coloured(blocks, families, draw):
    page = pixels(draw(blocks, families))
    for colour in _PALETTE[:2]:
        assert share_of(colour, page) > 1e-3
    assert share_of(_PALETTE[2], page) == 0


@pytest.mark.parametrize('draw', [draw_heatmap, draw_map])
def test_names_are_not_taken_as_formulas(make_matrix, draw):
    names = ('$\\frac{$', 'a$b$c', '$', 'x' * 300, 'background')
    assert num_colours(pixels(draw(make_matrix(categories=names)))) > 10


def test_a_tree_of_one_level_per_category_is_drawn(make_matrix):
    flat = np.full((300, 300), 0.3)
    np.fill_diagonal(flat, 1)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(300)
    try:
        assert num_colours(pixels(draw_heatmap(make_matrix(flat)))) > 5
        assert sys.getrecursionlimit() == 300
    finally:
        sys.setrecursionlimit(limit)


def test_pictures_are_the_same_each_time(blocks, families):
    for draw in (draw_heatmap, draw_map):
        assert draw(blocks, families) == draw(blocks, families)


def test_a_flat_cost_looks_flat(make_matrix):
    """The scale starts at 0, so that noise does not look like structure."""
    noise = np.full((12, 12), 0.30)
    noise[np.triu_indices(12, 1)] += np.linspace(0, 0.01, 66)
    noise = np.triu(noise) + np.triu(noise, 1).T
    np.fill_diagonal(noise, 1)
    centre = pixels(draw_heatmap(make_matrix(noise)))
    height, width, _ = centre.shape
    inside = centre[height // 3 : height // 2, width // 3 : width // 2]
    brightest = inside[inside.sum(axis=-1) > 300]
    assert np.ptp(brightest, axis=0).max() < 30


def test_colours_repeat_beyond_twelve():
    names = [f'c{i}' for i in range(14)]
    colours, legend = group_colours(
        [*names, 'background'], {name: name for name in names}
    )
    assert len(set(colours[:12])) == 12
    assert colours[12] == colours[0]
    assert colours[-1] not in colours[:-1]
    assert list(legend) == names


def test_the_heatmap_names_its_categories_and_leaves_no_figure(
    blocks, families, monkeypatch
):
    drawn = []

    def keep(figure):
        drawn.append(figure)
        return to_png(figure)

    monkeypatch.setattr('mmwkd.costs.plots.to_png', keep)
    draw_heatmap(blocks, families)
    texts = {text.get_text() for text in drawn[0].findobj(Text)}
    assert {*blocks.categories, *families.values()} <= texts
    assert not plt.get_fignums()


def test_clustering_puts_families_together(make_matrix, blocks):
    shuffled = permuted(blocks, make_matrix, [2, 0, 3, 1])
    names = [shuffled.categories[i] for i in leaves_list(cluster(shuffled))]
    for family in ({'cat', 'dog'}, {'bus', 'car'}):
        first, second = sorted(names.index(name) for name in family)
        assert second == first + 1


def test_the_map_puts_families_together(make_matrix):
    related = np.kron(np.eye(3), np.full((5, 5), 0.8))
    np.fill_diagonal(related, 1)
    points = embed(1 - related)
    assert points.min() == 0
    assert points.max() == 1
    gaps = np.linalg.norm(points[:, None] - points, axis=-1)
    np.fill_diagonal(gaps, np.inf)
    assert (gaps.argmin(axis=1) // 5 == np.arange(15) // 5).all()

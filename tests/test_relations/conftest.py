"""Cost matrices to look at, and annotations of their categories."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmwkd.relations import BACKGROUND, CostMatrix
from tests.test_distillers.conftest import (  # noqa: F401  fixtures
    build,
    teacher_checkpoint,
)

REPO = Path(__file__).resolve().parents[2]
FAMILIES = dict(cat='animal', dog='animal', bus='vehicle', car='vehicle')


@pytest.fixture
def make_matrix():
    """Build a matrix from similarities, or a random one of a size."""

    def make(interrelation=None, *, size=5, seed=0, categories=None):
        if interrelation is None:
            draw = np.random.default_rng(seed).uniform(0, 0.9, (size, size))
            interrelation = (draw + draw.T) / 2
            np.fill_diagonal(interrelation, 1)
        count = len(interrelation)
        names = categories or (
            *(f'c{index}' for index in range(count - 1)),
            BACKGROUND,
        )
        return CostMatrix(
            categories=tuple(names),
            interrelation=np.asarray(interrelation, dtype=np.float32),
            estimator='centroid',
            options=dict(tensor='logits'),
        )

    return make


@pytest.fixture
def blocks(make_matrix):
    """Two families of two, and a background apart from both."""
    interrelation = np.full((5, 5), 0.2)
    interrelation[:2, :2] = 0.8
    interrelation[2:4, 2:4] = 0.7
    interrelation[4, :] = interrelation[:, 4] = 0.1
    np.fill_diagonal(interrelation, 1)
    return make_matrix(interrelation, categories=(*FAMILIES, BACKGROUND))


@pytest.fixture
def families():
    """Supercategories of ``blocks``."""
    return dict(FAMILIES)


@pytest.fixture
def coco(tmp_path):
    """Annotations of ``blocks``, with an image for each category."""
    folder = tmp_path / 'images'
    folder.mkdir()
    images, annotations, categories = [], [], []
    for index, (name, family) in enumerate(FAMILIES.items()):
        file = f'{name}.png'
        Image.new('RGB', (60, 40), (60 * index, 90, 200)).save(folder / file)
        images.append(dict(id=index, file_name=file, width=60, height=40))
        categories.append(dict(id=index, name=name, supercategory=family))
        annotations.append(
            dict(id=index, image_id=index, category_id=index)
            | dict(bbox=[5.0, 5.0, 20.0, 15.0], area=300.0, iscrowd=0)
        )
    document = dict(
        images=images, annotations=annotations, categories=categories
    )
    path = tmp_path / 'instances.json'

    def write(**changes):
        path.write_text(json.dumps({**document, **changes}))
        return path

    write()
    return dict(ann_file=path, img_prefix=folder, write=write, **document)


@pytest.fixture
def tool(monkeypatch):
    """Run a tool's main on arguments."""

    def load(name, *arguments):
        monkeypatch.setattr(sys, 'argv', [name, *map(str, arguments)])
        spec = importlib.util.spec_from_file_location(
            'inspection_tool', REPO / 'tools' / name
        )
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.main()

    return load

import io
import re

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from mmwkd.costs import BACKGROUND
from mmwkd.costs.estimate import measure_confusion
from mmwkd.costs.inspection import inspect_cost_matrix
from mmwkd.costs.quality import compare_matrices, measure_quality
from mmwkd.costs.report import (
    PICTURES,
    quality_figures,
    render_report,
    write_report,
)
from tests.studies.test_demo.test_report import OUTSIDE, Page, png


def render(matrix, other=None, **known):
    return render_report(
        matrix,
        measure_quality(matrix, **known),
        other and compare_matrices(matrix, other),
        pictures={name: png('white') for name in PICTURES},
        kappa=1.5,
    )


def test_the_page_has_every_figure(blocks, families, make_matrix):
    other = make_matrix(categories=blocks.categories)
    confusion = blocks.interrelation
    html = render(blocks, other, supercategories=families, confusion=confusion)
    text = Page(html).text
    quality = measure_quality(blocks, families, confusion)
    for figure in quality_figures(blocks, quality):
        assert figure.value in text
        assert figure.reading in text
    for fact in (
        '1.000 [1.000, 1.000]',
        'kappa 1.5',
        'tensor = logits',
        'cat dog 0.200 , bus 0.800',
        'Spearman correlation',
    ):
        assert fact in text
    assert 'Spearman correlation' not in Page(render(blocks)).text.replace(
        "Spearman correlation with the teacher's own", ''
    )


def test_what_is_missing_says_why(blocks):
    text = Page(render(blocks)).text
    assert 'no supercategories are known' in text
    assert 'no confusions were given' in text


def test_names_are_escaped(make_matrix):
    names = ('<script>alert(1)</script>', 'Größe & 猫', '"x"', 'background')
    matrix = make_matrix(size=4, categories=names)
    html = render(matrix, matrix)
    page = Page(html)
    assert 'script' not in page.tags
    for name in names:
        assert name in page.text


def test_the_page_refers_to_nothing_outside(blocks):
    html = render(blocks)
    page = Page(html)
    assert len(page.addresses) == 3
    assert all(a.startswith('data:image/png') for a in page.addresses)
    assert not {'script', 'link', 'iframe', 'object'} & page.tags
    assert not OUTSIDE.search(re.sub(r'data:image/[^"]*', '', html))


def test_a_report_is_kept_unless_forced(blocks, tmp_path):
    quality = measure_quality(blocks)
    (tmp_path / 'notes.txt').write_text('mine')
    path = write_report(tmp_path, blocks, quality)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match='report.html already.*--force'):
        write_report(tmp_path, blocks, quality, kappa=3.0)
    assert path.read_bytes() == before
    write_report(tmp_path, blocks, quality, kappa=3.0, force=True)
    assert path.read_bytes() != before
    assert {p.name for p in tmp_path.iterdir()} == {
        'notes.txt',
        'report.html',
        *PICTURES,
    }
    for name in PICTURES:
        with Image.open(tmp_path / name) as image:
            assert len(image.convert('RGB').getcolors(1 << 24)) > 10


# --- the inspection and its tool ----------------------------------------


@pytest.fixture
def inspect(blocks, tmp_path):
    """Inspect ``blocks`` and return what was printed and the page."""
    blocks.save(tmp_path / 'cost.npz')

    def run(**options):
        output = io.StringIO()
        report = inspect_cost_matrix(
            tmp_path / 'cost.npz',
            console=Console(file=output, width=120),
            **{'out_dir': tmp_path / 'report', **options},
        )
        return output.getvalue(), Page(report.read_text())

    return run


def test_inspection_uses_all_that_is_given(
    inspect, coco, blocks, make_matrix, tmp_path
):
    make_matrix(categories=blocks.categories).save(tmp_path / 'other.npz')
    printed, page = inspect(
        ann_file=coco['ann_file'],
        img_prefix=coco['img_prefix'],
        compare=tmp_path / 'other.npz',
    )
    for fact in (
        '1.000 [1.000, 1.000]',
        'Pearson correlation',
    ):
        assert fact in printed
        assert fact in page.text
    assert 'dog 0.200, bus 0.800' in printed
    with Image.open(tmp_path / 'report' / 'map.png') as image:
        colours = {c for _, c in image.convert('RGB').getcolors(1 << 24)}
    assert (120, 90, 200) in colours  # the picture of the bus


def test_a_broken_image_becomes_a_dot(inspect, coco):
    (coco['img_prefix'] / 'cat.png').write_bytes(b'')
    with pytest.warns(UserWarning, match="no picture of 'cat'"):
        inspect(ann_file=coco['ann_file'], img_prefix=coco['img_prefix'])


def test_bad_requests_are_refused_before_the_work(inspect, coco, tmp_path):
    with pytest.raises(ValueError, match='--img-prefix needs --ann-file'):
        inspect(img_prefix=coco['img_prefix'])
    with pytest.raises(ValueError, match='--kappa must be positive, got 0'):
        inspect(kappa=0)
    with pytest.raises(ValueError, match='--checkpoint .* need --config'):
        inspect(checkpoint='teacher.pth')
    assert not (tmp_path / 'report').exists()


def test_confusions_are_those_of_the_teacher(
    make_matrix, config_file, checkpoint, tmp_path
):
    matrix = make_matrix(size=4, categories=('cat', 'dog', 'bus', BACKGROUND))
    confusion = measure_confusion(config_file, str(checkpoint), matrix)
    assert confusion.shape == (4, 4)
    np.testing.assert_allclose(confusion.sum(axis=1), 1, rtol=1e-6)
    assert len(np.unique(confusion.round(8))) > 4
    path = tmp_path / 'cost.npz'
    matrix.save(path)
    output = io.StringIO()
    inspect_cost_matrix(
        path,
        console=Console(file=output, width=120),
        config=str(config_file),
        checkpoint=str(checkpoint),
        out_dir=tmp_path / 'report',
    )
    expected = measure_quality(matrix, None, confusion).confusion
    assert f'{expected.everything:+.3f}' in output.getvalue()


def test_confusions_of_other_classes_are_refused(
    make_matrix, config_file, checkpoint
):
    matrix = make_matrix(size=4, categories=('cat', 'dog', 'car', BACKGROUND))
    with pytest.raises(ValueError, match="'car' in the matrix and 'bus' in"):
        measure_confusion(config_file, str(checkpoint), matrix)


def test_the_tool_writes_a_report_once(tool, blocks, tmp_path, capsys):
    blocks.save(tmp_path / 'cost.npz')
    arguments = (tmp_path / 'cost.npz', '--out-dir', tmp_path / 'report')
    assert tool('inspect_cost_matrix.py', *arguments) == 0
    assert (tmp_path / 'report' / 'report.html').is_file()
    assert 'effective rank' in capsys.readouterr().out
    assert tool('inspect_cost_matrix.py', *arguments) == 1
    assert '--force' in capsys.readouterr().out
    assert tool('inspect_cost_matrix.py', *arguments, '--force') == 0

import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from mmwkd.cli import run
from mmwkd.commands import cost_inspect
from mmwkd.costs.inspection import (
    REPORT,
    quality_figures,
    render_report,
)
from mmwkd.costs.quality import nearest_categories

OUTSIDE = re.compile(r'(https?:)?//\w|url\(|@import', re.IGNORECASE)


class Page(HTMLParser):
    """The words, the elements and the addresses of a page."""

    def __init__(self, html):
        super().__init__()
        self.words, self.tags, self.addresses = [], set(), []
        self.feed(html)
        self.close()
        self.text = ' '.join(self.words)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        names = ('src', 'srcset', 'href', 'data', 'action')
        self.addresses += [value for name, value in attrs if name in names]

    def handle_data(self, data):
        self.words += data.split()


def render(matrix, supercategories=None):
    return render_report(
        matrix,
        quality_figures(matrix, supercategories),
        nearest_categories(matrix),
        pictures=[b'a heatmap', b'a map'],
        kappa=1.5,
    )


def test_the_page_has_every_figure(blocks, families):
    text = Page(render(blocks, families)).text
    for figure in quality_figures(blocks, families):
        assert figure.value in text
        assert ' '.join(figure.reading.split()) in text
    for fact in (
        '1.000 [1.000, 1.000]',
        'kappa 1.5',
        'tensor = logits',
        'cat dog 0.200 , bus 0.800',
    ):
        assert fact in text


def test_what_is_missing_says_why(blocks):
    assert 'needs supercategories' in Page(render(blocks)).text


def test_names_are_escaped(make_matrix):
    names = ('<script>alert(1)</script>', 'Größe & 猫', '"x"', 'background')
    matrix = make_matrix(size=4, categories=names)
    page = Page(render(matrix))
    assert 'script' not in page.tags
    for name in names:
        assert name in page.text


def test_the_page_refers_to_nothing_outside(blocks):
    html = render(blocks)
    page = Page(html)
    assert len(page.addresses) == 2
    assert all(a.startswith('data:image/png') for a in page.addresses)
    assert not {'script', 'link', 'iframe', 'object'} & page.tags
    assert not OUTSIDE.search(re.sub(r'data:image/[^"]*', '', html))


# --- the inspection and its command -------------------------------------


@pytest.fixture
def inspect(blocks, tmp_path, capsys):
    """Inspect ``blocks`` and return what was printed and the page."""
    blocks.save(tmp_path / 'cost.npz')

    def call(**options):
        out_dir = tmp_path / 'report'
        cost_inspect(tmp_path / 'cost.npz', out_dir=out_dir, **options)
        page = (out_dir / 'report.html').read_text()
        return capsys.readouterr().out, Page(page)

    return call


def test_inspection_uses_all_that_is_given(inspect, coco, tmp_path):
    printed, page = inspect(
        ann_file=coco['ann_file'], img_prefix=coco['img_prefix']
    )
    for text in (printed, page.text):
        assert '1.000 [1.000, 1.000]' in text
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
    with pytest.raises(ValueError, match='kappa must be positive, got 0'):
        inspect(kappa=0)
    assert not (tmp_path / 'report').exists()


def test_the_command_writes_a_report_once(blocks, tmp_path, capsys):
    blocks.save(tmp_path / 'cost.npz')
    words = [tmp_path / 'cost.npz', '--out-dir', tmp_path / 'report']
    words = list(map(str, words))
    assert run(cost_inspect, words) == 0
    page = tmp_path / 'report' / 'report.html'
    before = page.read_bytes()
    assert 'supercategory AUC' in capsys.readouterr().out
    (page.parent / 'notes.txt').write_text('notes')
    assert run(cost_inspect, [*words, '--kappa', '3']) == 2
    assert re.search('exists .*--force', capsys.readouterr().err)
    assert page.read_bytes() == before
    assert run(cost_inspect, [*words, '--kappa', '3', '--force']) == 0
    assert page.read_bytes() != before
    assert {p.name for p in page.parent.iterdir()} == {'notes.txt', *REPORT}

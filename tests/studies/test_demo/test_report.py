import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image

from studies.demo.pipeline import CONFIGS
from studies.demo.report import Pictures, render_report
from studies.demo.results import table_rows
from tests.studies.test_demo.conftest import REPO, make_results

OUTSIDE = re.compile(r'(https?:)?//\w|url\(|@import', re.IGNORECASE)


class Page(HTMLParser):
    """The texts, the elements and the addresses of a page."""

    def __init__(self, html):
        super().__init__()
        self.cells, self.tags, self.addresses = [], set(), []
        self.texts = []
        self._open = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self._open.append(tag)
        for name, value in attrs:
            if name in ('src', 'srcset', 'href', 'data', 'action'):
                self.addresses.append(value)
        if tag in ('meta', 'img', 'source', 'br'):
            self._open.pop()

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f'{tag} is not nested well'

    def handle_data(self, data):
        self.texts.append(data)
        if 'td' in self._open and data.strip():
            self.cells.append(data.strip())

    @property
    def text(self):
        return ' '.join(' '.join(self.texts).split())


def png(colour):
    buffer = io.BytesIO()
    Image.new('RGB', (8, 8), colour).save(buffer, format='PNG')
    return buffer.getvalue()


def render(results):
    pictures = Pictures(png('white'), png('black'), png('red'))
    return render_report(results, pictures, REPO / CONFIGS['distilled'])


def test_the_table_has_every_number(results):
    page = Page(render(results))

    rows = table_rows(results)[1:]
    assert page.cells == [cell for row in rows for cell in row]


def test_says_where_when_and_how(results):
    text = Page(render(results)).text

    for fact in (
        '+4.1 box AP',
        '(28.7 − 24.6) / (38.4 − 24.6) = 30 %',
        'python tools/demo.py --seed 3',
        'python tools/train.py teacher',
        'A <fast> CPU & more',
        'torch 9.8.7',
        '0123456789',
        '2020-02-02T20:20:20+00:00',
        '2000 training and 400 validation images',
        "type='DetectorDistiller'",
    ):
        assert fact in text


def test_refers_to_nothing_outside_itself(results):
    html = render(results)
    page = Page(html)

    assert page.addresses
    assert all(a.startswith('data:image/') for a in page.addresses)
    assert not {'script', 'link', 'iframe', 'object'} & page.tags
    without_pictures = re.sub(r'data:image/[^"]*', '', html)
    assert not OUTSIDE.search(without_pictures)


def test_has_a_dark_side(results):
    html = render(results)

    assert html.count('prefers-color-scheme: dark') == 2


def test_is_plain_about_a_loss():
    html = render(make_results(teacher=38.0, baseline=25.0, distilled=24.0))

    text = Page(html).text
    assert 'distillation did not help' in text
    assert '(24.0 − 25.0) / (38.0 − 25.0) = -8 %' in text


def test_has_no_gap_where_there_is_none():
    html = render(make_results(teacher=20.0, baseline=25.0, distilled=26.0))

    assert 'Gap closed' not in html


def test_a_gap_of_which_nothing_was_closed_is_shown():
    html = render(make_results(teacher=38.0, baseline=25.0, distilled=25.0))

    assert '(25.0 − 25.0) / (38.0 − 25.0) = 0 %' in Page(html).text


def test_says_where_flops_are_not_counted(results):
    assert 'could not trace' not in render(results)
    teacher = replace(results.teacher, gflops=None)

    html = render(replace(results, teacher=teacher))

    assert 'not counted' in Page(html).cells
    assert 'could not trace' in html


def test_says_that_a_training_was_interrupted(results):
    assert 'interrupted' not in render(results)
    distilled = replace(results.distilled, attempts=2)

    assert 'interrupted' in render(replace(results, distilled=distilled))


@pytest.mark.parametrize('ap', [0.0, 100.0])
def test_extreme_numbers_render(ap):
    assert Page(render(make_results(ap, ap, ap))).cells

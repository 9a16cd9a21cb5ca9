"""What the pages refer to exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob('*.md'), *ROOT.glob('*/*.md')])


def prose_of(page):
    return re.sub(r'```.*?```', '', page.read_text('utf-8'), flags=re.S)


def anchors(page):
    """What GitHub makes of the headings of a page."""
    headings = re.findall(r'^#+ (.+)$', prose_of(page), flags=re.M)
    plain = (re.sub(r'[^\w\- ]', '', each.lower()) for each in headings)
    return {each.replace(' ', '-') for each in plain}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_linked_files_and_sections_exist(page):
    for link in re.findall(r'\]\(([^)\s]+)', prose_of(page)):
        if '://' in link:
            continue
        file, _, anchor = link.partition('#')
        target = page.parent / file if file else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_guarantees_name_tests_that_exist():
    page = (ROOT / 'docs' / 'guarantees.md').read_text('utf-8')
    named = set(re.findall(r'`(?:\w+/)*(test_\w+\.py)`', page))
    assert len(named) > 20
    assert named <= {path.name for path in ROOT.glob('tests/**/*.py')}

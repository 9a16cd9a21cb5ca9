"""What the pages refer to exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob('*.md'), *ROOT.glob('*/*.md')])


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_linked_files_exist(page):
    prose = re.sub(r'```.*?```', '', page.read_text('utf-8'), flags=re.S)
    links = re.findall(r'\]\(([^)#\s]+)', prose)
    for link in links:
        if '://' not in link:
            assert (page.parent / link).exists(), link


def test_guarantees_name_tests_that_exist():
    page = (ROOT / 'docs' / 'guarantees.md').read_text('utf-8')
    named = set(re.findall(r'`(?:\w+/)*(test_\w+\.py)`', page))
    assert len(named) > 20
    assert named <= {path.name for path in ROOT.glob('tests/**/*.py')}

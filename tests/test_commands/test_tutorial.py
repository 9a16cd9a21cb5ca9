"""The tutorial is run, from its first command to the exported student."""

import re
import runpy
import shlex
from pathlib import Path

import pytest

from mmwkd.cli import main

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'tutorial.md'
BLOCK = re.compile(r'^```(\w+) ?(\S*)\n(.*?)^```', re.DOTALL | re.MULTILINE)
SHORTER = (
    ('train=240, val=60', 'train=8, val=2'),
    ('max_epochs = 12', 'max_epochs = 1'),
    ('epoch_12', 'epoch_1'),
)


@pytest.mark.slow
def test_the_tutorial_runs_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('sys.argv', ['mmwkd'])
    page = PAGE.read_text('utf-8')
    for long, short in SHORTER:
        assert long in page
        page = page.replace(long, short)
    for language, name, content in BLOCK.findall(page):
        if language == 'python':
            Path(name).write_text(content)
            continue
        for line in content.splitlines():
            program, *words = shlex.split(line)
            if program == 'python':
                runpy.run_path(words[0])
            else:
                assert program == 'mmwkd'
                assert main(words) == 0, line
    capsys.readouterr()
    runpy.run_path('use.py')
    assert capsys.readouterr().out.splitlines()[-1].startswith('tensor(')

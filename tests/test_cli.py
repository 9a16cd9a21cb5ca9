"""Command lines that are made from functions."""

import json
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

import mmwkd
from mmwkd.cli import COMMANDS, main
from mmwkd.extras import needs_extra
from mmwkd.functional.checks import check_positive

# the others are mmdet's own
PARSED = [name for name in COMMANDS if name not in ('train', 'test')]


@dataclass(frozen=True)
class Options:
    """How it is done.

    Attributes:
        size: How large it is.
    """

    size: int = 3

    def __post_init__(self):
        if self.size < 1:
            raise ValueError(f'size must be at least 1, got {self.size}')


DEFAULT = Options()


def command(
    file: str,
    other: str | None = None,
    /,
    *,
    out: str,
    options: Options = DEFAULT,
    force: bool = False,
) -> None:
    """Do something.

    Args:
        file: What is read,
            and looked at.
        other: What may be read.
        out: What is written.
        options: How.
        force: Whether it may be replaced.
    """
    if file == 'interrupt':
        raise KeyboardInterrupt
    if file == 'error':
        check_positive(size=0)
    print(file, other, out, options.size, force)


@pytest.fixture
def run(monkeypatch):
    """Run a function as a command."""

    def call(function, words):
        monkeypatch.setitem(COMMANDS, 'command', function)
        return main(['command', *words])

    return call


def test_positions_options_and_fields_are_parsed(run, capsys):
    assert run(command, ['a', '--out', 'b']) == 0
    assert (
        run(command, ['a', 'c', '--out', 'b', '--size', '5', '--force']) == 0
    )
    assert capsys.readouterr().out == 'a None b 3 False\na c b 5 True\n'


def test_help_has_the_docstrings(run, capsys):
    with pytest.raises(SystemExit) as stop:
        run(command, ['--help'])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for part in (
        'FILE',
        '[OTHER]',
        'What is read, and looked at.',
        'How large it is.',
    ):
        assert part in text


@pytest.mark.parametrize(
    'words', [['a'], ['a', '--out', 'b', '--size', '0'], ['--unknown']]
)
def test_bad_command_lines_end_with_2(run, words, capsys):
    with pytest.raises(SystemExit) as stop:
        run(command, words)
    assert stop.value.code == 2


def test_errors_are_a_sentence_and_ctrl_c_is_clean(run, capsys):
    assert run(command, ['error', '--out', 'b']) == 2
    assert capsys.readouterr().err == 'error: size must be positive, got 0\n'
    assert run(command, ['interrupt', '--out', 'b']) == 130
    assert capsys.readouterr().err == 'interrupted\n'


def split() -> None:
    """Let NumPy complain."""
    np.split(np.zeros(3), 2)


def unpack() -> None:
    """Be wrong, as code of a user's may be."""
    _, _ = [1, 2, 3]


def parse() -> None:
    """Let the standard library complain."""
    json.loads('{')


@pytest.mark.parametrize('function', [split, unpack, parse])
def test_an_error_of_others_keeps_its_traceback(run, function):
    with pytest.raises(ValueError, match=r'equal division|unpack|Expecting'):
        run(function, [])


def test_words_that_nothing_reads_go_to_star_parameters(run, capsys):
    def command(file: str, /, *others: str, size: int = 3) -> None:
        """Do something.

        Args:
            file: What is read.
            *others: Passed on.
            size: How large.
        """
        print(file, others, size)

    words = ['a', '--size', '4', '--amp', '--cfg-options', 'a=1', 'b=2']
    assert run(command, words) == 0
    assert capsys.readouterr().out == (
        "a ('--amp', '--cfg-options', 'a=1', 'b=2') 4\n"
    )


def test_the_overview_names_all_commands(capsys):
    assert main(['--help']) == 0
    overview = capsys.readouterr().out
    assert main([]) == 2
    assert capsys.readouterr().out == overview
    assert all(f'  {name} ' in overview for name in COMMANDS)


def test_the_version_is_told(capsys):
    assert main(['--version']) == 0
    assert capsys.readouterr().out == f'mmwkd {mmwkd.__version__}\n'


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['distill'], "there is no command 'distill'; did you mean 'distil'"),
        (['cost', 'inspct'], "did you mean 'cost inspect'"),
        (['cost'], "there is no command 'cost'"),
        (['train', 'none.py'], 'config none.py does not exist'),
        (['export', 'none.py', 'none.pth'], 'none.py'),
    ],
)
def test_wrong_commands_are_a_sentence(words, said, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count('\n') == 1


@pytest.mark.parametrize('name', COMMANDS)
def test_each_command_has_a_complete_help(name, capsys, monkeypatch):
    monkeypatch.setattr('sys.argv', ['mmwkd'])
    try:
        code = main([*name.split(), '--help'])
    except SystemExit as stop:
        code = stop.code
    assert not code
    text = capsys.readouterr().out
    assert 'usage:' in text
    if name in PARSED:
        assert f'mmwkd {name}' in text
        described = text.partition('options')[2].replace('(required)', '')
        assert '(default' in described or '(optional' in described


def test_nobody_waits_for_torch_to_read_a_help_text_or_an_error():
    words = [
        [],
        *([*name.split(), '--help'] for name in PARSED),
        ['distil', 'none.py', '--teacher', 'none.py', 'none.pth'],
        ['train', 'none.py'],
    ]
    script = f"""
import sys
sys.argv = ['/bin/mmwkd']
from mmwkd.cli import main
for words in {words}:
    try:
        main(words)
    except SystemExit:
        pass
assert not {{'torch', 'mmengine', 'mmdet'}} & set(sys.modules)
import mmwkd
assert mmwkd.DetectorDistiller.is_distiller
assert not hasattr(mmwkd, 'no_such_name')
"""
    completed = subprocess.run(
        [sys.executable, '-c', script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.count('usage: mmwkd') == len(PARSED) + 1
    assert 'config none.py does not exist' in completed.stderr


def test_a_package_that_is_lacking_is_a_sentence(run, capsys):
    def command() -> None:
        """Do something."""
        with needs_extra('cost'):
            import no_such_package  # noqa: F401

    assert run(command, []) == 2
    assert "no_such_package is not installed: pip install 'mmwkd[cost]'" in (
        capsys.readouterr().err
    )

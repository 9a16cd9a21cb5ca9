"""Command lines that are made from functions."""

import re
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

import pytest

import mmwkd
from mmwkd.cli import COMMANDS, main, run


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
        file: What is read.
        other: What may be read.
        out: What is written.
        options: How.
        force: Whether it may be replaced.
    """
    if file == 'interrupt':
        raise KeyboardInterrupt
    if file == 'error':
        raise ValueError('a sentence')
    print(file, other, out, options.size, force)


def test_positions_options_and_fields_are_parsed(capsys):
    assert run(command, ['a', '--out', 'b']) == 0
    assert (
        run(command, ['a', 'c', '--out', 'b', '--size', '5', '--force']) == 0
    )
    assert capsys.readouterr().out == 'a None b 3 False\na c b 5 True\n'


def test_help_has_the_docstrings(capsys):
    with pytest.raises(SystemExit) as stop:
        run(command, ['--help'])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for part in ('FILE', '[OTHER]', 'Do something.', 'How large it is.'):
        assert part in text


@pytest.mark.parametrize(
    'words', [['a'], ['a', '--out', 'b', '--size', '0'], ['--unknown']]
)
def test_bad_command_lines_end_with_2(words, capsys):
    with pytest.raises(SystemExit) as stop:
        run(command, words)
    assert stop.value.code == 2


def test_errors_are_a_sentence_and_ctrl_c_is_clean(capsys):
    assert run(command, ['error', '--out', 'b']) == 2
    assert capsys.readouterr().err == 'error: a sentence\n'
    assert run(command, ['interrupt', '--out', 'b']) == 130
    assert capsys.readouterr().err == 'interrupted\n'


def test_words_that_nothing_reads_go_to_star_parameters(capsys):
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
        (['gradients', 'none.py'], 'config none.py does not exist'),
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
    if not COMMANDS[name].place.endswith('.py'):
        assert f'mmwkd {name}' in text
        described = text.partition('options')[2].replace('(required)', '')
        assert '(default' in described or '(optional' in described


def test_a_function_is_found_by_its_address(tmp_path, monkeypatch, capsys):
    (tmp_path / 'lacking.py').write_text(
        'from mmwkd.extras import needs_extra\n'
        "with needs_extra('cost'):\n"
        '    import no_such_package\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert run('lacking:main', []) == 2
    assert "no_such_package is not installed: pip install 'mmwkd[cost]'" in (
        capsys.readouterr().err
    )
    assert run(f'{__name__}:command', ['a', '--out', 'b']) == 0


def test_tools_name_functions_that_exist():
    named = [
        address
        for path in (Path(__file__).parents[1] / 'tools').glob('*.py')
        for address in re.findall(r"run\('([\w.]+:\w+)'\)", path.read_text())
    ]
    assert len(named) >= 3
    assert all(map(callable, map(resolve_name, named)))

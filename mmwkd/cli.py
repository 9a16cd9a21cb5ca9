"""The commands, and command lines made from the parameters of functions."""

from __future__ import annotations

import difflib
import functools
import inspect
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from mmwkd import commands
from mmwkd.quiet import quiet

_ERROR, _INTERRUPTED = 2, 130


# functions, and tools of mmdet
COMMANDS: dict[str, Callable[..., Any] | str] = {
    'distil': commands.distil,
    'train': 'train.py',
    'test': 'test.py',
    'export': commands.export,
    'cost estimate': commands.cost_estimate,
    'cost inspect': commands.cost_inspect,
    'cost transport': commands.cost_transport,
}

_OVERVIEW = """\
usage: mmwkd COMMAND ...

Distil MMDetection detectors with Wasserstein distances.

{}

mmwkd COMMAND --help says more."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands.

    Args:
        arguments: Words of the command line; None for the process's own.

    Returns:
        Exit code: 0, 2 after an error that is one sentence on the standard
        error, 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ('-h', '--help', 'help'):
        print(_overview())
        return 0 if words else _ERROR
    if words[0] == '--version':
        from mmwkd.version import __version__

        print(f'mmwkd {__version__}')
        return 0
    length = 2 if words[0] == 'cost' else 1
    name, rest = ' '.join(words[:length]), words[length:]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, 1)
        advice = f'did you mean {near[0]!r}? ' if near else ''
        print(
            f'error: there is no command {name!r}; {advice}mmwkd --help '
            'lists them',
            file=sys.stderr,
        )
        return _ERROR
    if not sys.warnoptions:  # those of others, which users cannot mend
        warnings.simplefilter('ignore')
    command = COMMANDS[name]
    if isinstance(command, str):
        return _run_tool(command, rest)
    call = _parse(command, rest, prog=f'mmwkd {name}')
    try:
        training = call()
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return _INTERRUPTED
    except (ValueError, FloatingPointError, ImportError, OSError) as error:
        if not isinstance(error, OSError) and not _is_ours(error):
            raise
        print(f'error: {error}', file=sys.stderr)
        return _ERROR
    return 0 if training is None else _run_tool('train.py', training)


def _is_ours(error: BaseException) -> bool:
    """Whether this package raised an error, not a library or users' code."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return Path(frame.f_code.co_filename).is_relative_to(Path(__file__).parent)


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = []
    for name, command in COMMANDS.items():
        summary = f"run mmdet's {command}, whose options it takes"
        if not isinstance(command, str):
            summary = (command.__doc__ or '').partition('.\n')[0]
        lines.append(f'  {name:{width}}  {summary[:1].lower()}{summary[1:]}')
    return _OVERVIEW.format('\n'.join(lines))


def _run_tool(name: str, arguments: Sequence[str]) -> int:
    """Run a tool of mmdet, whose errors keep their tracebacks."""
    config = next(iter(arguments), '-')
    if not config.startswith('-') and not Path(config).is_file():
        print(f'error: config {config} does not exist', file=sys.stderr)
        return _ERROR
    with quiet():
        from mmwkd.mmdet_tools import run_mmdet_tool
    try:
        run_mmdet_tool(name, arguments)
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def _parse(
    function: Callable[..., Any], arguments: Sequence[str], *, prog: str
) -> Callable[[], Any]:
    """A call of a function with the arguments of a command line.

    Parameters before the ``/`` are positional, all others are options;
    words that are neither are given to ``*`` parameters. Dataclasses give
    an option for each of their fields. Help texts are those of the
    docstrings.
    """
    import tyro

    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    types = get_type_hints(function, include_extras=True)
    for parameter in parameters:
        if parameter.kind is parameter.POSITIONAL_ONLY:
            metavar = parameter.name.upper()
            if parameter.default is not parameter.empty:
                metavar = f'[{metavar}]'
            types[parameter.name] = Annotated[
                types[parameter.name], tyro.conf.arg(metavar=metavar)
            ]
    others = [p for p in parameters if p.kind is p.VAR_POSITIONAL]

    # the call itself stays out of the parser, which words errors anew
    @functools.wraps(function)
    def bound(*args: Any, **kwargs: Any) -> Callable[..., Any]:
        return functools.partial(function, *args, **kwargs)

    del bound.__wrapped__
    # lines of a docstring that go on are one line of a help text
    bound.__doc__ = re.sub(r'\n {12}(?=\S)', ' ', function.__doc__ or '')
    bound.__annotations__ = types
    bound.__signature__ = signature.replace(  # type: ignore
        parameters=[p for p in parameters if p not in others]
    )
    parse = functools.partial(
        tyro.cli,
        bound,
        args=arguments,
        prog=prog,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )
    if not others:
        return parse()
    call, unknown = parse(return_unknown_args=True)
    return functools.partial(call, *unknown)

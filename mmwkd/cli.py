"""Command lines that are made from the parameters of functions."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from pkgutil import resolve_name
from typing import Annotated, Any, get_type_hints

from mmwkd.extras import needs_extra

_ERROR, _INTERRUPTED = 2, 130


def run(
    function: Callable[..., Any] | str,
    arguments: Sequence[str] | None = None,
) -> int:
    """Call a function with the arguments of a command line.

    Parameters before the ``/`` are positional, all others are options.
    Dataclasses among these give an option for each of their fields. Help
    texts are those of the docstrings.

    Args:
        function: What to call, which prints its results itself; or its
            address as 'module:name', so that a package that its module lacks
            is an error like any other.
        arguments: Words of the command line; None for the process's own.

    Returns:
        Exit code: 0, 2 after an error that is one sentence on the standard
        error, 130 after Ctrl-C.
    """
    try:
        if isinstance(function, str):
            call: Callable[..., Any] = resolve_name(function)
        else:
            call = function
        _parse(call, arguments)()
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return _INTERRUPTED
    except (ValueError, FloatingPointError, ImportError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return _ERROR
    return 0


def _parse(
    function: Callable[..., Any], arguments: Sequence[str] | None
) -> Callable[[], Any]:
    with needs_extra('cost'):
        import tyro

    parameters = inspect.signature(function).parameters
    types = get_type_hints(function)
    for name, parameter in parameters.items():
        if parameter.kind is parameter.POSITIONAL_ONLY:
            metavar = name.upper()
            if parameter.default is not parameter.empty:
                metavar = f'[{metavar}]'
            types[name] = Annotated[
                types[name], tyro.conf.arg(metavar=metavar)
            ]

    # the call itself stays out of the parser, which words errors anew
    @functools.wraps(function)
    def bound(*args: Any, **kwargs: Any) -> Callable[[], Any]:
        return functools.partial(function, *args, **kwargs)

    del bound.__wrapped__
    bound.__annotations__ = types
    bound.__signature__ = inspect.signature(function)  # type: ignore
    return tyro.cli(
        bound,
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )

"""Extras: named where absent, and not needed to import the package."""

import ast
from pathlib import Path

import pytest

import mmwkd
from mmwkd.extras import needs_extra

EXTRAS = {'matplotlib', 'ot', 'seaborn', 'sklearn'}
ROOT = Path(mmwkd.__file__).parents[1]


def test_an_absent_package_is_named_with_its_extra():
    with pytest.raises(
        ImportError, match=r"no_such_package .* pip install 'mmwkd\[cost\]'"
    ):
        with needs_extra('cost'):
            import no_such_package  # noqa: F401


def test_a_missing_module_of_our_own_is_a_fault_of_ours():
    with pytest.raises(ModuleNotFoundError, match='mmwkd.none'):
        with needs_extra('cost'):
            import mmwkd.none  # noqa: F401


def file_of(module):
    path = ROOT.joinpath(*module.split('.'))
    return path / '__init__.py' if path.is_dir() else path.with_suffix('.py')


def imports_of(module):
    """Modules that importing a module imports, not those of functions."""
    found, nodes = set(), [ast.parse(file_of(module).read_text())]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
            found |= {
                name
                for alias in node.names
                if file_of(name := f'{node.module}.{alias.name}').is_file()
            }
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            nodes += ast.iter_child_nodes(node)
    return found


def reached_from(module):
    """Packages that an import of a module of ours needs."""
    visited, left = set(), [module]
    while left:
        name = left.pop()
        if name in visited:
            continue
        visited.add(name)
        if name.partition('.')[0] == 'mmwkd':
            parents = name.split('.')
            left += ['.'.join(parents[:n]) for n in range(1, len(parents))]
            left += imports_of(name)
    return {name.partition('.')[0] for name in visited}


def test_importing_the_package_needs_no_extra():
    assert {'torch', 'mmdet'} <= reached_from('mmwkd')
    assert not EXTRAS & reached_from('mmwkd')
    assert not EXTRAS & reached_from('mmwkd.commands')
    assert not EXTRAS & reached_from('mmwkd.distil')
    assert not EXTRAS & reached_from('mmwkd.costs.estimate')
    assert {'seaborn', 'ot'} <= reached_from('mmwkd.costs.transport')


def test_the_file_of_a_cost_matrix_needs_nothing_above_it():
    ours = {
        name
        for module in ('costs', 'costs.cost_matrix')
        for name in imports_of(f'mmwkd.{module}')
        if name.startswith('mmwkd')
    }
    allowed = tuple(
        f'mmwkd.{name}' for name in ('configs', 'costs', 'files', 'functional')
    )
    assert all(name.startswith(allowed) for name in ours), ours

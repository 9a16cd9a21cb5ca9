"""What all tests share: silence, seeds, and data that may be absent."""

import importlib
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.utils import register_all_modules
from mmengine.logging import MessageHub, MMLogger
from torch import distributed

import tests.quick_dump.sitecustomize  # noqa: F401

SHARED = Path(__file__).resolve().parents[1].parent / 'shared'

register_all_modules(init_default_scope=True)


def cpu_autocasts_to(dtype):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        try:
            torch.autocast('cpu', dtype=dtype)
        except UserWarning:
            return False
    return True


def pytest_configure(config):
    config.option.loadscopereorder = False  # the order below is better


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items):
    """Run a module in one process, and one test of several ranks at a time.

    Groups with slow tests come first, so that quick ones fill up the end.
    """
    groups, slow = {}, set()
    for item in items:
        if item.get_closest_marker('several_processes'):
            group = 'several processes'
        else:
            group = item.nodeid.partition('::')[0]
        item.add_marker(pytest.mark.xdist_group(group))
        groups[item] = group
        if item.get_closest_marker('slow'):
            slow.add(group)
    items.sort(key=lambda item: groups[item] not in slow)


def pytest_collection_finish(session):
    """Fixtures of a module would be made in each process, ranks collide."""
    grouping = getattr(session.config.option, 'loadgroup', False)
    if grouping and not all('@' in item.nodeid for item in session.items):
        raise pytest.UsageError(
            f'pytest {pytest.__version__} keeps pytest-xdist from grouping '
            'tests: install the versions of pyproject.toml'
        )


@pytest.fixture(autouse=True)
def _quiet_and_seeded():
    # one line per initialised weight would bury what a failing test prints
    MMLogger.get_current_instance().setLevel('ERROR')
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_run_is_remembered():
    """The hub of the last run would tell later tests of its dataset."""
    yield
    hub = MessageHub.get_current_instance()
    for name in ('loop_stage', 'dataset_meta'):
        hub.pop_info(name, None)


@pytest.fixture
def group():
    """One process that is joined as those of a multi-GPU run are."""
    distributed.init_process_group(
        'gloo', store=distributed.HashStore(), rank=0, world_size=1
    )
    yield
    distributed.destroy_process_group()


@pytest.fixture(scope='session')
def reference():
    """Inputs and expected outputs of the reference behaviour."""
    path = SHARED / 'reference' / 'wkd_reference_values.npz'
    if not path.is_file():
        pytest.skip('reference values are not on this machine')
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


@pytest.fixture(scope='session')
def coco_tiny():
    """A few real COCO photographs in COCO's layout."""
    path = SHARED / 'coco_tiny'
    if not path.is_dir():
        pytest.skip('coco_tiny is not on this machine')
    return path


@pytest.fixture
def mmcv_ops_take_halves(monkeypatch):
    """mmcv's CPU operators lack half precision, which those of CUDA have."""
    nms = importlib.import_module('mmcv.ops.nms')
    roi_align = importlib.import_module('mmcv.ops.roi_align')

    def in_float32(owner, name):
        op = getattr(owner, name)

        def promoted(*args):
            output = op(
                *(
                    a.float()
                    if isinstance(a, torch.Tensor) and a.is_floating_point()
                    else a
                    for a in args
                )
            )
            return (
                output.to(args[0].dtype)
                if output.is_floating_point()
                else output
            )

        monkeypatch.setattr(owner, name, promoted)

    in_float32(nms.NMSop, 'apply')
    in_float32(roi_align, 'roi_align')

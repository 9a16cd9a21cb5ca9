"""Distil MMDetection detectors with Wasserstein distances.

Importing the package registers its components, so a config needs no more
than ``custom_imports = dict(imports=['mmwkd'])``. Only the process of a
command (``mmwkd ...``) reads its command line first: nobody should wait
seconds for torch and mmdet to see a help text.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from mmwkd.version import __version__

_COMMAND = sys.orig_argv[1:3] == ['-m', 'mmwkd'] or (
    Path(sys.argv[0]).stem == 'mmwkd'
)
if not _COMMAND:
    from mmwkd.components import (
        DetectorDistiller,
        DistillationWeightHook,
        PreemptionHook,
        SafeCheckpointHook,
        TeacherCheckHook,
        WKDFeatureLoss,
        WKDLogitLoss,
    )

__all__ = [
    'DetectorDistiller',
    'DistillationWeightHook',
    'PreemptionHook',
    'SafeCheckpointHook',
    'TeacherCheckHook',
    'WKDFeatureLoss',
    'WKDLogitLoss',
    '__version__',
]


def __getattr__(name: str) -> Any:
    """Find a component that a command has not registered yet."""
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module('mmwkd.components'), name)

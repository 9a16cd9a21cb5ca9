"""One process runs everything on the imagined device."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='session')
def probe(tmp_path_factory):
    """What each case did, by kind and name."""
    if not hasattr(
        backend_registration, '_setup_privateuseone_for_python_backend'
    ):
        pytest.skip(
            'this torch cannot imagine a device: it lacks the interface for '
            'backends in Python, which came with torch 2.9'
        )
    out = tmp_path_factory.mktemp('device') / 'probe.json'
    result = subprocess.run(
        [sys.executable, '-m', 'tests.test_device.probe', str(out)],
        cwd=ROOT,
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(out.read_text())

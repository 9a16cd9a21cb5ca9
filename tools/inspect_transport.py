"""Show what entropic transport does on RoIs, and what reg does to it."""

import sys

import mmwkd  # noqa: F401  registers the components
from mmwkd.cli import run

if __name__ == '__main__':
    sys.exit(run('mmwkd.costs.transport_inspection:cost_transport'))

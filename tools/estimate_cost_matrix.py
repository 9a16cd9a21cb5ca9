"""Estimate how related a teacher's categories are, as the cost of WKD-L."""

import sys

import mmwkd  # noqa: F401  registers the components
from mmwkd.cli import run

if __name__ == '__main__':
    sys.exit(run('mmwkd.costs.estimate:cost_estimate'))

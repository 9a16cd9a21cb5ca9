"""Show how good a cost matrix is: figures, a heatmap and a map."""

import sys

import mmwkd  # noqa: F401  registers the components
from mmwkd.cli import run

if __name__ == '__main__':
    sys.exit(run('mmwkd.costs.inspection:cost_inspect'))

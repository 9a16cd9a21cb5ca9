"""Estimate how related a teacher's categories are, as the cost of WKD-L."""

import sys

from mmwkd.cli import main

if __name__ == '__main__':
    sys.exit(main(['cost', 'estimate', *sys.argv[1:]]))

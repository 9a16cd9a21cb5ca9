"""Show what entropic transport does on RoIs, and what reg does to it."""

import sys

from mmwkd.cli import main

if __name__ == '__main__':
    sys.exit(main(['cost', 'transport', *sys.argv[1:]]))

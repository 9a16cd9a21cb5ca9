"""Run the commands with ``python -m mmwkd``."""

import sys

from mmwkd.cli import main

if __name__ == '__main__':
    sys.exit(main())

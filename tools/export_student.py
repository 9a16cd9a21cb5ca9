"""Write a run's student as a checkpoint and a config of plain mmdet."""

import sys

from mmwkd.cli import main

if __name__ == '__main__':
    sys.exit(main(['export', *sys.argv[1:]]))

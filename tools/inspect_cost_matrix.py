"""Show how good a cost matrix is: figures, a heatmap and a map."""

import sys

from mmwkd.cli import main

if __name__ == '__main__':
    sys.exit(main(['cost', 'inspect', *sys.argv[1:]]))

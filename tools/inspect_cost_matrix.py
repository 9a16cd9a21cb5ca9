"""Show how good a cost matrix is: a table, pictures and an HTML report."""

import sys

from mmwkd.cli import main

if __name__ == '__main__':
    sys.exit(main(['cost', 'inspect', *sys.argv[1:]]))

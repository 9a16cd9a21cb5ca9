"""Show the progress of a verbose pip install that compiles with ninja."""

import re
import sys

STEP = re.compile(r'^\s*\[(\d+)/(\d+)\]')


def main() -> None:
    """Print one line per tenth of a compilation, and pip's own milestones."""
    last_tenth = -1
    for line in sys.stdin:
        step = STEP.match(line)
        if step:
            done, total = map(int, step.groups())
            tenth = 10 * done // total
            if tenth != last_tenth:
                print(f'  compiled {done} of {total} files', flush=True)
                last_tenth = tenth
        elif line.startswith(('Successfully', 'ERROR', 'error:')):
            print(' ', line.strip()[:160], flush=True)


if __name__ == '__main__':
    main()

"""Show the progress of a verbose pip install that compiles with ninja."""

import re
import sys
import time

STEP = re.compile(r'^\s*\[(\d+)/(\d+)\]')


def main() -> None:
    """Print a line that moves, or one per tenth where nobody watches it."""
    begin, last_tenth = time.monotonic(), -1
    watched = sys.stdout.isatty()
    for line in sys.stdin:
        step = STEP.match(line)
        if step:
            done, total = map(int, step.groups())
            minutes, seconds = divmod(int(time.monotonic() - begin), 60)
            text = (
                f'  mmcv: compiled {done} of {total} files, '
                f'{minutes}:{seconds:02d}'
            )
            tenth = 10 * done // total
            if watched:
                print(f'\r{text} ', end='\n' * (done == total), flush=True)
            elif tenth != last_tenth:
                print(text, flush=True)
            last_tenth = tenth
        elif line.startswith(('Successfully', 'ERROR', 'error:')):
            print(' ', line.strip()[:160], flush=True)


if __name__ == '__main__':
    main()

"""Faults that happen to a process of its own while it changes files."""

import os
import resource
import signal
import sys
from pathlib import Path

FILE_CHANGES = ('open', 'os.rename', 'os.remove', 'os.chmod')


def inject(folder, is_wanted, *, fault=None, at=0, limit=0):
    """Watch the changes of files in a folder; let one of them go wrong.

    Only for a process of its own: neither is ever undone.

    Args:
        folder: Folder; those below it are watched too.
        is_wanted: Says by its name whether a file counts.
        fault: 'kill' the process before a change; or from then on no file
            can grow beyond the limit, and a write that would is 'cut' in the
            middle by a kill or ends with an error, as on a 'full' disk.
        at: Number of the change at which the fault is, from 0.
        limit: Size in bytes.

    Returns:
        List that the changes are appended to as they happen.
    """
    events = []

    def audit(event, args):
        if event not in FILE_CHANGES or isinstance(args[0], int):
            return
        if event == 'open' and not args[2] & (os.O_WRONLY | os.O_RDWR):
            return
        path = Path(os.fsdecode(args[0]))
        if path.is_relative_to(folder) and is_wanted(path.name):
            if fault is not None and len(events) == at:
                _happen(fault, limit)
            events.append(f'{event} {path.name}')

    sys.addaudithook(audit)
    return events


def _happen(fault, limit):
    if fault == 'kill':
        os.kill(os.getpid(), signal.SIGKILL)
    action = signal.SIG_DFL if fault == 'cut' else signal.SIG_IGN
    signal.signal(signal.SIGXFSZ, action)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

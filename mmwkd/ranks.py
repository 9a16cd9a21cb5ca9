"""Which process of a distributed run this is."""

from __future__ import annotations

import os


def local_rank() -> int:
    """Number of this process on its machine; 0 if it is alone.

    All launchers that mmengine knows set the variable, and mmengine's own
    ``get_local_rank`` asks for a process group that nothing creates.
    """
    return int(os.environ.get('LOCAL_RANK', 0))

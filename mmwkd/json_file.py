"""Read a JSON file, or say which file is none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def read_json(path: str | os.PathLike[str]) -> Any:
    """Parse a JSON file in UTF-8.

    Args:
        path: File to read.

    Returns:
        What it holds.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no JSON, or nested too deeply, naming the file.
    """
    try:
        return json.loads(Path(path).read_text(encoding='utf-8'))
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path} is no JSON file: {error}') from error

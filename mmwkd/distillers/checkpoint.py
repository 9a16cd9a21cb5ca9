"""Read a detector's checkpoint without executing anything in it."""

import hashlib
import os
import re
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.parse import urlparse

import torch
from filelock import FileLock
from torch import Tensor, nn

from mmwkd.distillers.safe_load import load_data

# OpenMMLab's published files end with the first digits of their SHA-256
_HASH_SUFFIX = re.compile(r'-([0-9a-f]{8})\.pth$')


@dataclass(frozen=True)
class DetectorWeights:
    """Weights of a detector and what their file says about them."""

    state_dict: Mapping[str, Tensor]
    classes: tuple[str, ...] | str | None  # as stored; None if not stored
    sha256: str  # of the file


def read_weights(
    source: str, role: str = 'teacher checkpoint'
) -> DetectorWeights:
    """Read a checkpoint from a path or an HTTP(S) URL.

    Tensors and plain data come in, code does not. A download is kept in
    torch's hub folder; of the processes of a machine, however they were
    launched, one downloads.

    Args:
        source: Path or URL.
        role: What the file is, for messages.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no checkpoint that can be read safely.
    """
    path = Path(source).expanduser()
    if '://' in source:
        path = _fetch(source, role)
    if not path.is_file():
        raise FileNotFoundError(f'{role} {path} does not exist')
    checkpoint = _load_safely(path, role)
    entries = checkpoint if isinstance(checkpoint, dict) else {}
    state_dict = entries.get('state_dict', entries)
    if (
        not isinstance(state_dict, Mapping)
        or not state_dict
        or not all(
            isinstance(key, str) and isinstance(value, Tensor)
            for key, value in state_dict.items()
        )
    ):
        raise ValueError(
            f'{role} {path} holds no weights: it is a '
            f'{type(checkpoint).__name__} with entries {list(entries)[:5]}'
        )
    return DetectorWeights(
        {
            re.sub(r'^module\.', '', key): value
            for key, value in state_dict.items()
        },
        _stored_classes(entries.get('meta', {})),
        _sha256(path),
    )


def find_damage(path: str | os.PathLike[str]) -> str | None:
    """Compare a checkpoint with the checksums that it contains.

    ``torch.load`` notices a file that is cut short, but no other damage.

    Returns:
        What is wrong with the file; None if nothing is known to be.
    """
    with open(path, 'rb') as file:
        start = file.read(2)
    if start[:1] == b'\x80':  # torch before 1.6 wrote pickles: no checksums
        return None
    if start != b'PK':
        return 'it is empty' if not start else 'it is no checkpoint'
    try:
        with zipfile.ZipFile(path) as archive:
            # 0 everywhere: torch was told to compute none
            summed = any(info.CRC for info in archive.infolist())
            entry = archive.testzip() if summed else None
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        return f'it is cut short or overwritten ({error})'
    return entry and f'its entry {entry} does not match its checksum'


def load_strictly(
    detector: nn.Module,
    weights: DetectorWeights,
    source: str,
    role: str = 'teacher checkpoint',
) -> list[str]:
    """Load weights into a detector; every weight must be there and fit.

    Returns:
        Keys of the checkpoint that the detector has no use for.
    """
    try:
        missing, unexpected = detector.load_state_dict(
            weights.state_dict, strict=False
        )
    except RuntimeError as error:  # shapes differ
        shapes = re.findall(
            r'size mismatch for ([^:]+): .*?\[([\d, ]*)\].*?'
            r'\[([\d, ]*)\]',
            str(error),
        )
        listed = '; '.join(
            f'{key} is ({stored}) in the file and ({built}) in the config'
            for key, stored, built in shapes[:3]
        )
        raise ValueError(
            f'{role} {source} does not fit its config: '
            f'{len(shapes)} weights have another shape ({listed or error}); '
            'is it of another architecture or number of classes?'
        ) from error
    missing = [key for key in missing if 'num_batches_tracked' not in key]
    if missing:
        raise ValueError(
            f'{role} {source} does not fit its config: '
            f'{len(missing)} weights are missing, such as '
            f'{", ".join(missing[:3])}; is it of another architecture?'
        )
    return list(unexpected)


def _fetch(url: str, role: str) -> Path:
    """Download, one process at a time: the others find the file there."""
    if not url.startswith(('http://', 'https://')):
        raise ValueError(
            f'{role} {url} cannot be read: give a path or a URL of http:// or '
            'https://'
        )
    name = Path(urlparse(url).path).name
    path = Path(torch.hub.get_dir()) / 'checkpoints' / name
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = _HASH_SUFFIX.search(name)
    with ExitStack() as held:
        # a disk may know no locks: then several download, which does no harm
        with suppress(NotImplementedError, OSError):
            held.enter_context(FileLock(path.with_name(f'{name}.lock')))
        if not path.is_file():
            try:
                torch.hub.download_url_to_file(
                    url, str(path), digest.group(1) if digest else None
                )
            except (OSError, RuntimeError) as error:
                raise ValueError(
                    f'{role} {url} could not be downloaded ({error}); '
                    'download it elsewhere and pass its path'
                ) from error
    return path


def _load_safely(path: Path, role: str) -> Any:
    try:
        checkpoint = load_data(path)
    except UnpicklingError as error:
        raise ValueError(
            f'{role} {path} cannot be read safely: it holds more than tensors '
            'and plain data, which is never executed. If you trust it, keep '
            'its weights alone: torch.save(torch.load(path, '
            "weights_only=False)['state_dict'], new_path)"
        ) from error
    except Exception as error:  # broken bytes make a parser raise anything
        raise ValueError(
            f'{role} {path} cannot be read; it may be truncated or no '
            f'checkpoint ({type(error).__name__}: '
            f'{str(error).partition(chr(10))[0]})'
        ) from error
    damage = find_damage(path)
    if damage:
        raise ValueError(f'{role} {path} is damaged: {damage}; copy it anew')
    return checkpoint


def _stored_classes(meta: Any) -> tuple[str, ...] | str | None:
    nested = meta.get('dataset_meta') if isinstance(meta, Mapping) else None
    for source in (nested, meta):
        for name in ('classes', 'CLASSES'):
            classes = source.get(name) if isinstance(source, Mapping) else None
            if classes and isinstance(classes, (list, tuple)):
                return tuple(map(str, classes))
            if classes and isinstance(classes, str):
                return classes  # a forgotten comma; for others to refuse
    return None


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open('rb') as file:
        for chunk in iter(lambda: file.read(1 << 20), b''):
            digest.update(chunk)
    return digest.hexdigest()

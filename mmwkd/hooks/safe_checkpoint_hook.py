"""Keep the checkpoints of a run intact, whatever ends it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, get_file_backend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmwkd.atomic import atomic_write, remove_leftovers
from mmwkd.distillers.checkpoint import find_damage


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """Save checkpoints so that no crash and no full disk costs one.

    mmengine's ``CheckpointHook``, which takes the same options, and

    - a checkpoint gets its name once all of it is on the disk;
    - a checkpoint that is kept no longer is removed after its successor is
      written, where mmengine removes it before: the disk needs room for one
      more;
    - a run neither resumes nor starts from a damaged checkpoint, which
      ``torch.load`` may accept: the newest intact one is named.

    Checkpoints that do not go to a local folder are left to mmengine.
    """

    backend_args: dict[str, Any] | None

    def before_run(self, runner: Runner) -> None:
        """Refuse a damaged checkpoint before it is loaded."""
        path = runner._load_from
        if path is not None:
            damage = find_damage(path) if os.path.isfile(path) else None
            if damage:
                raise ValueError(f'checkpoint {path} is damaged: {damage}')
        elif runner._resume:
            check_latest(runner.work_dir, self._folder(runner), self._pattern)

    def before_train(self, runner: Runner) -> None:
        """Take over the writing to a local folder."""
        folder = self._folder(runner)
        if (
            self.backend_args is None
            and self.file_client_args is None
            and isinstance(get_file_backend(folder), LocalBackend)
        ):
            self.backend_args = dict(backend=_BACKEND)
            if is_main_process():
                remove_leftovers(folder, '*.pth')
        super().before_train(runner)
        self._remove_outdated()

    def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
        """Save, then remove."""
        super().after_train_iter(*args, **kwargs)
        self._remove_outdated()

    def after_train_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Save, then remove."""
        super().after_train_epoch(*args, **kwargs)
        self._remove_outdated()

    def after_val_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Save the best, then remove."""
        super().after_val_epoch(*args, **kwargs)
        self._remove_outdated()

    def _remove_outdated(self) -> None:
        backend = getattr(self, 'file_backend', None)  # none if only tested
        if isinstance(backend, CheckpointBackend):
            backend.remove_outdated()

    def _folder(self, runner: Runner) -> str:
        """Where the checkpoints go, as ``before_train`` has it."""
        if self.out_dir in (None, runner.work_dir):
            return runner.work_dir
        return os.path.join(
            self.out_dir, os.path.basename(runner.work_dir.rstrip(os.sep))
        )

    @property
    def _pattern(self) -> re.Pattern[str]:
        """Names of checkpoints, with their number as the group."""
        before, after = map(re.escape, self.filename_tmpl.split('{}'))
        return re.compile(rf'{before}(\d+){after}')


_BACKEND = 'mmwkd_checkpoint'


@register_backend(_BACKEND)
class CheckpointBackend(LocalBackend):
    """Local files that appear whole, and are removed only when told twice."""

    def __init__(self) -> None:
        super().__init__()
        self._outdated: list[tuple[str, os.stat_result]] = []

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file, whole or not at all."""
        with atomic_write(filepath, force=True) as file:
            file.write(obj)

    def remove(self, filepath: str | Path) -> None:
        """Mark a file as outdated."""
        self._outdated.append((str(filepath), os.stat(filepath)))

    def remove_outdated(self) -> None:
        """Remove what is marked, unless it was written anew since."""
        while self._outdated:
            path, marked = self._outdated.pop()
            if os.path.exists(path) and os.path.samestat(
                os.stat(path), marked
            ):
                os.remove(path)


def check_latest(work_dir: str, folder: str, pattern: re.Pattern[str]) -> None:
    """Find out whether a run can resume from its latest checkpoint.

    Args:
        work_dir: Folder of the run, with mmengine's file ``last_checkpoint``.
        folder: Where the checkpoints are.
        pattern: Their names, with their number as the group.

    Raises:
        ValueError: If the latest checkpoint is missing or damaged, naming the
            newest intact one.
    """
    pointer = Path(work_dir, 'last_checkpoint')
    latest = pointer.read_text().strip() if pointer.exists() else None
    if latest is None:
        problem = f'{pointer}, which names the checkpoint, does not exist'
    elif not latest:
        problem = f'{pointer}, which names the checkpoint, is empty'
    elif '://' in latest or os.path.isdir(latest):
        return  # a remote file or a sharded checkpoint: mmengine's business
    elif not os.path.isfile(latest):
        problem = f'{latest}, named by {pointer}, does not exist'
    else:
        damage = find_damage(latest)
        if damage is None:
            return
        problem = f'{latest}, named by {pointer}, is damaged: {damage}'
    intact = _newest_intact(folder, pattern)
    if intact is not None:
        raise ValueError(
            f'the run cannot be resumed from its latest checkpoint: {problem}'
            f'. The newest intact one is {intact}; go on from it with '
            f'--resume {intact}'
        )
    if latest is not None:
        raise ValueError(
            f'the run cannot be resumed: {problem}, and no checkpoint in '
            f'{folder} is intact; start over without --resume'
        )


def _newest_intact(folder: str, pattern: re.Pattern[str]) -> Path | None:
    numbered = []
    for path in Path(folder).glob('*'):
        match = pattern.fullmatch(path.name)
        if match and path.is_file():
            numbered.append((int(match.group(1)), path))
    for _, path in sorted(numbered, reverse=True):
        if find_damage(path) is None:
            return path
    return None

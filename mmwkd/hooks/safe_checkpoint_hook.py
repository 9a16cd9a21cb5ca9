"""Keep the checkpoints of a run intact, whatever ends it."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, get_file_backend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmwkd.distillers.checkpoint import find_damage
from mmwkd.files import atomic_write, remove_leftovers
from mmwkd.hooks.resuming import PROGRESS, go_on, progress
from mmwkd.random_state import generator_states, restore_generators


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """Save checkpoints so that no crash and no full disk costs one.

    mmengine's ``CheckpointHook``, which takes the same options, and

    - a checkpoint gets its name once all of it is on the disk;
    - a checkpoint that is kept no longer is removed after its successor is
      written, where mmengine removes it before: the disk needs room for one
      more;
    - a run neither resumes nor starts from a damaged checkpoint, which
      ``torch.load`` may accept: the newest intact one is named;
    - a run that was killed before the file ``last_checkpoint`` was complete
      resumes from the newest intact checkpoint;
    - a resumed run draws the random numbers and the images that the
      uninterrupted one would have drawn, also within an epoch, where no
      worker processes draw any. Validating draws none of those.

    Checkpoints that do not go to a local folder are left to mmengine.
    """

    plain_hook: ClassVar[str | None] = 'CheckpointHook'
    backend_args: dict[str, Any] | None
    _resumed: dict[str, Any] | None = None
    _saved: dict[str, Any] | None = None
    _before_val: dict[str, Any] | None = None

    def before_run(self, runner: Runner) -> None:
        """Choose what to resume; refuse a damaged checkpoint."""
        path = runner._load_from
        if path is not None:
            damage = find_damage(path) if os.path.isfile(path) else None
            if damage:
                raise ValueError(f'checkpoint {path} is damaged: {damage}')
        elif runner._resume:
            runner._load_from = checkpoint_to_resume(
                runner.work_dir, self._folder(runner), self._pattern
            )

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
        if self._resumed is not None:
            go_on(runner, self._resumed)

    def after_load_checkpoint(
        self, runner: Runner, checkpoint: dict[str, Any]
    ) -> None:
        """Take out what mmengine does not restore."""
        self._resumed = checkpoint.get(PROGRESS) if runner._resume else None
        if runner._resume:
            _check_same_parameters(runner, checkpoint)

    def before_save_checkpoint(
        self, runner: Runner, checkpoint: dict[str, Any]
    ) -> None:
        """Add what mmengine does not save."""
        if self._saved is not None:
            checkpoint[PROGRESS] = self._saved

    def before_val(self, runner: Runner) -> None:
        """Note the generators: a resumed run does not validate first."""
        self._before_val = generator_states()

    def after_val(self, runner: Runner) -> None:
        """Draw on as if nothing had been drawn in between."""
        if self._before_val is not None:
            restore_generators(self._before_val)
            self._before_val = None

    def save_preempted(
        self, runner: Runner, *, iteration: int, validating: bool
    ) -> str:
        """Save a run that has to end, for ``--resume`` to find.

        Of ``iteration`` iterations that are done, maybe amid a validation;
        the checkpoint, whose path is returned, replaces the one before.
        """
        path = self.file_backend.join_path(self.out_dir, _PREEMPTED)
        with self._progress_saved(runner, validating=validating):
            runner.save_checkpoint(
                self.out_dir,
                _PREEMPTED,
                self.file_client_args,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=dict(epoch=runner.epoch, iter=iteration),
                backend_args=self.backend_args,
                **self.args,
            )
        if is_main_process():
            pointer = Path(runner.work_dir, 'last_checkpoint')
            with atomic_write(pointer, force=True) as file:
                file.write(path.encode())
        return path

    def _save_checkpoint_with_step(
        self, runner: Runner, step: int, meta: dict[str, Any]
    ) -> None:
        with self._progress_saved(runner):
            super()._save_checkpoint_with_step(runner, step, meta)

    @contextmanager
    def _progress_saved(
        self, runner: Runner, *, validating: bool = False
    ) -> Iterator[None]:
        """Checkpoints of this context have the entry ``PROGRESS``."""
        states = self._before_val or generator_states()
        self._saved = progress(runner, states, validating=validating)
        try:
            yield
        finally:
            self._saved = None

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
        parts = re.split(r'\{[^}]*\}', self.filename_tmpl, maxsplit=1)
        before, after = map(re.escape, parts)
        return re.compile(rf'{before}(\d+){after}')


def _check_same_parameters(runner: Runner, checkpoint: dict[str, Any]) -> None:
    """Refuse to resume a run that trained other parameters."""
    saved = (checkpoint.get('optimizer') or {}).get('param_groups')
    own = getattr(runner.optim_wrapper, 'param_groups', None)
    if saved is None or own is None:
        return
    before, now = (
        sum(len(group['params']) for group in groups)
        for groups in (saved, own)
    )
    if before != now:
        raise ValueError(
            f'the run cannot be resumed: its checkpoint has trained {before} '
            f'parameters, and now there are {now}, as with other losses: '
            'start a run with load_from in place of --resume'
        )


_BACKEND = 'mmwkd_checkpoint'
_PREEMPTED = 'preempted.pth'


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


def checkpoint_to_resume(
    work_dir: str, folder: str, pattern: re.Pattern[str]
) -> str | None:
    """The latest checkpoint of a run; None if there is none.

    The one that ``last_checkpoint`` in the working directory names; the
    newest intact one of a folder where that file is empty or absent, as a
    kill leaves it. A missing or damaged one is a ValueError that names the
    newest intact one.
    """
    pointer = Path(work_dir, 'last_checkpoint')
    latest = pointer.read_text().strip() if pointer.exists() else ''
    if not latest:
        return _newest_intact(folder, pattern)
    if '://' in latest or os.path.isdir(latest):
        return latest  # remote or sharded: mmengine's business
    if os.path.isfile(latest):
        damage = find_damage(latest)
        if damage is None:
            return latest
        problem = f'is damaged: {damage}'
    else:
        problem = 'does not exist'
    intact = _newest_intact(folder, pattern)
    remedy = (
        f'No checkpoint in {folder} is intact; start over without --resume'
        if intact is None
        else f'The newest intact one is {intact}; go on from it with '
        f'--resume {intact}'
    )
    raise ValueError(
        f'the run cannot be resumed: its checkpoint {latest}, named by '
        f'{pointer}, {problem}. {remedy}'
    )


def _newest_intact(folder: str, pattern: re.Pattern[str]) -> str | None:
    numbered = [
        (int(match.group(1)), str(path))
        for path in Path(folder).glob('*')
        if (match := pattern.fullmatch(path.name)) and path.is_file()
    ]
    paths = (path for _, path in sorted(numbered, reverse=True))
    return next((path for path in paths if find_damage(path) is None), None)

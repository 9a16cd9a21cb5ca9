"""Give a distiller's state dict the keys of the plain student, and back.

Metadata is what PyTorch offers for data that belongs to a module but is no
weight of the model: it is saved and loaded with the state dict, and the plain
student ignores it. The adapters travel there, and the balance of losses.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log
from torch import Tensor

# entries of the module's metadata
_ADAPTERS = 'mmwkd_adapters'
_BALANCE = 'mmwkd_balance'
_TEACHER = 'mmwkd_teacher'  # hash of its checkpoint


class OnCpuInFiles(OrderedDict[str, Tensor]):
    """Tensors that a file holds on the CPU, wherever they are.

    mmengine moves the entries of a state dict before it saves them, but not
    the metadata. Moving them here, when asked for a state dict, would let
    the CPU wait for the GPU in every step of an averaged model.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        moved = ((name, value.cpu()) for name, value in self.items())
        return OrderedDict, (), None, None, moved


def as_plain_student(
    distiller: Any,
    state_dict: dict[str, Any],
    prefix: str,
    local_metadata: dict[str, Any],
) -> None:
    """State dict hook of distillers that leaves the student, in place.

    Adapters and balance go into the metadata of the distiller, with the
    teacher that they are for.
    """
    student = f'{prefix}student.'
    others = tuple(
        f'{prefix}{name}.'
        for name, _ in distiller.named_children()
        if name != 'student'
    )
    # first: the student may have parts of the same names
    for key in [key for key in state_dict if key.startswith(others)]:
        del state_dict[key]
    for key in [key for key in state_dict if key.startswith(student)]:
        value = state_dict.pop(key)
        state_dict[prefix + key.removeprefix(student)] = value
    versions = getattr(state_dict, '_metadata', {})
    for key in [key for key in versions if key.startswith(student)]:
        versions[prefix + key.removeprefix(student)] = versions.pop(key)
    weights = distiller.adapters.state_dict()
    if weights:
        local_metadata[_ADAPTERS] = OnCpuInFiles(
            (name, value.detach().clone()) for name, value in weights.items()
        )
    if distiller.balance.interval:
        local_metadata[_BALANCE] = distiller.balance.state()
    local_metadata[_TEACHER] = distiller.teacher_sha256


def from_plain_student(
    distiller: Any,
    state_dict: dict[str, Any],
    prefix: str,
    local_metadata: Mapping[str, Any],
) -> None:
    """Undo :func:`as_plain_student`, in place, before weights are loaded.

    Adapters that did not come, or are of another pair, stay as they are, and
    so does the balance.
    """
    for key in [key for key in state_dict if key.startswith(prefix)]:
        name = key.removeprefix(prefix)
        state_dict[f'{prefix}student.{name}'] = value = state_dict.pop(key)
        if name.startswith('data_preprocessor.'):  # both share this module
            state_dict[key] = value
    sha256 = distiller.teacher_sha256
    same_teacher = local_metadata.get(_TEACHER, sha256) == sha256
    if not same_teacher:
        print_log(
            'mmwkd: the loaded weights were distilled from another teacher, '
            'so adapters and the balance of losses start anew',
            'current',
        )
    saved = local_metadata.get(_ADAPTERS, {}) if same_teacher else {}
    for name, value in distiller.adapters.state_dict().items():
        other = saved.get(name, value)
        fits = other.shape == value.shape
        state_dict[f'{prefix}adapters.{name}'] = other if fits else value
    if same_teacher and _BALANCE in local_metadata:
        distiller.balance.load(local_metadata[_BALANCE])

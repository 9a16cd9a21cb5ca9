"""Give a distiller's state dict the keys of the plain student, and back.

Metadata is what PyTorch offers for data that belongs to a module but is no
weight of the model: it is saved and loaded with the state dict, and the plain
student ignores it. The adapters travel there, and the balance of losses.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

# entries of the module's metadata
_ADAPTERS = 'mmwkd_adapters'
BALANCE = 'mmwkd_balance'


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
    distiller: nn.Module,
    state_dict: dict[str, Any],
    prefix: str,
    local_metadata: dict[str, Any],
) -> None:
    """State dict hook that removes all but the student, in place.

    Args:
        distiller: Module with the children ``student`` and ``adapters``.
        state_dict: State dict of the whole.
        prefix: What the names of its entries begin with.
        local_metadata: Metadata of the distiller, which gets the adapters.
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
    weights = distiller.get_submodule('adapters').state_dict()
    if weights:
        local_metadata[_ADAPTERS] = OnCpuInFiles(
            (name, value.detach().clone()) for name, value in weights.items()
        )


def from_plain_student(
    adapters: Mapping[str, Tensor],
    state_dict: dict[str, Any],
    prefix: str,
    local_metadata: Mapping[str, Any],
) -> None:
    """Accept a plain student's weights, in place, and adapters that came.

    Args:
        adapters: Weights of the adapters as they are; those that did not
            come, or are of another pair, stay.
        state_dict: State dict of a student.
        prefix: What the names of its entries begin with.
        local_metadata: Metadata that came with it.
    """
    for key in [key for key in state_dict if key.startswith(prefix)]:
        name = key.removeprefix(prefix)
        state_dict[f'{prefix}student.{name}'] = value = state_dict.pop(key)
        if name.startswith('data_preprocessor.'):  # both share this module
            state_dict[key] = value
    saved = local_metadata.get(_ADAPTERS, {})
    for name, value in adapters.items():
        other = saved.get(name, value)
        fits = other.shape == value.shape
        state_dict[f'{prefix}adapters.{name}'] = other if fits else value

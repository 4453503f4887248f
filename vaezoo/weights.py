"""Putting weights into modules: all of them or none, naming what does not fit."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from vaezoo.errors import IntegrityError


def fill(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Puts weights into a module, all of them or none.

    Raises:
        IntegrityError: a tensor is missing, unexpected or of another shape; names each by its path.
    """
    expected = module.state_dict()
    faults = [f"missing {name}" for name in sorted(expected.keys() - tensors.keys())]
    faults += [f"unexpected {name}" for name in sorted(tensors.keys() - expected.keys())]
    for name in sorted(expected.keys() & tensors.keys()):
        wanted, given = tuple(expected[name].shape), tuple(tensors[name].shape)
        if wanted != given:
            faults.append(f"{name} is {given}, expected {wanted}")
    if faults:
        raise IntegrityError(f"{source}: weights do not fit the spec: {'; '.join(faults)}")
    module.load_state_dict(dict(tensors))

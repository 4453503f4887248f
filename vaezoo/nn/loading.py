"""Weights and what is told beside them; putting them into modules: all or none, naming what does not fit."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from vaezoo.utils.errors import IntegrityError


def load_strict(module: nn.Module, tensors: Mapping[str, Tensor], source: str, *, share: bool = False) -> None:
    """Puts weights into a module, all of them or none.

    Args:
        module: whose weights they become.
        tensors: by their paths in the module.
        source: where they come from, for messages.
        share: let the module use these tensors themselves, without a copy of those of its dtype. What holds the
            module's parameters, an optimizer say, would then hold weights that nobody uses.

    Raises:
        IntegrityError: a tensor is missing, unexpected, or of another shape or kind of number; names each by its path.
    """
    expected = module.state_dict()
    faults = [f"missing {name}" for name in sorted(expected.keys() - tensors.keys())]
    faults += [f"unexpected {name}" for name in sorted(tensors.keys() - expected.keys())]
    for name in sorted(expected.keys() & tensors.keys()):
        wanted, given = tuple(expected[name].shape), tuple(tensors[name].shape)
        if wanted != given:
            faults.append(f"{name} is {given}, expected {wanted}")
        elif tensors[name].is_floating_point() != expected[name].is_floating_point():
            faults.append(f"{name} is {tensors[name].dtype}, expected {expected[name].dtype}")
    if faults:
        raise IntegrityError(f"{source}: weights do not fit the spec: {'; '.join(faults)}")
    module.load_state_dict({name: tensors[name].to(expected[name].dtype) for name in expected}, assign=share)

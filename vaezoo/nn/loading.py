"""Loads weights into a module: all or none, or those that fit; names what does not fit."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from vaezoo.utils.errors import IntegrityError


def load_strict(
    module: nn.Module, tensors: Mapping[str, Tensor], source: str, *, share: bool = False
) -> None:
    """Loads weights into a module, all of them or none.

    Args:
        module: the module.
        tensors: parameters and buffers, by their names in ``module.state_dict()``.
        source: names the weights in error messages.
        share: replace the module's parameters by these tensors instead of copying their values;
            those of another dtype are converted. An optimizer that was built before then updates
            parameters that the module no longer uses.

    Raises:
        IntegrityError: a tensor is missing, unexpected, of another shape, or integer instead of
            floating-point or the reverse; names each.
    """
    expected = module.state_dict()
    faults = [f"missing {name}" for name in sorted(expected.keys() - tensors.keys())]
    faults += [f"unexpected {name}" for name in sorted(tensors.keys() - expected.keys())]
    for name in sorted(expected.keys() & tensors.keys()):
        expected_shape, shape = tuple(expected[name].shape), tuple(tensors[name].shape)
        if shape != expected_shape:
            faults.append(f"{name} is {shape}, expected {expected_shape}")
        elif tensors[name].is_floating_point() != expected[name].is_floating_point():
            faults.append(f"{name} is {tensors[name].dtype}, expected {expected[name].dtype}")
    if faults:
        raise IntegrityError(f"{source}: weights do not fit the spec: {'; '.join(faults)}")
    state = {name: tensors[name].to(expected[name].dtype) for name in expected}
    module.load_state_dict(state, assign=share)


def check_finite(module: nn.Module, source: str) -> None:
    """Checks that weights are numbers with which a model computes something.

    Args:
        module: the module; its buffers, such as masks, may be infinite, but not NaN.
        source: names the weights in error messages.

    Raises:
        IntegrityError: a weight is NaN or infinite; names each tensor.
    """
    faults = [
        f"{name} has infinite values"
        for name, weight in module.named_parameters()
        if bool(weight.isinf().any())
    ]
    faults += [
        f"{name} has NaN values"
        for name, weight in module.state_dict().items()
        if bool(weight.isnan().any())
    ]
    if faults:
        raise IntegrityError(f"{source}: weights are not finite: {'; '.join(faults)}")


def load_matching(module: nn.Module, tensors: Mapping[str, Tensor]) -> list[str]:
    """Loads those weights into a module whose names, shapes and kinds of numbers are the same.

    Args:
        module: the module.
        tensors: parameters and buffers, by their names in ``module.state_dict()``.

    Returns:
        What keeps its values: the name of each, with its shape and that of the tensor.
    """
    matching, kept = {}, []
    for name, own in module.state_dict().items():
        tensor = tensors.get(name)
        if tensor is None:
            kept.append(f"{name} is missing")
        elif (tensor.shape, tensor.is_floating_point()) != (own.shape, own.is_floating_point()):
            kept.append(f"{name} is {tuple(tensor.shape)}, not {tuple(own.shape)}")
        else:
            matching[name] = tensor.to(own.dtype)
    module.load_state_dict(matching, strict=False)
    return kept

"""Promises about types and devices: those of the weights, wherever a tensor is made."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vaezoo.testing.case import Case
from vaezoo.testing.passes import PASS_KINDS, results, steady_results
from vaezoo.testing.promise import Rule
from vaezoo.utils.errors import one_line


def check_dtype(case: Case) -> None:
    """Results are fp32, as the weights are."""
    bench = case.compose()
    for name, value in steady_results(bench, bench.batch).items():
        assert value.dtype in (torch.float32, torch.int64, torch.bool), (
            f"the {name} is {value.dtype}, not fp32 as the weights are; give constants the "
            "type of the input, as in x.new_tensor(...), and convert arrays of numpy"
        )


_MAKERS = frozenset(
    {
        torch.arange,
        torch.empty,
        torch.eye,
        torch.full,
        torch.linspace,
        torch.logspace,
        torch.ones,
        torch.rand,
        torch.randint,
        torch.randn,
        torch.randperm,
        torch.tensor,
        torch.zeros,
    }
)
"""The functions that make tensors on the default device, unless an argument names another."""


class OtherDevice(TorchFunctionMode):
    """Makes tensors on another device than that of the weights, unless they follow a tensor.

    These have no device, or one that is written out, such as "cpu"; ``x.device`` is right.
    Scalars are left alone, because torch mixes those of the CPU with tensors of any device.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Calls a function of torch."""
        kwargs = kwargs or {}
        if func is Tensor.to and args[0].is_meta:  # moved to where it belongs
            args = (torch.zeros(args[0].shape, dtype=args[0].dtype), *args[1:])
        result = func(*args, **kwargs)
        place = kwargs.get("device")
        is_fixed = func in _MAKERS and (place is None or isinstance(place, str))
        is_moved = func is Tensor.to and any(isinstance(a, str) for a in (*args[1:], place))
        is_elsewhere = is_fixed or is_moved or func is Tensor.cpu
        return result.to("meta") if is_elsewhere and result.dim() else result


def check_device(case: Case) -> None:
    """Every tensor is made on the device of the weights, not on the default device."""
    bench = case.compose()
    reason, on_other = "", False
    try:
        with OtherDevice():
            found = steady_results(bench, bench.batch)
        on_other = any(value.device.type == "meta" for value in found.values())
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
        reason = f" ({one_line(error)[:160]})"
    assert not reason and not on_other, (
        "makes tensors on torch's default device, or on one that is written out, instead of that "
        "of its input, so it fails on a GPU; write device=x.device, x.new_zeros(...), or keep the "
        f"tensor in a buffer{reason}"
    )


def check_bf16(case: Case) -> None:
    """In bf16 the loss is a finite fp32 number."""
    bench = case.compose()
    bench.model.precision = "bf16"
    loss, _ = bench.task(bench.batch)
    results(bench, bench.batch)
    assert loss.dtype == torch.float32, (
        f"in bf16 the loss is {loss.dtype}; convert features to fp32 with float()"
    )
    assert bool(loss.isfinite().all()), "in bf16 the loss is not finite"


RULES = (
    Rule("results are fp32", PASS_KINDS, check_dtype),
    Rule("follows the device of its input", PASS_KINDS, check_device),
    Rule("runs in bf16", PASS_KINDS, check_bf16),
)
"""Promises about types and devices."""

"""A limit for what is allocated while a stranger's spec is composed."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

from vaezoo.utils.errors import VaezooError

_METHODS = frozenset({"new_empty", "new_zeros", "new_ones", "new_full", "repeat", "tile"})


class TooManyNumbersError(VaezooError):
    """More numbers than the limit would be allocated."""


class TensorLimit(TorchFunctionMode):
    """Within, at most ``tensors`` tensors are created, with at most ``numbers`` numbers together.

    The size of a new tensor is found on torch's device ``meta``, before memory is taken for it.

    Raises:
        TooManyNumbersError: within, instead of creating one tensor too many.
    """

    def __init__(self, numbers: int, tensors: int) -> None:
        super().__init__()
        self.numbers, self.tensors = numbers, tensors

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _device_constructors():
            self._count(_size_on_meta(func, args, kwargs))
        elif getattr(func, "__name__", "") in _METHODS:
            self._count(_size_on_meta(func, (args[0].to("meta"), *args[1:]), kwargs))
        return func(*args, **kwargs)

    def _count(self, size: int) -> None:
        self.numbers -= size
        self.tensors -= 1
        if min(self.numbers, self.tensors) < 0:
            raise TooManyNumbersError


def _size_on_meta(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """How many numbers a call would create; none where the call itself will say why it fails."""
    plain = {key: value for key, value in kwargs.items() if key not in ("generator", "out")}
    if func in _device_constructors():
        plain["device"] = torch.device("meta")
    with torch._C.DisableTorchFunction():
        try:
            made = func(*args, **plain)
        except (RuntimeError, TypeError, ValueError, NotImplementedError):
            return 0
    return math.prod(made.shape) if isinstance(made, Tensor) else 0

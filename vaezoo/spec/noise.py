"""Finds out which tensors depend on the random numbers of a pass, from its autograd graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vaezoo.utils.seeds import random_state


class MarkedNoise(TorchFunctionMode):
    """Within, all random numbers on the CPU get gradients, so that graphs show what uses them.

    What is random is found by the state of torch's generator and not by the name of a function.
    Values do not change.
    """

    def __init__(self) -> None:
        super().__init__()
        self.marks: list[Tensor] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls a function of torch, and marks its result if it has drawn random numbers."""
        before = random_state()
        result = func(*args, **(kwargs or {}))
        if not isinstance(result, Tensor) or not result.is_floating_point():
            return result
        if torch.equal(before, random_state()):
            return result
        mark = torch.zeros_like(result, requires_grad=True)
        self.marks.append(mark)
        is_in_place = bool(args) and result is args[0]
        return result.add_(mark) if is_in_place else result + mark

    def reaches(self, tensor: Tensor, *, around: Tensor | None = None) -> bool:
        """Whether a tensor depends on the random numbers.

        Args:
            tensor: any result of the pass.
            around: a result through which a dependence does not count; None counts all.
        """
        marks = {id(mark) for mark in self.marks}
        blocked = None if around is None else (around.grad_fn, around.output_nr)
        pending, seen = [(tensor.grad_fn, tensor.output_nr)], set()
        while pending:
            node, output = pending.pop()
            if node is None or (node, output) == blocked or (node, output) in seen:
                continue
            seen.add((node, output))
            if id(getattr(node, "variable", None)) in marks:
                return True
            pending += node.next_functions
        return False

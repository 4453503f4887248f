"""Protects buffers from changes by a forward pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn

_Slot: TypeAlias = tuple[nn.Module, str, bool]
"""Where a buffer is: its module, its name, and the training mode, in which alone it may move."""


class FrozenBuffers:
    """Keeps the buffers of a module as they are during passes without gradients.

    A pass runs on copies, such as those of the statistics of batch norm, in place of the buffers.
    The buffers themselves are never written, so that a graph that saved one stays valid.

    The first pass in each training mode runs on copies of all buffers and finds out which of them
    it moves. Later passes copy only those, and refuse a change of any other buffer.
    """

    def __init__(self) -> None:
        self._moves: dict[_Slot, bool] = {}

    @contextmanager
    def __call__(self, module: nn.Module) -> Iterator[None]:
        """The buffers of ``module`` are after the block what they were before.

        Raises:
            RuntimeError: the block changed a buffer that no earlier pass in this training mode
                changed, or wrote to a buffer by another reference than the module's.
        """
        slots = [
            (owner, name, owner.training) for owner in _modules(module) for name in owner._buffers
        ]
        buffers = [owner._buffers[name] for owner, name, _ in slots]
        new = [slot for slot in slots if slot not in self._moves]
        copies, versions = self._copies(slots, buffers), _versions(buffers)
        try:
            _place(slots, [copies.get(id(buffer), buffer) for buffer in buffers])
            yield
        finally:
            _place(slots, buffers)
        if _versions(buffers) != versions:
            raise RuntimeError(_describe_change(module, buffers, versions))
        for slot in new:
            owner, name, _ = slot
            buffer = owner._buffers[name]
            if buffer is not None:
                moves = _has_moved(slot, buffer, copies[id(buffer)])
                # a pass within this one may have found out that it moves
                self._moves[slot] = moves or self._moves.get(slot, False)

    def _copies(
        self, slots: Sequence[_Slot], buffers: Sequence[Tensor | None]
    ) -> dict[int, Tensor]:
        """One copy of each buffer that moves or that no pass has used yet, by its ``id``."""
        moving = {
            id(buffer): buffer
            for slot, buffer in zip(slots, buffers, strict=True)
            if buffer is not None and self._moves.get(slot, True)
        }
        # copies made in inference mode would not count what is written to them
        with torch.inference_mode(False), torch.no_grad():
            return {key: buffer.clone() for key, buffer in moving.items()}


def _modules(root: nn.Module) -> list[nn.Module]:
    """A module and all within it, each once; with fewer calls than ``root.modules()``."""
    modules, known = [root], {root}
    for module in modules:  # grows while it is iterated
        for child in module._modules.values():
            if child is not None and child not in known:
                known.add(child)
                modules.append(child)
    return modules


def _place(slots: Sequence[_Slot], buffers: Sequence[Tensor | None]) -> None:
    for (owner, name, _), buffer in zip(slots, buffers, strict=True):
        owner._buffers[name] = buffer


def _versions(buffers: Sequence[Tensor | None]) -> list[int]:
    """How often each buffer was written; 0 for inference tensors, which do not count it."""
    return [
        0 if buffer is None or buffer.is_inference() else buffer._version for buffer in buffers
    ]


def _has_moved(slot: _Slot, buffer: Tensor, copy: Tensor) -> bool:
    owner, _, training = slot
    # the kernels of batch and instance norm write their statistics without counting it, so that
    # a later pass would not notice: it may be the first that reaches the layer
    if training and getattr(owner, "track_running_stats", False):
        return True
    if _versions([copy]) != [0]:
        return True
    # writes to ``.data`` are not counted; torch compares no sparse tensors
    return buffer.layout == torch.strided and not torch.equal(buffer, copy)


def _describe_change(
    module: nn.Module, buffers: Sequence[Tensor | None], versions: Sequence[int]
) -> str:
    now = _versions(buffers)
    changed = {
        id(buffer)
        for buffer, before, after in zip(buffers, versions, now, strict=True)
        if before != after
    }
    names = [name for name, buffer in module.named_buffers() if id(buffer) in changed]
    return (
        f"a pass without gradients changed {', '.join(names)}; "
        "update buffers only if self.training and torch.is_grad_enabled()"
    )

"""The processes that train together; a single one unless torch.distributed is initialized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class ProcessGroup:
    """The rank of this process and the number of processes.

    Attributes:
        rank: of this process; rank 0 is the main process.
        size: the number of processes.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> ProcessGroup:
        """The default process group of torch.distributed."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, which writes the files."""
        return self.rank == 0

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Sums the gradients over processes, in one message; missing gradients count as 0."""
        if self.size == 1:
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([gradient.flatten() for gradient in gradients])  # [number of weights]
        dist.all_reduce(flat)
        parts = flat.split([gradient.numel() for gradient in gradients])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)  # the shape of the parameter

    def mean(self, values: Tensor) -> Tensor:
        """The mean over processes; ``values`` itself is not changed."""
        if self.size > 1:
            values = values / self.size
            dist.all_reduce(values)
        return values

    def broadcast_buffers(self, *modules: torch.nn.Module) -> None:
        """Copies the buffers of the main process, such as batch-norm statistics, to all others."""
        if self.size > 1:
            for module in modules:
                for buffer in module.buffers():
                    dist.broadcast(buffer, 0)

    def barrier(self) -> None:
        """Waits until every process has called it."""
        self.any(False)

    def any(self, flag: bool) -> bool:
        """Whether the flag is True in any process."""
        if self.size == 1:
            return flag
        on_gpu = dist.get_backend() == dist.Backend.NCCL
        maximum = torch.tensor(int(flag), device="cuda" if on_gpu else "cpu")
        dist.all_reduce(maximum, dist.ReduceOp.MAX)
        return bool(maximum)

"""The processes that train together; one, unless torch.distributed has been started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class ProcessGroup:
    """This process among its peers.

    Attributes:
        rank: of this process; 0 is the one that writes files.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> ProcessGroup:
        """The processes torch.distributed knows of."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    @property
    def is_main(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Adds the gradients of all processes, as one message."""
        if self.size == 1:
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        for parameter, part in zip(parameters, flat.split([g.numel() for g in gradients]), strict=True):
            parameter.grad = part.view_as(parameter)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over processes; ``values`` itself stays this process's own."""
        if self.size > 1:
            values = values / self.size
            dist.all_reduce(values)
        return values

    def share_buffers(self, *modules: torch.nn.Module) -> None:
        """Gives every process the buffers of the first, such as the statistics of a batch norm."""
        if self.size > 1:
            for module in modules:
                for buffer in module.buffers():
                    dist.broadcast(buffer, 0)

    def wait(self) -> None:
        """Returns when every process has come here."""
        self.any(False)

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process."""
        if self.size == 1:
            return flag
        on_gpu = dist.get_backend() == dist.Backend.NCCL
        raised = torch.tensor(int(flag), device="cuda" if on_gpu else "cpu")
        dist.all_reduce(raised, dist.ReduceOp.MAX)
        return bool(raised)

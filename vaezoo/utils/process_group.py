"""The processes that train together; a single one unless torch.distributed is initialized."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from vaezoo.utils.errors import VaezooError
from vaezoo.utils.process_watch import current_watch

_SECONDS_BETWEEN_LOOKS = 0.005


@dataclass(frozen=True)
class ProcessGroup:
    """The rank of this process and the number of processes.

    Every method that exchanges something must be called by every process, in the same order. With
    one process it does nothing.

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

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sums the gradients over processes, in one message; missing gradients count as 0."""
        if self.size == 1:
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([gradient.flatten() for gradient in gradients])  # [number of weights]
        _exchange(dist.all_reduce, flat)
        parts = flat.split([gradient.numel() for gradient in gradients])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)  # the shape of the parameter

    def sum(self, values: Tensor) -> Tensor:
        """The sum over processes, in the shape of ``values``, which itself is not changed."""
        if self.size > 1:
            values = values.clone(memory_format=torch.contiguous_format)
            _exchange(dist.all_reduce, values)
        return values

    def mean(self, values: Tensor) -> Tensor:
        """The mean over processes, in the shape of ``values``, which itself is not changed."""
        if self.size > 1:
            values = values / self.size
            _exchange(dist.all_reduce, values)
        return values

    def broadcast(self, tensor: Tensor) -> Tensor:
        """Copies the values of the main process to the tensor of every other, and returns it.

        Args:
            tensor: of the same shape and type in every process; numbers or booleans.
        """
        if self.size > 1:
            sent = tensor.detach().contiguous()  # shares its memory if it is contiguous
            _exchange(dist.broadcast, sent, 0)
            if sent.data_ptr() != tensor.data_ptr():
                tensor.detach().copy_(sent)
        return tensor

    def broadcast_module(self, module: nn.Module) -> None:
        """Copies the parameters and buffers of the main process to all others."""
        for parameter in module.parameters():
            self.broadcast(parameter)
        self.broadcast_buffers(module)

    def broadcast_buffers(self, *modules: nn.Module) -> None:
        """Copies the buffers of the main process, such as batch-norm statistics, to all others."""
        for module in modules:
            for buffer in module.buffers():
                self.broadcast(buffer)

    def broadcast_text(self, text: str) -> str:
        """The text of the main process, in every process."""
        if self.size == 1:
            return text
        encoded = list(text.encode(errors="surrogateescape"))  # paths may not be text
        data = torch.tensor(encoded, dtype=torch.uint8, device=_device())  # [bytes]
        length = self.broadcast(torch.tensor(len(data), device=data.device))
        if not self.is_main:
            data = torch.empty(int(length), dtype=torch.uint8, device=data.device)  # [bytes]
        return bytes(self.broadcast(data).tolist()).decode(errors="surrogateescape")

    def barrier(self) -> None:
        """Waits until every process has called it; signals are handled meanwhile."""
        if self.size == 1:
            return
        work = _exchange(dist.all_reduce, torch.zeros((), device=_device()), async_op=True)
        while not _exchange(work.is_completed):
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        _exchange(work.wait)

    def any(self, flag: bool) -> bool:
        """Whether the flag is True in any process."""
        if self.size == 1:
            return flag
        maximum = torch.tensor(int(flag), device=_device())
        _exchange(dist.all_reduce, maximum, dist.ReduceOp.MAX)
        return bool(maximum)


def _device() -> str:
    """The device of small messages: the CPU, if the processes can exchange its tensors."""
    return "cuda" if dist.get_backend() == dist.Backend.NCCL else "cpu"


def _exchange(operation: Callable[..., Any], *args: object, **options: object) -> Any:
    """Calls a collective operation.

    Raises:
        VaezooError: another process is gone, and its death did not end this one.
    """
    try:
        return operation(*args, **options)
    except RuntimeError as error:
        watch = current_watch()
        if watch is not None:
            watch.wait_for_end()
        reason = str(error).partition("\n")[0]  # the stack of C++ follows
        raise VaezooError(f"cannot exchange data with the other processes: {reason}") from error

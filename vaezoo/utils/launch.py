"""What a launcher such as torchrun tells a process about the group that it belongs to."""

from __future__ import annotations

import os
from dataclasses import dataclass

from vaezoo.utils.errors import UsageError

VARIABLES = frozenset({"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"})
"""The environment variables that place a process in a group."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """The place of this process in a group of several, and where they meet.

    Attributes:
        rank: of this process in the group; rank 0 is the main process.
        size: the number of processes, at least 2.
        local_rank: of this process on its machine; selects the GPU.
        host, port: where the processes meet, on the machine of the main process.
    """

    rank: int
    size: int
    local_rank: int
    host: str
    port: int

    @classmethod
    def read(cls) -> Launch | None:
        """Reads the environment variables of a launcher; None if this process was started alone.

        Raises:
            UsageError: some of the variables are missing or contradict each other.
        """
        if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
            return None
        size = integer_variable("WORLD_SIZE", 1, 2**31)
        if size == 1:
            return None
        if not os.environ.get("MASTER_ADDR"):
            raise UsageError(f"WORLD_SIZE is {size}, but MASTER_ADDR is not set; use torchrun")
        rank = integer_variable("RANK", 0, size)
        return cls(
            rank=rank,
            size=size,
            local_rank=integer_variable("LOCAL_RANK", 0, size)
            if "LOCAL_RANK" in os.environ
            else 0,
            host=os.environ["MASTER_ADDR"],
            port=integer_variable("MASTER_PORT", 1, 2**16),
        )


def integer_variable(name: str, low: int, end: int) -> int:
    """The value of an environment variable.

    Raises:
        UsageError: it is missing, not an integer, less than ``low``, or not less than ``end``.
    """
    text = os.environ.get(name, "")
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if not low <= value < end:
        raise UsageError(
            f"{name}={text!r}: must be an integer from {low} to {end - 1}; torchrun sets it"
        )
    return value

"""The files of a run that are read back, and what is read of them, for tests that damage them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch

import vaezoo
from vaezoo.runs.directory import RunDirectory
from vaezoo.runs.example_values import read_example_values

READ_BACK = (
    "spec.yaml",
    "environment.json",
    "metrics.jsonl",
    "checkpoint/step-000000030.safetensors",
    "model.safetensors",
    "regularizers.safetensors",
    "evaluation.json",
    "evaluation-examples.safetensors",
)
"""Of a run of 30 steps with the regularizer ``Trained``."""


class Trained(vaezoo.Regularizer):
    """A regularizer with a weight, which is saved in a file of its own."""

    def __init__(self, wiring: vaezoo.TaskWiring, /, *, weight: float = 1.0) -> None:
        super().__init__(weight)
        self.values = torch.nn.Parameter(torch.ones(8))

    def forward(self, trace: vaezoo.Trace) -> torch.Tensor:
        return (self.values - 0.5).square().sum().expand(trace.rate.shape[1:])


def flip(path: Path, generator: random.Random) -> None:
    """Flips one random bit of a file."""
    data = bytearray(path.read_bytes())
    data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
    path.write_bytes(data)


def read_everything(path: Path) -> dict[str, Any]:
    """All that is read back of a run, in a form that can be compared."""
    opened = vaezoo.open_run(path, device="cpu")
    directory = RunDirectory(path)
    state = directory.load_checkpoint()
    environment = directory.read_environment()
    return {
        "model": opened.model.state_dict(),
        "regularizers": [dict(each.state_dict()) for each in opened.regularizers],
        "spec": opened.spec.resolved(),
        "evaluation": opened.evaluation["metrics"],
        "example values": dict(read_example_values(directory, "test", opened.evaluation).values),
        "records": opened.records,
        "checkpoint": state,
        "environment": {key: environment.get(key) for key in ("device", "registered", "created")},
    }


def is_equal(first: Any, second: Any) -> bool:
    """Whether two values are equal, with tensors in them to the last bit."""
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(is_equal(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(is_equal, first, second))
    return bool(first == second)

"""Derives every random stream from the seed of a run.

No generator state is saved: each stream is seeded anew from the values below, so a resumed run
draws the same numbers as an uninterrupted one. What is seeded when:

- weights: by seed, when the task is composed.
- order of training examples: by seed and epoch, at the start of each epoch.
- training step: by seed, step and rank of the process, before each step.
- validation: by seed, with the same noise in every epoch and in every process.
- metrics: by seed and name of the metric, before each metric.
- ``Model.sample``: by its argument ``seed``, if one is given.

A data set and its splits are seeded by options of their own, such as ``split_seed``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive_seed(*parts: int | str) -> int:
    """Hashes the parts to a 63-bit seed, for example ``derive_seed(seed, "order", epoch)``."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def seed_device(device: torch.device, *parts: int | str) -> None:
    """Seeds the CPU's global generator, and that of ``device``, with ``derive_seed(*parts)``."""
    value = derive_seed(*parts)
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(value)
    elif device.type == "mps":
        torch.mps.manual_seed(value)


@contextmanager
def seeded(device: torch.device, *parts: int | str) -> Iterator[None]:
    """Seeds the generators for a block and restores their states afterwards.

    Without parts the block starts with the current states.
    """
    cuda = []
    if device.type == "cuda":
        cuda = [torch.cuda.current_device() if device.index is None else device.index]
    mps = torch.mps.get_rng_state() if device.type == "mps" else None
    with torch.random.fork_rng(devices=cuda):
        try:
            if parts:
                seed_device(device, *parts)
            yield
        finally:
            if mps is not None:
                torch.mps.set_rng_state(mps)

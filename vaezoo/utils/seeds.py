"""Random streams as pure functions of the run's seed, so that nothing random has to be saved to resume exactly."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def mix(*parts: int | str) -> int:
    """A 63-bit seed for a named stream, such as ``mix(seed, "order", epoch)``."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def seed_device(device: torch.device, *parts: int | str) -> None:
    """Seeds the generators that a computation on ``device`` draws from."""
    value = mix(*parts)
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(value)
    elif device.type == "mps":
        torch.mps.manual_seed(value)


@contextmanager
def seeded(device: torch.device, *parts: int | str) -> Iterator[None]:
    """Seeds a block, where parts are given, and puts the caller's generators back afterwards."""
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

"""Derives every random stream from the seed of a run.

No generator state is saved: each stream is seeded anew from the values below, so a resumed run
draws the same numbers as an uninterrupted one. What is seeded when:

- weights: by seed, when the task is composed.
- order of training examples: by seed and epoch, at the start of each epoch.
- training step: by seed, step and rank of the process, before each step.
- validation: by seed, with the same noise in every epoch and in every process.
- metrics: by seed and name of the metric, before each metric.
- ``Model.sample`` and ``Model.impute``: by their argument ``seed``, if one is given.

Training seeds torch's global generators. Everything else draws from generators of its own
(``seeded``), and is repeatable whatever other threads draw.

A data set and its splits are seeded by options of their own, such as ``split_seed``.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, default_generator
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode


def derive_seed(*parts: int | str) -> int:
    """Hashes the parts to a 63-bit seed, for example ``derive_seed(seed, "order", epoch)``."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def seed_device(device: torch.device, *parts: int | str) -> None:
    """Seeds the CPU's global generator, and that of ``device``, with ``derive_seed(*parts)``."""
    value = derive_seed(*parts)
    default_generator.manual_seed(value)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(value)
    elif device.type == "mps":
        torch.mps.manual_seed(value)


@contextmanager
def seeded(device: torch.device, *parts: int | str) -> Iterator[None]:
    """Draws from generators of its own within a block, in this thread.

    They are seeded with ``derive_seed(*parts)``, on the CPU and on ``device``; without parts they
    start with the current states. Torch's global generators are neither read nor changed
    otherwise, so that blocks in several threads are repeatable.
    """
    outer = _streams.current
    _streams.current = stream = RandomStream(derive_seed(*parts) if parts else None, outer)
    try:
        with stream:
            yield
    finally:
        _streams.current = outer


@contextmanager
def restored_generators(device: torch.device) -> Iterator[None]:
    """Restores the global generators of the CPU and of ``device`` after a block that seeds them.

    For training, whose compiled step draws from them: a process can do one training at a time.
    """
    cuda = []
    if device.type == "cuda":
        cuda = [torch.cuda.current_device() if device.index is None else device.index]
    mps = torch.mps.get_rng_state() if device.type == "mps" else None
    with torch.random.fork_rng(devices=cuda):
        try:
            yield
        finally:
            if mps is not None:
                torch.mps.set_rng_state(mps)


class RandomStream(TorchDispatchMode):
    """Passes generators of its own to every operation that draws random numbers.

    Such operations have torch's tag ``nondeterministic_seeded``. The few that take no generator,
    such as dropout, draw from the global one, which has the state of the stream meanwhile.

    Args:
        seed: seeds the generator of each device; None continues with the current states.
        outer: the stream of the block around this one.
    """

    def __init__(self, seed: int | None, outer: RandomStream | None) -> None:
        super().__init__()
        self.seed, self.outer = seed, outer
        self.generators: dict[torch.device, torch.Generator] = {}

    def generator(self, device: torch.device) -> torch.Generator:
        """The generator of a device."""
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", torch.cuda.current_device())
        if device not in self.generators:
            generator = torch.Generator(device)
            if self.seed is None:
                generator.set_state(_current_generator(device, self.outer).get_state())
            else:
                generator.manual_seed(self.seed)
            self.generators[device] = generator
        return self.generators[device]

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls an operation."""
        kwargs = kwargs or {}
        if not _draws(func) or kwargs.get("generator") or _streams.current is not self:
            return func(*args, **kwargs)  # the last: an inner block has given it its numbers
        device = _device_of(args, kwargs)
        if device.type == "meta":  # which has no values
            return func(*args, **kwargs)
        own = self.generator(device)
        if overload := _overload_with_generator(func):
            return overload(*args, **{**kwargs, "generator": own})
        shared = _current_generator(device, None)
        with _lock:
            state = shared.get_state()
            shared.set_state(own.get_state())
            try:
                return func(*args, **kwargs)
            finally:
                own.set_state(shared.get_state())
                shared.set_state(state)


class _Streams(threading.local):
    current: RandomStream | None = None


_streams = _Streams()
_lock = threading.Lock()


def random_state() -> Tensor:
    """The state of the generator of the CPU from which this thread draws."""
    return _current_generator(torch.device("cpu"), _streams.current).get_state()


def _current_generator(device: torch.device, stream: RandomStream | None) -> torch.Generator:
    """The generator of a stream, or torch's global one."""
    if stream is not None:
        return stream.generator(device)
    if device.type == "cuda":
        return torch.cuda.default_generators[device.index]
    return torch.mps._get_default_mps_generator() if device.type == "mps" else default_generator


def _device_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> torch.device:
    """The device of the result of an operation."""
    if kwargs.get("device") is not None:
        return torch.device(kwargs["device"])
    return next((arg.device for arg in args if isinstance(arg, Tensor)), torch.device("cpu"))


@cache
def _draws(func: OpOverload) -> bool:
    """Whether an operation draws random numbers."""
    return torch.Tag.nondeterministic_seeded in func.tags


@cache
def _overload_with_generator(func: OpOverload) -> OpOverload | None:
    """The same operation with an argument ``generator``, if torch has one."""

    def arguments(overload: OpOverload) -> dict[str, str]:
        return {each.name: str(each.type) for each in overload._schema.arguments}

    expected = arguments(func)
    if "generator" in expected:
        return func
    for name in func.overloadpacket.overloads():
        overload: OpOverload = getattr(func.overloadpacket, name)
        found = arguments(overload)
        if found.pop("generator", None) and found == expected:
            return overload
    return None

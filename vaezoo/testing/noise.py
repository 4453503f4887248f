"""Random numbers that do not depend on shapes, and a watch over global random generators."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from vaezoo.utils.seeds import seeded

_GOLDEN = 0.6180339887498949
_MANY = 10_000
_UNLIKELY = 92_741_035
T = TypeVar("T")


class SteadyNoise(TorchDispatchMode):
    """Gives each random operation one number for all elements.

    The noise of an example is then the same alone and in a batch, in a short and in a padded
    sequence, in one process and in two.

    Args:
        varies: whether the number differs from call to call, so that loops that reject samples
            end; without it, several batches have the noise of one.
        shuffle: seeds permutations and random integers, which depend on their number only.
    """

    def __init__(self, *, varies: bool = True, shuffle: int = 0) -> None:
        super().__init__()
        self.varies, self.shuffle, self.calls = varies, shuffle, 0

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls an operation."""
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        is_steady = name in _STEADY or name == "randperm"
        if torch.Tag.nondeterministic_seeded not in func.tags or not is_steady:
            return result
        self.calls += 1
        if name == "randperm" or (name == "randint" and not self.varies):
            return self._drawn(name, result, args)
        moved = self.calls if self.varies else self.calls // _MANY
        uniform = (0.4 + moved * _GOLDEN) % 1.0
        return _STEADY[name](uniform, result, args)

    def _drawn(self, name: str, result: Tensor, args: tuple[Any, ...]) -> Tensor:
        """``randperm(n)`` or ``randint(low, high, size)``."""
        generator = np.random.default_rng((self.shuffle, result.numel()))
        if name == "randperm":
            return result.copy_(torch.from_numpy(generator.permutation(len(result))))
        low, high = (0, args[0]) if isinstance(args[1], list | tuple) else args[:2]
        drawn = generator.integers(low, high, result.shape)
        return result.copy_(torch.from_numpy(np.asarray(drawn)))


def _normal(uniform: float, result: Tensor, args: tuple[Any, ...]) -> Tensor:
    """A normal number in place of a standard normal result."""
    return result.fill_(_quantile(uniform))


def _moved_normal(uniform: float, result: Tensor, args: tuple[Any, ...]) -> Tensor:
    """``normal_(self, mean, std)`` and ``normal(mean, std)``."""
    is_in_place = result is args[0]
    mean, std = (*args[is_in_place:], 0.0, 1.0)[:2] if is_in_place else (*args, 1.0)[:2]
    return result.copy_(mean + torch.as_tensor(std) * _quantile(uniform))


def _uniform(uniform: float, result: Tensor, args: tuple[Any, ...]) -> Tensor:
    """``rand`` and ``rand_like``."""
    return result.fill_(uniform)


def _moved_uniform(uniform: float, result: Tensor, args: tuple[Any, ...]) -> Tensor:
    """``uniform_(self, from, to)``."""
    low, high = (*args[1:], *(0.0, 1.0)[len(args) - 1 :])[:2]
    return result.fill_(low + uniform * (high - low))


def _integer(uniform: float, result: Tensor, args: tuple[Any, ...]) -> Tensor:
    """``randint(high, size)``, ``randint(low, high, size)`` and the same for ``randint_like``."""
    numbers = [arg for arg in args if isinstance(arg, int)]
    low, high = (0, *numbers) if len(numbers) == 1 else numbers[:2]
    return result.fill_(low + int(uniform * (high - low)))


def _exponential(uniform: float, result: Tensor, args: tuple[Any, ...]) -> Tensor:
    """``exponential_(self, rate)``."""
    rate = args[1] if len(args) > 1 else 1.0
    return result.fill_(-float(np.log1p(-uniform)) / rate)


def _bernoulli(uniform: float, result: Tensor, args: tuple[Any, ...]) -> Tensor:
    """``bernoulli(probabilities)``, and ``bernoulli_(self, probability)``."""
    default = 0.5 if result is args[0] else args[0]  # of bernoulli_(self)
    chance = args[1] if len(args) > 1 else default
    return result.copy_(torch.as_tensor(uniform < chance))


def _multinomial(uniform: float, result: Tensor, args: tuple[Any, ...]) -> Tensor:
    """``multinomial(probabilities [*, C], n)``."""
    shares = args[0].cumsum(-1) / args[0].sum(-1, keepdim=True)
    chosen = (shares < uniform).sum(-1, keepdim=True).clamp(max=args[0].shape[-1] - 1)
    return result.copy_(chosen.expand_as(result))


def _poisson(uniform: float, result: Tensor, args: tuple[Any, ...]) -> Tensor:
    """``poisson(rate)``."""
    return result.copy_((args[0] + uniform).floor())


def _gamma(uniform: float, result: Tensor, args: tuple[Any, ...]) -> Tensor:
    """``_standard_gamma(concentration)``: a number near its mean."""
    return result.copy_(args[0] * (0.5 + uniform))


def _dirichlet(uniform: float, result: Tensor, args: tuple[Any, ...]) -> Tensor:
    """``_sample_dirichlet(concentration)``: shares near their means."""
    moved = args[0] * (0.5 + uniform * torch.linspace(0.5, 1.5, args[0].shape[-1]).to(args[0]))
    return result.copy_(moved / moved.sum(-1, keepdim=True))


def _binomial(uniform: float, result: Tensor, args: tuple[Any, ...]) -> Tensor:
    """``binomial(count, probability)``: a number near its mean."""
    return result.copy_((args[0] * args[1] + uniform).floor().minimum(args[0]))


def _dropout(uniform: float, result: Any, args: tuple[Any, ...]) -> Any:
    """``native_dropout(input, p, train)``: keeps everything."""
    return args[0].clone(), torch.ones_like(result[1])


_STEADY: Mapping[str, Callable[[float, Any, tuple[Any, ...]], Any]] = {
    "randn": _normal,
    "randn_like": _normal,
    "normal_": _moved_normal,
    "normal": _moved_normal,
    "rand": _uniform,
    "rand_like": _uniform,
    "uniform_": _moved_uniform,
    "exponential_": _exponential,
    "bernoulli": _bernoulli,
    "bernoulli_": _bernoulli,
    "multinomial": _multinomial,
    "poisson": _poisson,
    "_standard_gamma": _gamma,
    "_sample_dirichlet": _dirichlet,
    "binomial": _binomial,
    "native_dropout": _dropout,
    "randint": _integer,
    "randint_like": _integer,
}


def _quantile(uniform: float) -> float:
    """The standard normal quantile."""
    return float(torch.special.ndtri(torch.tensor(uniform, dtype=torch.float64)))


@contextmanager
def steady(*, varies: bool = True, shuffle: int = 0) -> Iterator[None]:
    """Within, random numbers are those of ``SteadyNoise``, or seeded."""
    with seeded(torch.device("cpu"), "steady"), SteadyNoise(varies=varies, shuffle=shuffle):
        yield


def touched_generators(action: Callable[[], T]) -> tuple[T, list[str]]:
    """The result of ``action``, and the names of the global random generators that it changed.

    They have their former states afterwards.
    """
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        # states of our own: those that a component seeds may be the present ones
        torch.manual_seed(_UNLIKELY)
        np.random.seed(_UNLIKELY)
        random.seed(_UNLIKELY)
        fresh = torch.get_rng_state(), np.random.get_state(), random.getstate()
        result = action()
        names = []
        if not torch.equal(torch.get_rng_state(), fresh[0]):
            names.append("torch's global generator")
        if not _same_numpy_state(np.random.get_state(), fresh[1]):
            names.append("numpy's global generator")
        if random.getstate() != fresh[2]:
            names.append("Python's module random")
        return result, names
    finally:
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])


def _same_numpy_state(first: Any, second: Any) -> bool:
    return first[2] == second[2] and np.array_equal(first[1], second[1])

"""A property that is computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class memoised(Generic[T]):
    """A property whose value is computed at first use and kept in the object's ``__dict__``.

    Like ``functools.cached_property``, which until Python 3.11 takes a lock, and a lock splits the
    graph that ``torch.compile`` makes of a training step.
    """

    def __init__(self, function: Callable[[Any], T]) -> None:
        self.function, self.__doc__ = function, function.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> T:
        if instance is None:
            return self  # type: ignore[return-value]
        value = self.function(instance)
        instance.__dict__[self.name] = value
        return value

"""Reads the batches of CIFAR as plain data.

The files are pickles, and unpickling calls whatever a file names. Here the operations of the
format are carried out on numbers, text, lists, tuples, mappings and arrays of bytes only: there is
no operation that calls or imports anything.
"""

from __future__ import annotations

import math
import pickletools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

_MARK = object()
"""Stands on the stack where the items of a list, tuple or mapping begin."""
_VALUES = frozenset(
    {"BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "BINFLOAT", "FLOAT"}
    | {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"}
    | {"BINBYTES", "SHORT_BINBYTES"}
)
"""Operations that push their argument."""
_FIXED = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_STORE = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_FETCH = frozenset({"GET", "BINGET", "LONG_BINGET"})
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_ARRAY = frozenset({"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"})
_BYTE = "u1"


def read_batch(path: Path) -> dict[str, Any]:
    """The mapping in a file of CIFAR: numbers, text, lists, tuples and arrays of ``uint8``.

    Raises:
        ValueError: the file holds anything else, or is damaged.
        OSError: it cannot be read.
    """
    try:
        value = _Reader().read(path.read_bytes())
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path}: not a batch of CIFAR: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path}: not a batch of CIFAR: no mapping")
    return {key: item.pixels if isinstance(item, _Array) else item for key, item in value.items()}


@dataclass
class _Name:
    """What a file would import."""

    text: str


@dataclass
class _Array:
    """An array, which a file describes first and fills later."""

    pixels: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint8))

    def fill(self, state: Any) -> None:
        """Sets the pixels from numpy's (version, shape, dtype, is Fortran order, bytes)."""
        _, shape, dtype, is_fortran, data = state
        raw = data.encode("latin-1") if isinstance(data, str) else data
        if dtype != _BYTE or is_fortran or not isinstance(raw, bytes):
            raise ValueError("an array that is not of bytes")
        if len(raw) != math.prod(shape):
            raise ValueError(f"an array of {len(raw):,} bytes for the shape {shape}")
        self.pixels = np.frombuffer(raw, np.uint8).reshape(shape)


class _Reader:
    """Carries out the operations of a file one by one."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def read(self, data: bytes) -> Any:
        """The value that the operations leave on the stack."""
        for opcode, argument, _ in pickletools.genops(data):
            self._store(opcode.name, argument)
        return self.stack.pop()

    def _store(self, name: str, argument: Any) -> None:
        """Operations on values that exist already; all others push one."""
        stack = self.stack
        if name in _STORE or name == "MEMOIZE":
            self.memo[len(self.memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else self._items()
            _as(list, stack[-1]).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [stack.pop(-2), stack.pop()] if name == "SETITEM" else self._items()
            _as(dict, stack[-1]).update(_mapping(items))
        elif name == "BUILD":
            state = stack.pop()
            if stack[-1] != _BYTE:  # the state of a dtype of single bytes says nothing more
                _as(_Array, stack[-1]).fill(state)
        elif name not in ("PROTO", "FRAME", "STOP"):
            stack.append(self._value(name, argument))

    def _value(self, name: str, argument: Any) -> Any:
        """The value that an operation pushes."""
        if name in _VALUES:
            return argument
        if name in _FIXED:
            return _FIXED[name]
        if name in _FETCH:
            return self.memo[argument]
        if name in _TUPLES:
            count = _TUPLES[name]
            return tuple([self.stack.pop() for _ in range(count)][::-1])
        if name == "TUPLE":
            return tuple(self._items())
        if name in ("EMPTY_LIST", "LIST"):
            return [] if name == "EMPTY_LIST" else self._items()
        if name in ("EMPTY_DICT", "DICT"):
            return _mapping([] if name == "EMPTY_DICT" else self._items())
        return _MARK if name == "MARK" else self._named(name, argument)

    def _named(self, name: str, argument: Any) -> Any:
        """A name, or what the two known names stand for: an array and its dtype."""
        if name == "GLOBAL":
            return _Name(argument.replace(" ", "."))
        if name == "STACK_GLOBAL":
            attribute, module = self.stack.pop(), self.stack.pop()
            return _Name(f"{module}.{attribute}")
        if name != "REDUCE":
            raise ValueError(f"the operation {name}, which is not one of plain data")
        arguments, called = self.stack.pop(), _as(_Name, self.stack.pop())
        if called.text in _ARRAY:
            return _Array()
        if called.text == "numpy.dtype" and arguments[0] == _BYTE:
            return _BYTE
        raise ValueError(f"{called.text}, which is not plain data")

    def _items(self) -> list[Any]:
        """Takes the items after the last mark from the stack."""
        start = len(self.stack) - 1
        while self.stack[start] is not _MARK:  # raises IndexError where there is none
            start -= 1
        items = self.stack[start + 1 :]
        del self.stack[start:]
        return items


def _mapping(items: list[Any]) -> dict[str, Any]:
    """The mapping of keys and values in turn."""
    keys = items[::2]
    if not all(isinstance(key, str) for key in keys):
        raise ValueError("a key that is not text")
    return dict(zip(keys, items[1::2], strict=True))


def _as(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{type(value).__name__} in place of {kind.__name__.strip('_').lower()}")
    return value

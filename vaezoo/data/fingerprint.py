"""Fingerprints of data, by which a run recognises the data that it was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_CHUNK = 2**24
"""The number of bytes that are hashed at once: a copy of them is all that is made."""


@dataclass(frozen=True)
class Fingerprint:
    """A hash of data.

    Attributes:
        sha256: the hash, as 64 hexadecimal digits.
        examples: the number of examples.
        read: how many of them the hash covers.
    """

    sha256: str
    examples: int
    read: int

    @property
    def partial(self) -> bool:
        """Whether it covers some of the examples only."""
        return self.read < self.examples

    def __str__(self) -> str:
        of = f" of {self.read} of {self.examples:,} items" if self.partial else ""
        return f"sha256 {self.sha256[:16]}{of}"

    def as_json(self) -> dict[str, Any]:
        """The fingerprint as JSON values."""
        values = {"sha256": self.sha256, "examples": self.examples, "partial": self.partial}
        return values | ({"read": self.read} if self.partial else {})

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Fingerprint:
        """The fingerprint of arrays ``[n, ...]`` by name: of all of their bytes."""
        (count,) = {len(array) for array in arrays.values()}
        return cls(hash_arrays(arrays), count, count)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Fingerprint:
        """The inverse of ``as_json``."""
        examples = values["examples"]
        return cls(values["sha256"], examples, values.get("read", examples))


def hash_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """The SHA-256 of the names, types, shapes and bytes of arrays."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        if array.ndim and not array.flags.c_contiguous:
            rows = max(1, _CHUNK * len(array) // max(1, array.nbytes))
            parts = [array[start : start + rows] for start in range(0, len(array), rows)]
        else:
            parts = [array]
        for part in parts:
            digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()

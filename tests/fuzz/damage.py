"""Changes of bytes that know nothing of the format."""

from __future__ import annotations

import numpy as np

_WORDS = (
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\0",
    b"\x80\0\0\0",
)


def flip(data: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(0, len(data), rng.integers(1, 5)):
        data[place] ^= 1 << int(rng.integers(8))


def overwrite(data: bytearray, rng: np.random.Generator) -> None:
    for place in rng.integers(0, len(data), rng.integers(1, 4)):
        data[place] = int(rng.choice([0, 1, 10, 13, 34, 127, 128, 255, rng.integers(256)]))


def overwrite_word(data: bytearray, rng: np.random.Generator) -> None:
    place = int(rng.integers(len(data)))
    word = _WORDS[rng.integers(len(_WORDS))][: int(rng.choice([2, 4]))]
    data[place : place + len(word)] = word


def truncate(data: bytearray, rng: np.random.Generator) -> None:
    del data[int(rng.integers(len(data))) :]


def insert(data: bytearray, rng: np.random.Generator) -> None:
    place = int(rng.integers(len(data) + 1))
    data[place:place] = rng.bytes(int(rng.integers(1, 9)))


def delete(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data)))
    del data[start : start + int(rng.integers(1, 17))]


def duplicate(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data)))
    chunk = data[start : start + int(rng.integers(1, 65))]
    place = int(rng.integers(len(data) + 1))
    data[place:place] = chunk


def blank(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data)))
    stop = min(len(data), start + int(rng.integers(1, 33)))
    data[start:stop] = bytes(stop - start)


def exchange(data: bytearray, rng: np.random.Generator) -> None:
    size = int(rng.integers(1, 17))
    first, second = sorted(int(place) for place in rng.integers(0, len(data), 2))
    if first + size <= second:
        data[first : first + size], data[second : second + size] = (
            data[second : second + size],
            data[first : first + size],
        )


WAYS = (
    flip,
    flip,
    overwrite,
    overwrite_word,
    truncate,
    insert,
    delete,
    duplicate,
    blank,
    exchange,
)


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """The bytes after one or two changes."""
    changed = bytearray(data)
    for _ in range(int(rng.choice([1, 1, 1, 2]))):
        if changed:
            WAYS[rng.integers(len(WAYS))](changed, rng)
    return bytes(changed)

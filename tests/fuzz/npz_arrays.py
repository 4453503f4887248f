"""Arrays of npz files: how they are written and read, and which examples they hold."""

from __future__ import annotations

import io
import warnings
import zipfile
from typing import Any

import numpy as np

from tests.fuzz.harness import (
    Example,
)

ROWS = 12


_READ = ("x", "condition", "mask", "lengths")


_PREFIXES = ("x.", "mask.", "present.", "extras.")


class Invalid(Exception):
    """Arrays that hold no examples."""


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.mkdir, ("trap",)


def member_of(array: np.ndarray | bytes) -> bytes:
    if isinstance(array, bytes):
        return array
    stream = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        np.lib.format.write_array(stream, array, allow_pickle=True)
    return stream.getvalue()


def pack(arrays: dict[str, Any], compression: int = zipfile.ZIP_STORED) -> bytes:
    """An npz file; members that are given as bytes are what they are."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, array in arrays.items():
            is_file = isinstance(array, np.ndarray) or name in _READ or name.startswith(_PREFIXES)
            info = zipfile.ZipInfo(f"{name}.npy" if is_file and "/" not in name else name)
            info.compress_type = compression
            archive.writestr(info, member_of(array))
    return stream.getvalue()


def unpack(data: bytes) -> dict[str, np.ndarray]:
    """The arrays that are read, by zipfile and numpy."""
    arrays = {}
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name in _READ or name.startswith(_PREFIXES):
                with archive.open(info) as stream:
                    arrays[name] = np.lib.format.read_array(stream, allow_pickle=False)
                    stream.read()  # to the end, where the checksum is compared
    return arrays


def array_examples(arrays: dict[str, np.ndarray], options: dict[str, Any]) -> list[Example]:
    """What the data set npz holds.

    Raises:
        Invalid: it must be refused.
    """
    names = [name for name in arrays if name == "x" or name.startswith("x.")]
    if not names or ("x" in names and len(names) > 1):
        raise Invalid
    rows = len(arrays[names[0]])
    for name, array in arrays.items():
        if array.shape[:1] != (rows,) or not array.size or array.dtype.kind not in "fiub":
            raise Invalid(name)
    if (
        "condition" in arrays
        and arrays["condition"].ndim == 1
        and arrays["condition"].dtype.kind in "iu"
    ):
        unique = np.unique(arrays["condition"])
        known = unique[unique != -1]  # -1 is unknown
        if not len(known) or not np.array_equal(known, np.arange(len(known))):
            raise Invalid("condition")
    examples: list[Example] = [{} for _ in range(rows)]
    for name in names:
        part = name[2:]
        x, suffix = arrays[name], f".{part}" if part else ""
        mask, present = arrays.get(f"mask{suffix}"), arrays.get(f"present{suffix}")
        if (
            x.dtype.kind in "iu"
            and options.get("support") != "count"
            and not _is_binary(x, mask, present)
        ):
            x = x / 255
        for row in range(rows):
            shown = None if mask is None else mask[row] != 0
            is_there = present is None or present[row] != 0
            add_part(examples[row], part, x[row], shown, bool(is_there))
            if not np.isfinite(examples[row][f"x{suffix}"].astype(np.float32)).all():
                raise Invalid(name)
    for name, array in arrays.items():
        if name == "condition" or name.startswith("extras."):
            is_number = name == "condition" and array.ndim == 1 and array.dtype.kind not in "iub"
            for row in range(rows):
                examples[row][name] = array[row, None] if is_number else array[row]
            if not np.isfinite(array.astype(np.float32)).all():
                raise Invalid(name)
    return examples


def _is_binary(x: np.ndarray, mask: np.ndarray | None, present: np.ndarray | None) -> bool:
    shown = np.ones(x.shape, bool)
    for hidden in (mask, present):
        if hidden is not None:
            shown &= (hidden != 0).reshape(hidden.shape + (1,) * (x.ndim - hidden.ndim))
    return bool(np.isin(x[shown], (0, 1)).all())


def add_part(example: Example, part: str, x: Any, mask: Any, is_there: bool) -> None:
    """Adds what is observed of one part; what is not is 0."""
    suffix = f".{part}" if part else ""
    x = np.array(x, np.float64)
    if mask is not None:
        mask = np.array(mask, bool)
        x = np.where(mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim)), x, 0.0)
        example[f"mask{suffix}"] = mask if is_there or not part else np.zeros_like(mask)
    example[f"x{suffix}"] = x if is_there else np.zeros_like(x)
    if part:
        example[f"present{suffix}"] = is_there


def sequence_examples(arrays: dict[str, np.ndarray], options: dict[str, Any]) -> list[Example]:
    """What the data set sequences holds.

    Raises:
        Invalid: it must be refused.
    """
    x, lengths, mask = arrays["x"], arrays.get("lengths"), arrays.get("mask")
    for name, array in arrays.items():
        if not array.size or array.dtype.kind not in "fiub":
            raise Invalid(name)
    if mask is None:
        mask = np.ones(x.shape[: 1 if lengths is not None and x.ndim == 2 else 2], bool)
    if mask.shape != x.shape[: mask.ndim]:
        raise Invalid("mask")
    if lengths is not None and lengths.dtype.kind not in "iu":
        raise Invalid("lengths")
    if lengths is None:
        pieces = list(zip(x, mask, strict=True))
    elif x.ndim == 3:
        if lengths.shape != (len(x),) or lengths.min() < 0 or lengths.max() > x.shape[1]:
            raise Invalid("lengths")
        pieces = [(x[i, :n], mask[i, :n]) for i, n in enumerate(lengths)]
    else:
        if lengths.ndim != 1 or lengths.min() < 0 or sum(lengths.tolist()) != len(x):
            raise Invalid("lengths")
        ends = np.cumsum(lengths)[:-1]
        pieces = list(zip(np.split(x, ends), np.split(mask, ends), strict=True))
    labels = arrays.get("condition")
    if labels is not None and (labels.shape != (len(pieces),) or labels.dtype.kind not in "iu"):
        raise Invalid("condition")
    examples = []
    for number, (values, shown) in enumerate(pieces):
        example: Example = {}
        add_part(example, "", values, shown != 0, True)
        if not np.isfinite(example["x"].astype(np.float32)).all() or not example["mask"].any():
            raise Invalid("x")
        if labels is not None:
            example["condition"] = labels[number]
        trim(example)
        examples.append(example)
    return examples


def trim(example: Example) -> None:
    """Cuts off the steps after the last one that is observed."""
    shown = example["mask"].reshape(len(example["mask"]), -1).any(1)
    steps = int(shown.nonzero()[0].max()) + 1 if shown.any() else 0
    example["x"], example["mask"] = example["x"][:steps], example["mask"][:steps]


def make_array(rng: np.random.Generator, options: dict[str, Any]) -> dict[str, np.ndarray]:
    """Arrays of data without parts, of one of several kinds."""
    shape = [(3,), (2, 3), (1, 3, 3)][rng.integers(3)]
    kind = str(rng.choice(["real", "unit", "pixels", "binary", "count"]))
    arrays = {"x": _values(rng, kind, (ROWS, *shape))}
    if kind == "count":
        options["support"] = "count"
    if rng.integers(2):
        arrays["condition"] = _condition(rng)
    if rng.integers(2):
        arrays["mask"] = _mask(rng, (ROWS, *shape[: rng.integers(1, len(shape) + 1)]))
    if rng.integers(2):
        arrays["extras.w"] = rng.integers(0, 9, ROWS) / np.float32(4)
        arrays["extras.k"] = rng.integers(0, 9, (ROWS, 2))
    return arrays


def make_parts(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        "x.a": _values(rng, "real", (ROWS, 3)),
        "x.b": _values(rng, "pixels", (ROWS, 1, 2, 2)),
        "mask.a": _mask(rng, (ROWS, 3)),
        "present.b": rng.integers(0, 2, ROWS).astype(bool),
        "condition": _condition(rng),
    }


def make_sequences(rng: np.random.Generator, kind: str) -> dict[str, np.ndarray]:
    lengths = rng.integers(1, 6, ROWS)
    rows = (ROWS, 5) if kind == "padded" else (int(lengths.sum()),)
    arrays = {"x": _values(rng, str(rng.choice(["real", "real", "binary"])), (*rows, 2))}
    if kind == "lengths":
        arrays["lengths"] = lengths
    elif rng.integers(2):
        arrays["mask"] = np.arange(5) < lengths[:, None]
    if rng.integers(2):
        arrays["condition"] = np.arange(ROWS) % 3
    return arrays


def _values(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values that all widths of numbers hold exactly."""
    if kind == "real":
        return (rng.integers(-64, 65, shape) / 16).astype(np.float32)
    if kind == "unit":
        return (rng.integers(0, 17, shape) / 16).astype(np.float32)
    values = rng.integers(0, {"pixels": 256, "binary": 2, "count": 20}[kind], shape)
    values.flat[0] = {"pixels": 200, "binary": 1, "count": 5}[kind]
    return values.astype(np.uint8)


def _mask(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    mask = rng.integers(0, 3, shape) > 0
    mask[:, 0] = True
    return mask


def _condition(rng: np.random.Generator) -> np.ndarray:
    if rng.integers(2):
        return np.arange(ROWS) % 3
    return (rng.integers(-8, 9, (ROWS, 2)) / 8).astype(np.float32)

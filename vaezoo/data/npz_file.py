"""Reads npz files. What a file declares is checked before anything is allocated for it."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

from vaezoo.utils.errors import DataError, one_line
from vaezoo.utils.memory import check_memory

_NAMES = ("x", "condition", "mask", "lengths", "factors")
"""The arrays of examples."""
_PREFIXES = ("x.", "mask.", "present.", "extras.", "factors.")
"""The beginnings of the names of arrays of parts, extras and factors."""
_REASON = 200
"""The greatest number of characters of a library's message that is quoted."""
_HEADERS = {
    (1, 0): (2, np.lib.format.read_array_header_1_0),
    (2, 0): (4, np.lib.format.read_array_header_2_0),
}
"""By version, the bytes of the length of a header, and what reads the length and the header."""
_LONGEST_HEADER = 10_000
"""Numpy has the same limit, but reads the header first."""


class NpzArrays(dict[str, np.ndarray]):
    """Arrays of an npz file by name.

    Attributes:
        unread: the names of the arrays of the file that were not asked for.
    """

    unread: tuple[str, ...] = ()


def read_npz(file: Path, names: Collection[str] | None = None) -> NpzArrays:
    """Reads arrays of numbers or booleans, in the byte order of the machine. No object is built
    from the file.

    Args:
        file: the npz file.
        names: the arrays to read, as far as they are there; by default those of examples, of which
            only ``x`` must be there: ``x``, ``condition``, ``mask``, ``lengths``, ``factors``,
            and those of parts, extras and single factors.

    Raises:
        vaezoo.DataError: it is no npz file, is damaged, an array is not of numbers or does not fit
            in memory; or, by default, there is no ``x``, or one array for all parts beside those
            of single parts.
    """
    if not zipfile.is_zipfile(file):
        raise DataError(f"{file}: not an npz file")
    try:
        with zipfile.ZipFile(file) as archive:
            arrays = _read_arrays(archive, names, file)
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise many types on damaged files
        reason = one_line(error)[:_REASON]  # some quote the whole file
        raise DataError(f"{file}: not a readable npz file: {reason}") from error
    if names is None:
        _check_names(arrays, file)
    return arrays


def _read_arrays(archive: zipfile.ZipFile, names: Collection[str] | None, file: Path) -> NpzArrays:
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    chosen = {
        name: info
        for name, info in members.items()
        if (_is_of_examples(name) if names is None else name in names)
    }
    sizes = [_declared_size(archive, info, file, name) for name, info in chosen.items()]
    listed = ", ".join(map(repr, chosen))
    remedy = "store fewer examples, or a smaller type"
    check_memory(sum(sizes), f"{file}: the arrays {listed}", remedy)
    arrays = NpzArrays()
    for name, info in chosen.items():
        with archive.open(info) as stream:
            arrays[name] = _native(np.lib.format.read_array(stream, allow_pickle=False))
            stream.read(1)  # at the end of the member its checksum is verified
    arrays.unread = tuple(sorted(members.keys() - chosen.keys()))
    return arrays


def _is_of_examples(name: str) -> bool:
    return name in _NAMES or name.startswith(_PREFIXES)


def _declared_size(archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: Path, name: str) -> int:
    """The number of bytes of an array by its header.

    Raises:
        DataError: the header is not one of an array of numbers, or declares another size than
            there is.
    """
    with archive.open(info) as stream:
        try:
            length, read_header = _HEADERS[np.lib.format.read_magic(stream)]
            start = stream.tell()
            if int.from_bytes(stream.read(length), "little") > _LONGEST_HEADER:
                raise ValueError("its header is too long")
            stream.seek(start)
            shape, _, dtype = read_header(stream)
        except (ValueError, KeyError) as error:
            raise DataError(f"{file}: {name!r} is no array of numbers") from error
        start = stream.tell()
    if dtype.hasobject:
        raise DataError(
            f"{file}: {name!r} holds Python objects, which are not read; store sequences of "
            "different lengths as x [steps, D] with lengths [n]"
        )
    if dtype.kind not in "fiub":
        raise DataError(f"{file}: {name!r} must be numbers, not {dtype}")
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or start + size != info.file_size:
        raise DataError(
            f"{file}: {name!r} declares the shape {shape} of {dtype}, but holds "
            f"{max(info.file_size - start, 0):,} bytes; the file is damaged"
        )
    return size


def _native(array: np.ndarray) -> np.ndarray:
    """The array in a type that torch has, too, and in the order of C.

    Sums depend on the order, so that equal arrays would otherwise differ in what is computed.
    """
    is_long = array.dtype.kind == "f" and array.dtype.itemsize > 8
    dtype = np.dtype(np.float64) if is_long else array.dtype.newbyteorder("=")
    return np.ascontiguousarray(array, dtype).reshape(array.shape)


def _check_names(arrays: NpzArrays, file: Path) -> None:
    """Raises DataError if there is no ``x``, or if there are arrays for all parts and for one."""
    for name in ("x", "mask", "factors"):
        if name in arrays and any(key.startswith(f"{name}.") for key in arrays):
            raise DataError(f"{file}: has arrays '{name}' and '{name}.NAME'; use one")
    if not any(name.partition(".")[0] == "x" for name in arrays):
        others = ", ".join(map(repr, sorted({*arrays, *arrays.unread}))) or "none"
        raise DataError(f"{file}: has no array 'x'; its arrays: {others}")

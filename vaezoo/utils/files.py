"""Writes files atomically: a reader sees either the old content or the new, never a part of it."""

from __future__ import annotations

import json
import math
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vaezoo.utils.digests import (
    NO_DIGEST,
    add_digest,
    check_tensors,
    parse_with_digest,
    tensors_header,
)
from vaezoo.utils.errors import IntegrityError, VaezooError, one_line
from vaezoo.utils.json_text import json_text
from vaezoo.utils.reading import check_regular, read_small

TEMPORARY = ".tmp-"
"""The prefix of the names of temporary files."""
_MAX_LINKS = 40
"""How many links are followed, as by Linux."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the folder of ``path``, and renames it to ``path`` at the end.

    If the block raises, the temporary file is removed and ``path`` is unchanged. A link is
    replaced by a file. The umask says who else may read what is written.

    Raises:
        VaezooError: ``path`` is a device, pipe or folder, or leads to one; the disk is full or the
            folder cannot be written. ``path`` is unchanged.
    """
    _check_replaceable(path)
    temporary = path.parent / f"{TEMPORARY}{secrets.token_hex(8)}{path.suffix}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except OSError as error:
        raise VaezooError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
    except OSError as error:
        raise VaezooError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
    with suppress(OSError):  # the file is in its place: a folder that cannot be synced, such as
        sync(path.parent)  # one that may not be read, must not make it look as if it were not


def _check_replaceable(path: Path) -> None:
    """Raises VaezooError if something is at a path that a file must not take the place of."""
    try:
        is_regular = stat.S_ISREG(path.stat().st_mode) and not _is_descriptor(path)
    except (OSError, ValueError):  # nothing is there, or writing says why it cannot be looked at
        return
    if not is_regular:
        raise VaezooError(f"{path}: is a device, pipe or folder; choose another name")


def _is_descriptor(path: Path) -> bool:
    """Whether a path leads to an open file of a process, as ``/dev/stdout`` does, which may be a
    regular file."""
    for _ in range(_MAX_LINKS):
        place = path.parent.resolve()
        if place.is_relative_to("/proc") or place.is_relative_to("/dev/fd"):
            return True
        if not path.is_symlink():
            return False
        path = place / path.readlink()
    return False


def sync(path: Path) -> None:
    """Waits until a file or folder is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file atomically."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically, in UTF-8; what is no text is escaped by a backslash."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def read_limited(path: Path, limit: int) -> bytes:
    """The bytes of a file that users name; of one with more than ``limit``, ``limit + 1``.

    So a device without an end, such as ``/dev/zero``, does not fill the memory.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return file.read(limit + 1)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes the JSON of ``json_text`` atomically, with a digest as its last member."""
    write_text(path, add_digest(json_text(value, indent=2)) + "\n")


def read_json(path: Path, *, needs_digest: bool = False) -> dict[str, Any]:
    """Reads a JSON object, without its digest; those of earlier versions have none.

    Args:
        path: the file.
        needs_digest: refuses an object without a digest, as one is that says ``digests``.

    Raises:
        IntegrityError: the file is missing, is no JSON object, or was changed after it was
            written.
    """
    try:
        text = read_small(path).decode("utf-8")
        if text.endswith("}\n"):  # as it is written; a changed end cannot be parsed, or is noticed
            text = text[:-1]
        value, has_digest = parse_with_digest(text)
        if not has_digest and (needs_digest or "digests" in value):
            raise ValueError(NO_DIGEST)
        return value
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise IntegrityError(
            f"{path}: cannot be read as JSON: {reason or one_line(error)}"
        ) from error


def encode_tensors(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> tuple[bytes, memoryview]:
    """The bytes of a safetensors file with a digest: its header, and the data of the tensors.

    Tensors that share memory are stored separately. Equal tensors and metadata give equal bytes.
    """
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    encoded = memoryview(save(copies))
    start = 8 + int.from_bytes(encoded[:8], "little")
    table, data = json.loads(bytes(encoded[8:start])), encoded[start:]
    return tensors_header(table, metadata or {}, data), data


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Writes the file of ``encode_tensors`` atomically."""
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        file.writelines(encode_tensors(tensors, metadata))


def read_tensors(
    path: Path, *, needs_digest: bool = False
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Reads safetensors and their metadata, and checks their digest.

    Args:
        path: the file.
        needs_digest: refuses a file without a digest, as those are of earlier versions and of
            others than vaezoo.

    Raises:
        IntegrityError: the file is missing or damaged, or was changed after it was written.
    """
    try:
        check_regular(path)
        with _readable_path(path) as name, safe_open(name, framework="pt") as file:
            metadata = file.metadata() or {}
            check_tensors(path, metadata, needs_digest=needs_digest)
            names = file.keys()  # the file itself is not iterable
            return {name: file.get_tensor(name) for name in names}, metadata
    except (OSError, SafetensorError) as error:
        raise IntegrityError(f"{path}: cannot be read as safetensors: {error}") from error


@contextmanager
def _readable_path(path: Path) -> Iterator[Path]:
    """A path of a file that is text, which safetensors requires: its own, or that of a link."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / "link"
            link.symlink_to(path.absolute())
            yield link
    else:
        yield path


def pack(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """Splits a nested state into JSON and tensors, so that it can be stored without pickle.

    Args:
        state: mappings, lists and tuples of tensors, numbers, strings, booleans and None.

    Returns:
        A JSON value in which each tensor is replaced by its name, and the tensors by name. JSON
        lacks NaN and infinity, so they are text in it.

    Raises:
        TypeError: the state contains a value of another type.
    """
    tensors: dict[str, Tensor] = {}

    def walk(value: Any) -> Any:
        if isinstance(value, Tensor):
            key = f"t{len(tensors)}"
            tensors[key] = value
            return {"tensor": key}
        if isinstance(value, Mapping):
            return {"map": [[walk(key), walk(item)] for key, item in value.items()]}
        if isinstance(value, list | tuple):
            return {"list" if isinstance(value, list) else "tuple": [walk(item) for item in value]}
        if isinstance(value, float) and not math.isfinite(value):
            return {"float": str(value)}  # JSON has no such numbers
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise TypeError(f"cannot store {type(value).__name__} in a checkpoint")

    return walk(state), tensors


def unpack(packed: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Restores the state from the results of ``pack``."""
    if not isinstance(packed, dict):
        return packed
    ((kind, value),) = packed.items()
    if kind == "tensor":
        return tensors[value]
    if kind == "float":
        return float(value)
    if kind == "map":
        return {unpack(key, tensors): unpack(item, tensors) for key, item in value}
    items = [unpack(item, tensors) for item in value]
    return items if kind == "list" else tuple(items)

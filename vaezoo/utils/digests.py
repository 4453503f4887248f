"""Digests that the files of a run carry within themselves, so that a changed bit is noticed.

A digest within the file needs no second file, which a kill could leave behind the first. JSON
objects end with the member ``digest``; safetensors begin with the metadata ``vaezoo.sha256``; PNG
has checksums of its own.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaezoo.utils.errors import IntegrityError

CHANGED = "was changed or damaged after it was written: its digest is of other content"
"""What is wrong with a file whose digest does not match."""
NO_DIGEST = "was changed or damaged after it was written: it has no digest"
"""What is wrong with a file that must have one."""
_JSON_KEY = "digest"
_JSON_DIGITS = 16
_JSON_MEMBER = re.compile(
    rf',?\s+"{_JSON_KEY}": "[0-9a-f]{{{_JSON_DIGITS}}}"(?P<closing>\s*\}})\Z'
)  # tried at one place only: a search would try every one of many spaces
TENSORS_KEY = "vaezoo.sha256"
_TENSORS_BEGINNING = f'{{"__metadata__":{{"{TENSORS_KEY}":"'.encode()
_TENSORS_DIGITS = 64
_ALIGNMENT = 8
_PNG_SIGNATURE, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND"


def add_digest(text: str) -> str:
    """Adds the member ``digest``, the first 64 bits of the SHA-256 of the text, as the last one.

    Args:
        text: a JSON object, which ends with its brace.
    """
    body = text[:-1].rstrip()
    closing = text[len(body) :]
    digest = hashlib.sha256(text.encode()).hexdigest()[:_JSON_DIGITS]
    comma = "" if body.endswith("{") else ","
    space = "\n  " if closing.startswith("\n") else " "
    return f'{body}{comma}{space}"{_JSON_KEY}": "{digest}"{closing}'


def parse_with_digest(text: str) -> tuple[dict[str, Any], bool]:
    """Parses a JSON object and checks its digest.

    Args:
        text: what ``add_digest`` returned, or a JSON object of an earlier version without digest.

    Returns:
        The object without its digest, and whether it had one.

    Raises:
        ValueError: the text is no JSON object, or it was changed.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("is nested too deep") from None
    if not isinstance(value, dict):
        raise ValueError("is no JSON object")
    if _JSON_KEY not in value:
        return value, False
    body = text[: text.rfind(f'"{_JSON_KEY}"')].rstrip()
    start = len(body) - body.endswith(",")
    member = _JSON_MEMBER.match(text, start)
    if member is None or add_digest(text[:start] + member["closing"]) != text:
        raise ValueError(CHANGED)
    del value[_JSON_KEY]
    return value, True


def tensors_header(
    table: Mapping[str, Any], metadata: Mapping[str, str], data: memoryview
) -> bytes:
    """The first bytes of a safetensors file, with the digest of the whole file.

    Equal arguments give equal bytes, which safetensors' own writer does not promise.

    Args:
        table: the row of each tensor by its name.
        metadata: texts by name.
        data: the bytes that follow.
    """
    first = {TENSORS_KEY: "0" * _TENSORS_DIGITS}
    others = {name: text for name, text in sorted(metadata.items()) if name != TENSORS_KEY}
    text = json.dumps(
        {"__metadata__": first | others, **table}, separators=(",", ":"), allow_nan=False
    )
    header = text.encode()
    header += b" " * (-len(header) % _ALIGNMENT)
    length = len(header).to_bytes(8, "little")
    begin = len(_TENSORS_BEGINNING)
    end = begin + _TENSORS_DIGITS
    digest = hashlib.sha256(length)
    digest.update(header[end:])
    digest.update(data)
    return length + header[:begin] + digest.hexdigest().encode() + header[end:]


def check_tensors(path: Path, metadata: Mapping[str, str], *, needs_digest: bool) -> None:
    """Checks the digest of a safetensors file; one of an earlier version has none.

    Args:
        path: the file.
        metadata: its metadata.
        needs_digest: whether a file without a digest is refused.

    Raises:
        IntegrityError: it was changed after it was written.
    """
    if TENSORS_KEY not in metadata:
        if needs_digest:
            raise IntegrityError(f"{path}: {NO_DIGEST}")
        return
    with open(path, "rb") as file:
        length, beginning = file.read(8), file.read(len(_TENSORS_BEGINNING))
        expected = file.read(_TENSORS_DIGITS)
        actual = hashlib.file_digest(file, lambda: hashlib.sha256(length)).hexdigest()
    if beginning != _TENSORS_BEGINNING or expected != actual.encode():
        raise IntegrityError(f"{path}: {CHANGED}")


def check_png(path: Path, data: bytes) -> None:
    """Checks the checksum of every chunk of a PNG.

    Args:
        path: the file, for the message.
        data: its bytes.

    Raises:
        IntegrityError: it was changed after it was written.
    """
    place, kind = len(_PNG_SIGNATURE), b""
    while kind != _PNG_END and place < len(data):
        # length, kind, content, checksum
        end = place + 8 + int.from_bytes(data[place : place + 4])
        kind, checksum = data[place + 4 : place + 8], zlib.crc32(data[place + 4 : end])
        if data[end : end + 4] != checksum.to_bytes(4):
            break
        place = end + 4
    if kind != _PNG_END or place != len(data) or not data.startswith(_PNG_SIGNATURE):
        raise IntegrityError(f"{path}: {CHANGED}")

"""The index of a large registry: a line of JSON for each entry, which is in a file of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from packaging.requirements import Requirement
from pydantic import Field, ValidationError

from vaezoo.pretrained.entry import INDEX_BYTES, LIMITS, FeaturesEntry, WeightsEntry
from vaezoo.pretrained.entry_parts import File, StrictModel
from vaezoo.pretrained.entry_types import (
    Count,
    OneLine,
    RelativePath,
    Sha256,
    WeightsId,
    is_id,
)
from vaezoo.spec import messages
from vaezoo.utils.errors import RegistryError, printable, shorten

MAX_ROWS = 20_000
_FIRST_LINE = b'{"index":"vaezoo/index/v1"}'
_ROW_ID = re.compile(rb'\{"id":"([a-z0-9/@-]{1,100})",')


class Summary(StrictModel):
    """What a list of weights shows of an entry.

    Attributes:
        id, title, status: those of the entry.
        bytes: the size of its files.
        requires: the names of the packages that it needs.
        data: the names of the data sets that its metrics were measured on.
        metrics: the values that are stated as true, by name.
    """

    id: WeightsId
    title: OneLine
    status: Literal["active", "deprecated", "revoked"]
    bytes: Count
    requires: list[OneLine]
    data: list[OneLine]
    metrics: dict[OneLine, float]


class IndexRow(Summary):
    """A line of the index: the summary of an entry, its file, and the hashes of what it lists."""

    path: RelativePath
    sha256: Sha256
    size: Annotated[int, Field(ge=1, le=LIMITS.bytes)]
    blobs: list[Sha256]

    @property
    def file(self) -> File:
        """The entry as a file."""
        return File(name="entry.yaml", sha256=self.sha256, size=self.size, sources=[self.path])


def summarize(entry: WeightsEntry | FeaturesEntry) -> Summary:
    """The summary of an entry; features have no metrics."""
    rows = entry.metrics if isinstance(entry, WeightsEntry) else []
    metrics: dict[str, float] = {}
    for row in rows:
        if row.retracted is None:
            metrics.setdefault(row.name, row.value)
    return Summary(
        id=entry.id,
        title=entry.title,
        status=entry.status,
        bytes=entry.size,
        requires=[Requirement(text).name for text in entry.requires],
        data=list(dict.fromkeys(row.data for row in rows)),
        metrics=metrics,
    )


def listed_blobs(entry: WeightsEntry | FeaturesEntry) -> list[str]:
    """The hashes of the files of an entry and of its spec."""
    spec = [entry.spec.file] if isinstance(entry, WeightsEntry) else []
    return [file.sha256 for file in (*entry.files, *spec)]


def all_files(entry: WeightsEntry | FeaturesEntry) -> list[File]:
    """The files of an entry to fetch, with the spec of a model unless it is inline."""
    if isinstance(entry, WeightsEntry) and entry.spec.inline is None:
        return [*entry.files, entry.spec.file]
    return [*entry.files]


def row_of(entry: WeightsEntry, *, path: str, sha256: str, size: int) -> IndexRow:
    """The row of an entry whose file has this path, hash and size."""
    summary = summarize(entry).model_dump()
    return IndexRow(**summary, path=path, sha256=sha256, size=size, blobs=listed_blobs(entry))


class Index:
    """The lines of an index by id; each is parsed and checked when it is asked for.

    So an index of 10,000 entries is opened in the time that finding its ids takes.
    """

    def __init__(self, origin: str = "", lines: dict[str, bytes] | None = None) -> None:
        self._origin = origin
        self._lines = lines or {}

    def __contains__(self, entry_id: str) -> bool:
        return entry_id in self._lines

    def __iter__(self) -> Iterator[str]:
        """The ids in the order of the index."""
        return iter(self._lines)

    def row(self, entry_id: str) -> IndexRow:
        """The row of an id that the index has.

        Raises:
            RegistryError: the row is not valid.
        """
        try:
            row = IndexRow.model_validate_json(self._lines[entry_id])
        except ValidationError as error:
            where, message = messages.first_fault(error, IndexRow)
            where, message = printable(shorten(where or "line")), printable(shorten(message, 1000))
            raise RegistryError(f"{self._origin}: {entry_id}: {where}: {message}") from None
        if row.id != entry_id:
            raise RegistryError(f"{self._origin}: {entry_id}: is also {row.id}")
        return row

    def changed(self, rows: Sequence[IndexRow]) -> Index:
        """The index with more rows, or other ones for ids that it has."""
        added = {row.id: row.model_dump_json().encode() for row in rows}
        return Index(self._origin, {**self._lines, **added})

    def paths_without(self, others: Sequence[Index]) -> set[str]:
        """The paths of the files of entries that none of some other indexes lists.

        Raises:
            RegistryError: a row that differs is not valid.
        """
        paths: set[str] = set()
        for entry_id, line in self._lines.items():
            same = [other for other in others if entry_id in other]
            if all(other._lines[entry_id] != line for other in same):  # parses no other row
                paths |= {self.row(entry_id).path} - {other.row(entry_id).path for other in same}
        return paths

    def dump(self) -> bytes:
        """The bytes of the index.

        Raises:
            RegistryError: it has more rows, or takes more bytes, than a reader accepts.
        """
        data = b"\n".join([_FIRST_LINE, *self._lines.values(), b""])
        _check_limits(data, len(self._lines), "the index")
        return data


def parse_index(data: bytes, origin: str) -> Index:
    """Parses an index; its rows are checked later.

    Args:
        data: the bytes of the file.
        origin: the file or URL they come from, for messages.

    Raises:
        RegistryError: it is not an index, or too large.
    """
    _check_limits(data, 0, origin)
    first, *rows = data.removesuffix(b"\n").split(b"\n")
    if first != _FIRST_LINE:
        raise RegistryError(f"{origin}:1:1: the first line of an index is {_FIRST_LINE.decode()}")
    _check_limits(data, len(rows), origin)
    lines: dict[str, bytes] = {}
    for number, row in enumerate(rows, start=2):
        match = _ROW_ID.match(row)
        entry_id = match[1].decode() if match else ""
        if not is_id(entry_id) or entry_id in lines:
            problem = "is listed twice" if entry_id in lines else 'must begin with {"id":"'
            raise RegistryError(f"{origin}:{number}:1: {entry_id or 'a row'} {problem}")
        lines[entry_id] = row
    return Index(origin, lines)


def _check_limits(data: bytes, rows: int, origin: str) -> None:
    if len(data) > INDEX_BYTES or rows > MAX_ROWS:
        raise RegistryError(
            f"{origin}: more than {MAX_ROWS:,} entries or {INDEX_BYTES // 2**20} MiB; "
            "begin another registry"
        )

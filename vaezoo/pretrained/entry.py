"""The format of a registry file: for each entry, how to load, verify and reproduce it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from vaezoo.pretrained.entry_parts import (
    FeaturesInput,
    File,
    Files,
    Licence,
    MeasuredMetric,
    Preprocessing,
    Requirements,
    SpecSource,
    StrictModel,
    TensorTable,
    Training,
    total_size,
)
from vaezoo.pretrained.entry_types import Date, OneLine, RelativePath, Sha256, WeightsId
from vaezoo.spec import messages
from vaezoo.spec.tree import Limits, Node, parse
from vaezoo.utils.errors import Problem, RegistryError, SpecError

FORMAT = "vaezoo/weights/v1"
LIMITS = Limits(
    256 * 1024,
    10_000,
    "begin another registry; vaezoo publish writes an index before a file is this large",
    f"registry: {FORMAT}",
)
"""Chosen such that even a hostile file is parsed in less than a second."""
_ENTRY_LIMITS = replace(LIMITS, advice="give the entry fewer or shorter texts and metrics")
MAX_ENTRIES = 50
"""The largest number of entries in a registry file itself; more are listed in an index."""
INDEX_BYTES = 8 * 1024 * 1024
"""The largest size of an index."""
_MAX_PROBLEMS = 50


class Entry(StrictModel):
    """What every entry has. An id is never reused: a new version gets a new id.

    What an entry lists never changes. Its status does.
    """

    id: WeightsId
    title: OneLine
    published: Date
    status: Literal["active", "deprecated", "revoked"] = "active"
    successor: WeightsId | None = None
    reason: OneLine | None = None

    @property
    def architecture(self) -> str:
        """The part of the id before the slash."""
        return self.id.partition("/")[0]

    @property
    def tag(self) -> str:
        """The part of the id between the slash and the ``@``, for example the training data."""
        return self.id.partition("/")[2].partition("@")[0]

    @property
    def version(self) -> int:
        """The part of the id after the ``@``."""
        return version_of(self.id)

    @model_validator(mode="after")
    def _check_status(self) -> Self:
        if self.status == "deprecated" and not self.successor:
            raise ValueError("an entry with `successor`, because its status is deprecated")
        if self.status == "revoked" and not self.reason:
            raise ValueError("an entry with `reason`, because its status is revoked")
        return self


class WeightsEntry(Entry):
    """One set of weights of a model in a registry.

    Its weights and its spec never change. A value that turns out to be wrong is marked as
    retracted.
    """

    spec: SpecSource
    requires: Requirements
    files: Files
    tensors: TensorTable
    preprocessing: Preprocessing
    classes: list[OneLine] = []
    metrics: list[MeasuredMetric]
    training: Training
    licence: Licence
    citation: OneLine

    @property
    def stated_metrics(self) -> list[MeasuredMetric]:
        """The metrics whose values are stated as true: those that were not retracted."""
        return [metric for metric in self.metrics if metric.retracted is None]

    @property
    def size(self) -> int:
        """The total size of all files, in bytes."""
        return total_size(self.files)


class FeaturesEntry(Entry):
    """A feature extractor in a registry: a component of the kind ``features`` and its weights."""

    component: Annotated[
        dict[str, Any], Field(description="`type`, the name of the component, and its options")
    ]
    requires: Requirements
    files: Files
    tensors: TensorTable
    preprocessing: FeaturesInput
    training: Training
    licence: Licence
    citation: OneLine

    @property
    def size(self) -> int:
        """The total size of all files, in bytes."""
        return total_size(self.files)


def version_of(entry_id: str) -> int:
    """The version in an id."""
    return int(entry_id.partition("@")[2])


class IndexFile(StrictModel):
    """The file next to the registry that lists entries in files of their own."""

    path: RelativePath
    sha256: Sha256
    size: Annotated[int, Field(ge=1, le=INDEX_BYTES)]

    @property
    def file(self) -> File:
        """The index as a file."""
        return File(name="index.jsonl", sha256=self.sha256, size=self.size, sources=[self.path])


class RegistryFile(StrictModel):
    """The content of a registry file: models, the index of more of them, and features."""

    registry: Literal["vaezoo/weights/v1"]
    index: IndexFile | None = None
    entries: Annotated[list[WeightsEntry], Field(max_length=MAX_ENTRIES)]
    features: Annotated[list[FeaturesEntry], Field(max_length=MAX_ENTRIES)] = []


class _EntryFile(StrictModel):
    registry: Literal["vaezoo/weights/v1"]
    entry: WeightsEntry


_Content = TypeVar("_Content", RegistryFile, _EntryFile)


def parse_registry(data: bytes, origin: str) -> RegistryFile:
    """Parses a registry file.

    Args:
        data: the bytes of the file.
        origin: the file or URL they come from, for messages.

    Raises:
        RegistryError: the file is not valid. The message lists every problem with its line.
    """
    content = _parse(data, origin, RegistryFile, LIMITS)
    _check_ids(content, origin)
    return content


def parse_entry(data: bytes, origin: str) -> WeightsEntry:
    """Parses the file of one entry of an index; arguments and errors as ``parse_registry``."""
    return _parse(data, origin, _EntryFile, _ENTRY_LIMITS).entry


def _parse(data: bytes, origin: str, model: type[_Content], limits: Limits) -> _Content:
    try:
        node = parse(data.decode("utf-8"), origin, limits)
    except UnicodeDecodeError as error:
        raise RegistryError(f"{origin}: not UTF-8 text: byte {error.start}") from None
    except SpecError as error:
        raise RegistryError(str(error)) from None
    if not isinstance(node.value, dict):
        raise RegistryError(
            f"{origin}:1:1: a registry is a mapping that begins with 'registry: {FORMAT}'"
        )
    try:
        return model.model_validate(node.plain())
    except ValidationError as error:
        omitted = error.error_count() - _MAX_PROBLEMS
        suffix = f"\n{origin}: and {omitted} more" if omitted > 0 else ""
        problems = "\n".join(map(str, _problems(error, node, model)))
        raise RegistryError(problems + suffix) from None


def _problems(error: ValidationError, node: Node, model: type[BaseModel]) -> list[Problem]:
    return sorted(messages.translate(error, node, "", model, max_errors=_MAX_PROBLEMS))


def _check_ids(content: RegistryFile, origin: str) -> None:
    """Raises RegistryError unless all ids are unique and each successor is another listed id."""
    known_ids: set[str] = set()
    for entry in (*content.entries, *content.features):
        if entry.id in known_ids:
            raise RegistryError(f"{origin}: {entry.id} is listed twice; give one another version")
        known_ids.add(entry.id)
    _check_successors(content.entries, origin, has_index=content.index is not None)
    _check_successors(content.features, origin, has_index=False)


def _check_successors(entries: Sequence[Entry], origin: str, *, has_index: bool) -> None:
    """Raises RegistryError unless each successor is another entry of the same kind."""
    listed = {entry.id for entry in entries}
    for entry in entries:
        if entry.successor == entry.id:
            raise RegistryError(f"{origin}: {entry.id} is its own successor; name another")
        if entry.successor and entry.successor not in listed and not has_index:
            raise RegistryError(
                f"{origin}: {entry.id} names the successor {entry.successor}, which is not listed"
            )

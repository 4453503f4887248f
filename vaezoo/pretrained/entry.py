"""The format of a registry file: for each set of weights, how to load, verify and reproduce it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vaezoo.pretrained.entry_types import (
    Count,
    Date,
    FileName,
    LongLine,
    OneLine,
    RelativePath,
    RequirementText,
    Sha256,
    Size,
    Source,
    WeightsId,
)
from vaezoo.spec import messages
from vaezoo.spec.tree import SPEC_LIMITS, Limits, Node, parse
from vaezoo.utils.errors import RegistryError, SpecError

FORMAT = "vaezoo/weights/v1"
LIMITS = Limits(256 * 1024, 10_000, "let vaezoo publish write an index", f"registry: {FORMAT}")
"""Chosen such that even a hostile file is parsed in less than a second."""
MAX_ENTRIES = 50
"""The largest number of entries in a registry file itself; more are listed in an index."""
INDEX_BYTES = 8 * 1024 * 1024
"""The largest size of an index."""
_MAX_PROBLEMS = 50


class StrictModel(BaseModel):
    """Fields of exactly the declared types, and no others."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid", frozen=True)


class File(StrictModel):
    """A file of an entry, with the sources to fetch it from in order of preference."""

    name: FileName
    sha256: Sha256
    size: Size
    sources: Annotated[list[Source], Field(min_length=1, max_length=20)]


class SpecSource(StrictModel):
    """The resolved spec: a file next to the registry, or ``inline``.

    The hash of an inline spec is that of the YAML text that ``dump`` returns for it.
    """

    path: RelativePath | None = None
    inline: dict[str, Any] | None = None
    sha256: Sha256
    size: Annotated[int, Field(ge=1, le=SPEC_LIMITS.bytes)]

    @model_validator(mode="after")
    def _check_path_or_inline(self) -> SpecSource:
        if (self.path is None) == (self.inline is None):
            raise ValueError("a mapping with either `path` or `inline`")
        return self

    @property
    def file(self) -> File:
        """The spec as a file."""
        return File(
            name="spec.yaml",
            sha256=self.sha256,
            size=self.size,
            sources=[self.path or "spec.yaml"],
        )


class TensorTable(StrictModel):
    """The number of tensors and of their elements, and a hash of names, dtypes and shapes."""

    count: Count
    parameters: Count
    sha256: Sha256


class Preprocessing(StrictModel):
    """The input and the output of the model."""

    data: Annotated[
        LongLine,
        Field(description="the data block of the spec, which defines how input is prepared"),
    ]
    shape: list[Count]
    support: Annotated[
        OneLine, Field(description="the values of the data, such as binary, unit, real or count")
    ]
    output: Annotated[OneLine, Field(description="the range of the model's output")]
    condition: Annotated[
        list[Count], Field(description="the shape of a condition that is not a class label")
    ] = []
    parts: Annotated[
        dict[OneLine, list[Count]],
        Field(description="the shape of each part of data of several parts"),
    ] = {}


class MeasuredMetric(StrictModel):
    """The value of one metric and everything needed to measure it again."""

    name: OneLine
    value: float
    error: Annotated[float | None, Field(description="standard error")] = None
    unit: OneLine
    data: OneLine
    split: Literal["train", "validation", "test"]
    examples: Count
    samples: Count | None = None
    seed: Count
    spec_sha256: Sha256
    note: Annotated[
        OneLine | None,
        Field(description="what a reader must know to take the value for what it is"),
    ] = None
    retracted: Annotated[
        OneLine | None,
        Field(description="why the value was wrong; it is no longer stated as true"),
    ] = None


class Training(StrictModel):
    """How the weights were trained."""

    command: OneLine
    commit: OneLine | None = None
    hardware: OneLine
    seconds: Annotated[float, Field(ge=0)]
    versions: OneLine


class Licence(StrictModel):
    """The licences of the weights and of their training data."""

    weights: OneLine
    data: OneLine


class WeightsEntry(StrictModel):
    """One set of weights in a registry. An id is never reused: a new version gets a new id.

    Its weights and its spec never change. Its status does, and a value that turns out to be wrong
    is marked as retracted.
    """

    id: WeightsId
    title: OneLine
    published: Date
    status: Literal["active", "deprecated", "revoked"] = "active"
    successor: WeightsId | None = None
    reason: OneLine | None = None
    spec: SpecSource
    requires: Annotated[list[RequirementText], Field(max_length=50)]
    files: Annotated[list[File], Field(min_length=1, max_length=20)]
    tensors: TensorTable
    preprocessing: Preprocessing
    classes: list[OneLine] = []
    metrics: list[MeasuredMetric]
    training: Training
    licence: Licence
    citation: OneLine

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

    @property
    def stated_metrics(self) -> list[MeasuredMetric]:
        """The metrics whose values are stated as true: those that were not retracted."""
        return [metric for metric in self.metrics if metric.retracted is None]

    @property
    def size(self) -> int:
        """The total size of all files, in bytes."""
        return sum(file.size for file in self.files)

    @model_validator(mode="after")
    def _check_consistency(self) -> WeightsEntry:
        if self.status == "deprecated" and not self.successor:
            raise ValueError("an entry with `successor`, because its status is deprecated")
        if self.status == "revoked" and not self.reason:
            raise ValueError("an entry with `reason`, because its status is revoked")
        if len({file.name for file in self.files}) < len(self.files):
            raise ValueError("an entry whose files have different names")
        return self


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
    """The content of a registry file: entries, and the index of more of them."""

    registry: Literal["vaezoo/weights/v1"]
    index: IndexFile | None = None
    entries: Annotated[list[WeightsEntry], Field(max_length=MAX_ENTRIES)]


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
    content = _parse(data, origin, RegistryFile)
    _check_ids(content, origin)
    return content


def parse_entry(data: bytes, origin: str) -> WeightsEntry:
    """Parses the file of one entry of an index; arguments and errors as ``parse_registry``."""
    return _parse(data, origin, _EntryFile).entry


def _parse(data: bytes, origin: str, model: type[_Content]) -> _Content:
    try:
        node = parse(data.decode("utf-8"), origin, LIMITS)
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


def _problems(error: ValidationError, node: Node, model: type[BaseModel]) -> list[Any]:
    return sorted(messages.translate(error, node, "", model, max_errors=_MAX_PROBLEMS))


def _check_ids(content: RegistryFile, origin: str) -> None:
    """Raises RegistryError unless all ids are unique and each successor is another listed id."""
    known_ids: set[str] = set()
    for weights in content.entries:
        if weights.id in known_ids:
            raise RegistryError(
                f"{origin}: {weights.id} is listed twice; give one another version"
            )
        known_ids.add(weights.id)
    for weights in content.entries:
        if weights.successor == weights.id:
            raise RegistryError(f"{origin}: {weights.id} is its own successor; name another")
        is_listed = weights.successor in known_ids or content.index is not None
        if weights.successor and not is_listed:
            raise RegistryError(
                f"{origin}: {weights.id} names the successor {weights.successor}, "
                "which is not listed"
            )

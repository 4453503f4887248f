"""What a registry file says of each set of weights: enough to load it, to check it, and to make it again."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from vaezoo.pretrained.names import fault, hub, split
from vaezoo.spec import messages
from vaezoo.spec.tree import SPEC, Limits, Node, parse
from vaezoo.utils.errors import RegistryError, SpecError

FORMAT = "vaezoo/weights/v1"
LIMITS = Limits(
    256 * 1024, 10_000, "split the registry in two", f"registry: {FORMAT}"
)  # what is parsed in less than a second
_MOST = 50
_WORDS = r"[a-z0-9]+(?:-[a-z0-9]+)*"
_ID = re.compile(rf"(?P<architecture>{_WORDS})/(?P<tag>{_WORDS})@(?P<version>[1-9][0-9]{{0,5}})")
_HTTPS = re.compile(r"https://[^/\s@]+/\S+")
_SIZE_LIMIT = 2**40


def _identity(text: str) -> str:
    if len(text) > 100 or not _ID.fullmatch(text):
        raise ValueError("an id such as cvae/mnist@1: architecture/tag@version in lower-case words")
    return text


def _path(text: str) -> str:
    if reason := fault(text):
        raise ValueError(f"a path below the registry file; {text!r} {reason}")
    return text


def _source(text: str) -> str:
    if "://" not in text:
        return _path(text)
    parts = split(text) if _HTTPS.fullmatch(text) else None
    if not (hub(text) or (parts and parts.hostname)):
        raise ValueError("a relative path, https://host/file, or hf://owner/repo@commit/file with a whole commit")
    return text


def _name(text: str) -> str:
    if "/" in text:
        raise ValueError("a file name without folders")
    return _path(text)


def _requirement(text: str) -> str:
    try:
        found = Requirement(text)
    except InvalidRequirement:
        raise ValueError("a package and its versions, such as vaezoo-cvae>=0.1") from None
    if found.url:
        raise ValueError("a package by name, not by address")
    try:
        _ = found.marker and found.marker.evaluate()
    except (UndefinedComparison, UndefinedEnvironmentName) as error:
        raise ValueError(f"a package whose condition makes sense: {error}") from None
    return text


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("one line of text without control characters")
    return text


def _day(text: str) -> str:
    date.fromisoformat(text)
    return text


Identity = Annotated[str, AfterValidator(_identity)]
Path = Annotated[str, AfterValidator(_path)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=2000), AfterValidator(_printable)]
Count = Annotated[int, Field(ge=0, le=_SIZE_LIMIT)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid", frozen=True)


class File(_Part):
    """A file of weights, and where it can be had, the first place first."""

    name: Annotated[str, AfterValidator(_name)]
    sha256: Sha256
    size: Annotated[int, Field(ge=1, le=_SIZE_LIMIT)]
    sources: Annotated[list[Annotated[str, AfterValidator(_source)]], Field(min_length=1, max_length=20)]


class SpecSource(_Part):
    """The resolved spec: a file beside the registry, or ``inline``, hashed as the YAML that vaezoo makes of it."""

    path: Path | None = None
    inline: dict[str, Any] | None = None
    sha256: Sha256
    size: Annotated[int, Field(ge=1, le=SPEC.bytes)]

    @model_validator(mode="after")
    def _one(self) -> SpecSource:
        if (self.path is None) == (self.inline is None):
            raise ValueError("either path or inline")
        return self

    @property
    def file(self) -> File:
        """The same as a file."""
        return File(name="spec.yaml", sha256=self.sha256, size=self.size, sources=[self.path or "spec.yaml"])


class TensorTable(_Part):
    """What the weights hold: how many tensors and numbers, and a hash of names, dtypes and shapes."""

    count: Count
    parameters: Count
    sha256: Sha256


class Preprocessing(_Part):
    """What the model takes and gives."""

    data: Annotated[str, Field(description="the data block of the spec, which says how input was prepared")]
    shape: list[Count]
    support: Literal["binary", "unit", "real", "one-hot"]
    output: Annotated[str, Field(description="the range of what the model gives")]
    condition: Annotated[list[Count], Field(description="the shape of a condition that is no class")] = []


class Measured(_Part):
    """One figure, with all that is needed to measure it again."""

    name: Text
    value: float
    error: Annotated[float | None, Field(description="standard error over examples")] = None
    unit: Text
    data: Text
    split: Literal["train", "validation", "test"]
    examples: Count
    samples: Count | None = None
    seed: Count
    spec_sha256: Sha256


class Training(_Part):
    """How the weights were made."""

    command: Text
    commit: Text | None = None
    hardware: Text
    seconds: Annotated[float, Field(ge=0)]
    versions: Text


class Licence(_Part):
    """Of the weights, and of the data that they were trained on."""

    weights: Text
    data: Text


class WeightsEntry(_Part):
    """One set of weights. An id never changes its meaning: another version gets another id."""

    id: Identity
    title: Text
    published: Annotated[str, AfterValidator(_day)]
    status: Literal["active", "deprecated", "revoked"] = "active"
    successor: Identity | None = None
    reason: Text | None = None
    spec: SpecSource
    requires: Annotated[list[Annotated[str, AfterValidator(_requirement)]], Field(max_length=50)]
    files: Annotated[list[File], Field(min_length=1, max_length=20)]
    tensors: TensorTable
    preprocessing: Preprocessing
    classes: list[Text] = []
    metrics: list[Measured]
    training: Training
    licence: Licence
    citation: Text

    @property
    def architecture(self) -> str:
        """The part of the id before the slash."""
        return self.id.partition("/")[0]

    @property
    def tag(self) -> str:
        """What it was trained on, say."""
        return self.id.partition("/")[2].partition("@")[0]

    @property
    def version(self) -> int:
        """The part of the id after the ``@``."""
        return int(self.id.partition("@")[2])

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @model_validator(mode="after")
    def _status(self) -> WeightsEntry:
        if self.status == "deprecated" and not self.successor:
            raise ValueError("a mapping with a successor, as every deprecated entry")
        if self.status == "revoked" and not self.reason:
            raise ValueError("a mapping with a reason, as every revoked entry")
        if len({file.name for file in self.files}) < len(self.files):
            raise ValueError("a mapping whose files have names of their own")
        return self


class _RegistryFile(_Part):
    registry: Literal["vaezoo/weights/v1"]
    entries: Annotated[list[WeightsEntry], Field(max_length=50)]


def entries(data: bytes, origin: str) -> tuple[WeightsEntry, ...]:
    """The entries of a registry file.

    Args:
        data: the bytes of the file.
        origin: where they come from, for messages.

    Raises:
        RegistryError: everything that is wrong with it, each with its line.
    """
    try:
        node = parse(data.decode("utf-8"), origin, LIMITS)
    except UnicodeDecodeError as error:
        raise RegistryError(f"{origin}: not UTF-8 text: byte {error.start}") from None
    except SpecError as error:
        raise RegistryError(str(error)) from None
    if not isinstance(node.value, dict):
        raise RegistryError(f"{origin}:1:1: a registry is a mapping that begins with 'registry: {FORMAT}'")
    try:
        found = tuple(_RegistryFile.model_validate(node.plain()).entries)
    except ValidationError as error:
        more = f"\n{origin}: and {error.error_count() - _MOST} more" if error.error_count() > _MOST else ""
        raise RegistryError("\n".join(map(str, _problems(error, node))) + more) from None
    _check_together(found, origin)
    return found


def _problems(error: ValidationError, node: Node) -> list[Any]:
    return sorted(messages.translate(error, node, "", ("registry", "entries"), _MOST))


def _check_together(found: tuple[WeightsEntry, ...], origin: str) -> None:
    known: set[str] = set()
    for entry in found:
        if entry.id in known:
            raise RegistryError(f"{origin}: {entry.id} is listed twice; give one another version")
        known.add(entry.id)
    for entry in found:
        if entry.successor == entry.id:
            raise RegistryError(f"{origin}: {entry.id} is its own successor; name another")
        if entry.successor and entry.successor not in known:
            raise RegistryError(f"{origin}: {entry.id} names the successor {entry.successor}, which is not listed")

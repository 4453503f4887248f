"""What an entry of a registry consists of: files, tensors, texts about training and licences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from vaezoo.pretrained.entry_types import (
    Count,
    FileName,
    LongLine,
    OneLine,
    RelativePath,
    RequirementText,
    Sha256,
    Size,
    Source,
)
from vaezoo.spec.tree import SPEC_LIMITS


class StrictModel(BaseModel):
    """Fields of exactly the declared types, and no others."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid", frozen=True)


class File(StrictModel):
    """A file of an entry, with the sources to fetch it from in order of preference."""

    name: FileName
    sha256: Sha256
    size: Size
    sources: Annotated[list[Source], Field(min_length=1, max_length=20)]


def _check_names(files: list[File]) -> list[File]:
    if len({file.name for file in files}) < len(files):
        raise ValueError("a list whose files have different names")
    return files


Files = Annotated[list[File], Field(min_length=1, max_length=20), AfterValidator(_check_names)]
Requirements = Annotated[list[RequirementText], Field(max_length=50)]


def total_size(files: Sequence[File]) -> int:
    """The size of some files together, in bytes."""
    return sum(file.size for file in files)


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


class FeaturesInput(StrictModel):
    """The examples that a feature extractor maps to features."""

    shape: list[Count]
    support: Annotated[
        OneLine, Field(description="the values of the examples, such as unit, binary or real")
    ]


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

"""The types of what is read back of ``evaluation.json``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from vaezoo.runs.file_types import STRICT, check_types

_Count = Annotated[int, Field(ge=0, lt=2**63)]


class _Row(BaseModel):
    """A number that was measured; keys that are not known are details, which are numbers."""

    model_config = STRICT
    __pydantic_extra__: dict[str, float | bool | None] = Field(init=False)
    value: float  # earlier versions wrote NaN
    standard_error: float | None
    examples: _Count
    unit: str
    note: str | None = None
    bound: str | None = None
    series: dict[str, Any] | None = None


class _Evaluation(BaseModel):
    """``evaluation.json``; earlier versions did not record what is not finite."""

    model_config = STRICT
    split: str
    seed: _Count = 0
    metrics: dict[str, _Row]
    undefined: dict[str, str]
    not_finite: dict[str, str] = {}


def check_evaluation(values: dict[str, Any]) -> dict[str, Any]:
    """The content of ``evaluation.json``, as it was read; ValueError if a type is wrong."""
    return check_types(_Evaluation, values)

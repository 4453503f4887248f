"""The types of the fields of a registry file. An error message reads "PATH: must be MESSAGE"."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement
from pydantic import AfterValidator, Field, StringConstraints

from vaezoo.pretrained.names import parse_hub_url, path_fault, split_url
from vaezoo.utils.requirements import parse_requirement

_WORDS = r"[a-z0-9]+(?:-[a-z0-9]+)*"
_ID = re.compile(rf"(?P<architecture>{_WORDS})/(?P<tag>{_WORDS})@(?P<version>[1-9][0-9]{{0,5}})")
_HTTPS = re.compile(r"https://[^/\s@]+/\S+")
_SIZE_LIMIT = 2**40


def is_id(text: str) -> bool:
    """Whether a text is ``architecture/tag@version``."""
    return len(text) <= 100 and _ID.fullmatch(text) is not None


def _check_id(text: str) -> str:
    if not is_id(text):
        raise ValueError(
            "an id such as cvae/mnist@1: architecture/tag@version in lower-case words"
        )
    return text


def _check_path(text: str) -> str:
    if reason := path_fault(text):
        raise ValueError(f"a path below the registry file; {text!r} {reason}")
    return text


def _check_source(text: str) -> str:
    if "://" not in text:
        return _check_path(text)
    parts = split_url(text) if _HTTPS.fullmatch(text) else None
    if not (parse_hub_url(text) or (parts and parts.hostname)):
        raise ValueError(
            "a relative path, https://host/file, or hf://owner/repo@commit/file with a full "
            "commit hash"
        )
    return text


def _check_file_name(text: str) -> str:
    if "/" in text:
        raise ValueError("a file name without folders")
    return _check_path(text)


def _check_requirement(text: str) -> str:
    try:
        requirement = parse_requirement(text)
    except InvalidRequirement:
        raise ValueError("a package and its versions, such as vaezoo-cvae>=0.1") from None
    except (UndefinedComparison, UndefinedEnvironmentName) as error:
        raise ValueError(f"a package with a valid environment marker: {error}") from None
    if requirement.url:
        raise ValueError("a package by name, not by URL")
    return text


def _check_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("one line of text without control characters")
    return text


def _check_date(text: str) -> str:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise ValueError("a date such as 2026-11-27") from None
    return text


WeightsId = Annotated[str, AfterValidator(_check_id)]
RelativePath = Annotated[str, AfterValidator(_check_path)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
OneLine = Annotated[
    str, StringConstraints(min_length=1, max_length=2000), AfterValidator(_check_line)
]
LongLine = Annotated[
    str, StringConstraints(min_length=1, max_length=50_000), AfterValidator(_check_line)
]
Count = Annotated[int, Field(ge=0, le=_SIZE_LIMIT)]
Size = Annotated[int, Field(ge=1, le=_SIZE_LIMIT)]
Date = Annotated[str, AfterValidator(_check_date)]
FileName = Annotated[str, AfterValidator(_check_file_name)]
Source = Annotated[str, AfterValidator(_check_source)]
RequirementText = Annotated[str, AfterValidator(_check_requirement)]

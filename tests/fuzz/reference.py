"""Another reader of documents, to which what vaezoo makes of them is compared."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import yaml

from tests.fuzz.guard import Fault


class _Core(yaml.SafeLoader):
    """PyYAML's reader with the plain scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers = {}


_TAG = "tag:yaml.org,2002:"
for _tag, _pattern in (
    ("null", r"~|null|Null|NULL|"),
    ("bool", r"true|True|TRUE|false|False|FALSE"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)"
              r"|\.(nan|NaN|NAN)"),
):  # fmt: skip
    _Core.add_implicit_resolver(f"{_TAG}{_tag}", re.compile(f"^(?:{_pattern})$"), None)


_MAX_DIGITS = 4000


def _integer(loader: _Core, node: yaml.ScalarNode) -> int | float:
    text = node.value
    if len(text) > _MAX_DIGITS:  # which Python refuses to read as an integer
        return -math.inf if text.startswith("-") else math.inf
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _number(loader: _Core, node: yaml.ScalarNode) -> float:
    text = node.value.lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


_Core.add_constructor(f"{_TAG}int", _integer)
_Core.add_constructor(f"{_TAG}float", _number)


def read_yaml(text: str) -> Any:
    """The plain value of a document."""
    return yaml.load(text, _Core)


def is_same(written: Any, kept: Any) -> bool:
    """Whether a scalar is equal to another in value and type; an integer may become a float."""
    if isinstance(written, int) and not isinstance(written, bool) and isinstance(kept, float):
        return float(written) == kept
    if type(written) is not type(kept):
        return False
    return written == kept or (
        isinstance(written, float) and math.isnan(written) and math.isnan(kept)
    )


def check_kept(
    written: Any,
    kept: Any,
    path: tuple[str | int, ...] = (),
    *,
    same: Callable[[Any, Any, tuple[str | int, ...]], bool] | None = None,
    may_lose: Callable[[tuple[str | int, ...]], bool] = lambda path: False,
) -> None:
    """Checks that what is written is kept; null stands for the default.

    Args:
        written: the tree of a document.
        kept: what was made of it.
        path: of both.
        same: whether two values, of which one is a scalar, are equal; by default ``is_same``.
        may_lose: whether what is written at a path need not be kept.

    Raises:
        Fault: it is not kept.
    """
    if written is None:
        return
    if isinstance(written, dict) and isinstance(kept, dict):
        for key, value in written.items():
            place = (*path, key)
            if key in kept:
                check_kept(value, kept[key], place, same=same, may_lose=may_lose)
            elif value is not None and not may_lose(place):
                raise Fault(f"{_dotted(place)}: {value!r:.80} is written, but nothing is kept")
    elif isinstance(written, list) and isinstance(kept, list) and len(written) == len(kept):
        for index, (first, second) in enumerate(zip(written, kept, strict=True)):
            check_kept(first, second, (*path, index), same=same, may_lose=may_lose)
    elif isinstance(written, dict | list) or not (
        is_same(written, kept) if same is None else same(written, kept, path)
    ):
        raise Fault(f"{_dotted(path)}: {written!r:.80} is written, {kept!r:.80} is kept")


def _dotted(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, path))

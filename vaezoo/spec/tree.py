"""Strict YAML 1.2 to a tree of nodes that know their file, line and column.

Plain scalars follow the core schema: ``1e-3`` is a float and ``no`` a string. Duplicate keys, anchors, aliases,
tags, multiple documents and non-string keys are refused; size and depth are capped.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from vaezoo.errors import Problem, SpecError

MAX_BYTES = 64 * 1024
MAX_DEPTH = 24

Scalar: TypeAlias = None | bool | int | float | str

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_BASED = re.compile(r"0(o[0-7]{1,20}|x[0-9a-fA-F]{1,16})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INF = re.compile(r"([-+]?)\.(inf|Inf|INF)")
_NAN = frozenset({".nan", ".NaN", ".NAN"})


@dataclass(frozen=True)
class Mark:
    """A place in a file, counted from 1."""

    file: str
    line: int
    column: int

    def problem(self, path: str, message: str) -> Problem:
        """A fault at this place."""
        return Problem(self.file, self.line, self.column, path, message)


@dataclass(frozen=True)
class Node:
    """A scalar, a list of nodes, or a mapping of names to nodes.

    Attributes:
        value: the scalar, ``list[Node]`` or ``dict[str, Node]``.
        mark: where the value begins.
        keys: where each key of a mapping begins.
    """

    value: Any
    mark: Mark
    keys: dict[str, Mark]

    def plain(self) -> Any:
        """The value without positions."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def locate(self, path: tuple[str | int, ...]) -> Mark:
        """Where ``path`` is, or the nearest node above it."""
        node, mark = self, self.mark
        for step in path:
            if isinstance(node.value, dict) and step in node.value:
                mark, node = node.keys[str(step)], node.value[step]
            elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                mark = node.mark
            else:
                break
        return mark


def parse(text: str, file: str) -> Node:
    """Parses one YAML document.

    Raises:
        SpecError: it is not valid, too large or too deep.
    """
    start = Mark(file, 1, 1)
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise SpecError([start.problem("", f"larger than {MAX_BYTES // 1024} KiB; a spec is a page or two")])
    try:
        return _Builder(text, file).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = Mark(file, mark.line + 1, mark.column + 1) if mark else start
        raise SpecError([at.problem("", f"not valid YAML: {error.problem or error.context}")]) from None
    except (yaml.YAMLError, UnicodeError, ValueError) as error:
        raise SpecError([start.problem("", f"not valid YAML: {' '.join(str(error).split())}")]) from None


class _Builder:
    """Builds nodes from parser events, which arrive one by one, so that caps stop hostile input early."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.events = yaml.parse(text, Loader=yaml.SafeLoader)

    def document(self) -> Node:
        next(self.events)  # stream start
        event = next(self.events)
        if isinstance(event, yaml.StreamEndEvent):
            raise SpecError([Mark(self.file, 1, 1).problem("", "empty; a spec begins with 'spec: vaezoo/v1'")])
        node = self.node(next(self.events), 0)
        next(self.events)  # document end
        event = next(self.events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise SpecError([self.mark(event).problem("", "more than one document; keep one spec per file")])
        return node

    def mark(self, event: Any) -> Mark:
        return Mark(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def refuse(self, event: Any, message: str) -> SpecError:
        return SpecError([self.mark(event).problem("", message)])

    def node(self, event: Any, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            raise self.refuse(event, f"alias *{event.anchor} is not allowed; write the value out, or use vars")
        if event.anchor:
            raise self.refuse(event, f"anchor &{event.anchor} is not allowed; write the value out, or use vars")
        if event.tag:
            raise self.refuse(event, f"tag {event.tag} is not allowed")
        if depth > MAX_DEPTH:
            raise self.refuse(event, f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(event, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(item := next(self.events), yaml.SequenceEndEvent):
                items.append(self.node(item, depth + 1))
            return Node(items, self.mark(event), {})
        value = resolve_scalar(event.value) if event.style is None else event.value
        return Node(value, self.mark(event), {})

    def mapping(self, event: Any, depth: int) -> Node:
        values: dict[str, Node] = {}
        keys: dict[str, Mark] = {}
        while not isinstance(key := next(self.events), yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent) or key.anchor or key.tag:
                raise self.refuse(key, "a key must be a plain word")
            if key.value in keys:
                raise self.refuse(key, f"key {key.value!r} is given twice (first in line {keys[key.value].line})")
            keys[key.value] = self.mark(key)
            values[key.value] = self.node(next(self.events), depth + 1)
        return Node(values, self.mark(event), keys)


def resolve_scalar(text: str) -> Scalar:
    """A plain scalar by YAML 1.2's core schema."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if match := _INF.fullmatch(text):
        return -math.inf if match[1] == "-" else math.inf
    return math.nan if text in _NAN else text

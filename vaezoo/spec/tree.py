"""Parses strict YAML 1.2 into a tree of nodes that store their file, line and column.

Plain scalars follow YAML's core schema: ``1e-3`` is a float and ``no`` a string. Duplicate keys,
anchors, aliases, tags, multiple documents and non-string keys are errors; size and depth are
limited.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from vaezoo.utils.errors import Problem, SpecError

MAX_DEPTH = 24


@dataclass(frozen=True)
class Limits:
    """The size limits of a document, and texts for error messages about it.

    Attributes:
        bytes: the largest size of the file.
        nodes: the largest number of keys and values.
        advice: what to do with a document that is too large.
        first_line: how a valid document begins.
    """

    bytes: int
    nodes: int
    advice: str
    first_line: str


SPEC_LIMITS = Limits(64 * 1024, 4000, "shorten the spec", "spec: vaezoo/v2")

Scalar: TypeAlias = bool | int | float | str | None

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]{1,40}")
_HEX_OR_OCTAL = re.compile(r"0(o[0-7]{1,20}|x[0-9a-fA-F]{1,16})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INF = re.compile(r"([-+]?)\.(inf|Inf|INF)")
_SURROGATE = re.compile("[\ud800-\udfff]")
_END_OF_INTEGERS = 2**63
"""The integers of torch, numpy and operating systems are smaller."""
_NAN = frozenset({".nan", ".NaN", ".NAN"})


@dataclass(frozen=True)
class Mark:
    """A position in a file; lines and columns are counted from 1."""

    file: str
    line: int
    column: int

    def problem(self, path: str, message: str) -> Problem:
        """A problem at this position."""
        return Problem(self.file, self.line, self.column, path=path, message=message)


@dataclass(frozen=True)
class Node:
    """A scalar, a list of nodes, or a mapping of names to nodes.

    Attributes:
        value: the scalar, ``list[Node]`` or ``dict[str, Node]``.
        mark: the position where the value begins.
        keys: for a mapping, the position where each key begins.
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

    def get_at(self, steps: Sequence[str]) -> Node | None:
        """The node that keys and indices lead to; None if there is none."""
        node: Node | None = self
        for step in steps:
            value = None if node is None else node.value
            if isinstance(value, list):
                node = value[int(step)] if step.isdecimal() and int(step) < len(value) else None
            else:
                node = value.get(step) if isinstance(value, dict) else None
        return node

    def find(self, path: tuple[str | int, ...]) -> Node:
        """The node at ``path``, which must exist."""
        node = self
        for step in path:
            node = node.value[step]
        return node

    def locate(self, path: tuple[str | int, ...]) -> Mark:
        """The position of ``path``, or of its nearest existing parent."""
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


def path_steps(path: str) -> tuple[str | int, ...]:
    """A path such as ``stages.1.name`` as keys and indices."""
    return tuple(int(step) if step.isdecimal() else step for step in path.split("."))


def parse(text: str, file: str, limits: Limits = SPEC_LIMITS) -> Node:
    """Parses one YAML document.

    Raises:
        SpecError: the document is not valid, too large or too deeply nested.
    """
    start = Mark(file, 1, 1)
    if len(text.encode("utf-8", "surrogatepass")) > limits.bytes:
        raise SpecError(
            [start.problem("", f"larger than {limits.bytes // 1024} KiB; {limits.advice}")]
        )
    try:
        loader = yaml.SafeLoader(text)
    except yaml.reader.ReaderError as error:
        code_point = f"U+{ord(text[error.position]):04X}"
        message = f"not valid YAML: character {code_point} is not allowed; remove it"
        raise SpecError([mark_after(file, text[: error.position]).problem("", message)]) from None
    try:
        return _Builder(loader, file, limits).document()
    except yaml.MarkedYAMLError as error:
        raise SpecError([_yaml_problem(error, start)]) from None
    except (ValueError, OverflowError):  # PyYAML does not check numbers in escapes and directives
        mark = loader.get_mark()
        at = Mark(file, mark.line + 1, mark.column + 1)
        raise SpecError([at.problem("", "not valid YAML: this number is out of range")]) from None


def is_within(text: str, limits: Limits) -> bool:
    """Whether a document of valid YAML has at most the bytes and the nodes that limits allow."""
    if len(text.encode()) > limits.bytes:
        return False
    events = yaml.parse(text, yaml.SafeLoader)
    return sum(isinstance(event, yaml.NodeEvent) for event in events) <= limits.nodes


def mark_after(file: str, text: str) -> Mark:
    """The position right after ``text``, the beginning of a file."""
    return Mark(file, text.count("\n") + 1, len(text) - text.rfind("\n"))


_HINTS = {
    "found character '\\t'": "indent with spaces, not with tabs",
    "found character": "put a value that begins with it in quotes",
    "found unexpected end of stream": "close the quote",
    "found unknown escape": "use single quotes, in which a backslash is plain text",
    "mapping values are not allowed here": "put text that contains ': ' in quotes, "
    "and a nested key on its own line",
    "could not find expected ':'": "each line is 'key: value'",
    "expected <block end>": "align it with the lines above",
    "expected ',' or": "close the bracket",
    "expected the node content": "close the bracket, or give a value",
}


def _yaml_problem(error: yaml.MarkedYAMLError, start: Mark) -> Problem:
    """PyYAML's error with a hint; an unclosed quote or bracket is reported where it begins."""
    description = str(error.problem or error.context)
    mark = error.problem_mark or error.context_mark
    if "end of stream" in description or "stream end" in description:
        mark = error.context_mark or mark
    at = Mark(start.file, mark.line + 1, mark.column + 1) if mark else start
    hint = next(
        (f"; {advice}" for prefix, advice in _HINTS.items() if description.startswith(prefix)), ""
    )
    return at.problem("", f"not valid YAML: {description}{hint}")


class _Builder:
    """Builds nodes from parser events one by one, so that a hostile document is refused early."""

    def __init__(self, loader: yaml.SafeLoader, file: str, limits: Limits) -> None:
        self.file, self.limits = file, limits
        self.next: Callable[[], Any] = loader.get_event
        self.count = 0

    def document(self) -> Node:
        """The root node of the only document."""
        self.next()  # stream start
        event = self.next()
        if isinstance(event, yaml.StreamEndEvent):
            raise SpecError(
                [
                    Mark(self.file, 1, 1).problem(
                        "", f"empty; it must begin with '{self.limits.first_line}'"
                    )
                ]
            )
        node = self.node(self.next(), 0)
        self.next()  # document end
        event = self.next()
        if not isinstance(event, yaml.StreamEndEvent):
            raise self.error(event, "more than one document; keep one spec per file")
        return node

    def mark(self, event: Any) -> Mark:
        return Mark(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def error(self, event: Any, message: str) -> SpecError:
        return SpecError([self.mark(event).problem("", message)])

    def check(self, event: Any, depth: int) -> None:
        """Checks that an event is plain data and within the limits.

        Raises:
            SpecError: it is not.
        """
        if isinstance(event, yaml.AliasEvent):
            raise self.error(
                event, f"alias *{event.anchor} is not allowed; write the value out, or use vars"
            )
        if event.anchor:
            raise self.error(
                event, f"anchor &{event.anchor} is not allowed; write the value out, or use vars"
            )
        if event.tag:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            raise self.error(event, f"tag {tag} is not allowed; remove it")
        if depth > MAX_DEPTH:
            raise self.error(event, f"nested deeper than {MAX_DEPTH} levels; use fewer")
        self.count += 1
        if self.count > self.limits.nodes:
            raise self.error(
                event, f"more than {self.limits.nodes} keys and values; {self.limits.advice}"
            )
        if isinstance(event, yaml.ScalarEvent) and _SURROGATE.search(event.value):
            raise self.error(
                event, "half of a surrogate pair is not a character; write the character itself"
            )

    def node(self, event: Any, depth: int) -> Node:
        """The node that begins with this event."""
        self.check(event, depth)
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(event, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(item := self.next(), yaml.SequenceEndEvent):
                items.append(self.node(item, depth + 1))
            return Node(items, self.mark(event), {})
        value = resolve_scalar(event.value) if event.style is None else event.value
        if isinstance(value, int) and not -_END_OF_INTEGERS <= value < _END_OF_INTEGERS:
            raise self.error(
                event, f"{event.value} is not a 64-bit integer, at most {_END_OF_INTEGERS - 1}"
            )
        return Node(value, self.mark(event), {})

    def mapping(self, event: Any, depth: int) -> Node:
        values: dict[str, Node] = {}
        keys: dict[str, Mark] = {}
        while not isinstance(key_event := self.next(), yaml.MappingEndEvent):
            key = self.key(key_event, depth)
            if key in keys:
                raise self.error(
                    key_event,
                    f"key {key!r} occurs twice (first in line {keys[key].line}); remove one",
                )
            keys[key] = self.mark(key_event)
            values[key] = self.node(self.next(), depth + 1)
        return Node(values, self.mark(event), keys)

    def key(self, event: Any, depth: int) -> str:
        """The key of a mapping, which must be text."""
        self.check(event, depth + 1)
        if not isinstance(event, yaml.ScalarEvent):
            raise self.error(event, "a key must be a plain word, not a list or a mapping")
        key = str(event.value)
        if event.style is None and not isinstance(resolve_scalar(key), str):
            raise self.error(
                event, f"a key must be text, not {key or 'nothing'}; put it in quotes"
            )
        if not key.strip() or not key.isprintable():
            raise self.error(event, f"a key must be a plain word, not {key!r}")
        return key


def resolve_scalar(text: str) -> Scalar:
    """The value of a plain (unquoted) scalar according to YAML 1.2's core schema."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text)
    if _HEX_OR_OCTAL.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if match := _INF.fullmatch(text):
        return -math.inf if match[1] == "-" else math.inf
    return math.nan if text in _NAN else text

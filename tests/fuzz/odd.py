"""Changes of documents that know their tree: odd values, keys and structures, in YAML or JSON."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

Path: TypeAlias = tuple[str | int, ...]


class Raw(str):
    """Text that is written as it is, in place of a value."""


class Pairs(list):
    """The pairs of a mapping in which keys may occur twice."""


NUMBERS = (
    0, -1, 1, 3, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**30,
    10**400, Raw("9" * 5000), math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324, 0.0, -0.0,
    0.5, 1.5, Raw("1e999"), Raw("-1e999"), Raw("1" + "0" * 400 + ".5"),
)  # fmt: skip
TEXTS = (
    "", " ", "x", "x" * 3000, "x" * 70_000, "a" * 300, "\n", "a\nb", "\t", "\0", "\x1b[31m",
    "\x7f", "\x9b2J", "\u202eabc", "\u2066", "\ufeff", "\u2028", "\ud800", "é", "\U0001f600",
    "\uffff", "null", "true", "no", "1", "1e5", ".nan", "$x$", "${vars.x}", "${", "%s", "{}", "-x",
    "*", "a.b", "a:b", "a=b", "vaezoo:mlp", "auto", "2001-01-01", "0" * 64, "vaezoo>=99",
    "no-such-package>=1",
)  # fmt: skip
PATHS = (
    "/etc/passwd", "/dev/zero", "/dev/null", "/dev/stdin", "/proc/self/mem", "/", ".", "..", "~",
    "~nosuchuser/x", "../../etc/passwd", "a/../../b", "./a", "a//b", "C:\\x", "a\\..\\b", "\0/x",
    "file:///etc/passwd", "http://localhost:1/x", "https://localhost:1/x", "https://[::1/x",
    "https://localhost:99999/x", f"hf://a/b@{'0' * 40}/c", "hf://a",
    f"hf://a/b--c@{'0' * 40}/d", f"hf://-a/b.git@{'0' * 40}/c", "/" + "x/" * 3000,
)  # fmt: skip
STRUCTURES: tuple[Any, ...] = (
    None, True, False, [], {}, [[]], [None], [{}], {"type": "x"}, {"type": None}, {"": 1},
    {"a": {"b": 1}}, {"type": ["mlp"]}, [0] * 200, [1, "1"], {str(i): i for i in range(300)},
    {"x\ny": 1}, {"\ud800": 1}, {"\u202e": 1}, {"x" * 3000: 1}, {"__class__": 1, "__init__": 2},
    Raw("[" * 1000 + "]" * 1000), Raw('{"a":' * 1000 + "1" + "}" * 1000), Raw("[" * 1000),
    Raw("[" * 20 + "]" * 20), Raw('{"a":1,"a":2}'),
)  # fmt: skip
IN_YAML = tuple(map(Raw, (
    "&a [*a]", "*a", "!!python/object/apply:os.system [x]", "!x y", "!!binary aGk=", "!!int '3'",
    "2001-01-01", "0x1F", "0o17", "010", "0b1", "1_000", "1:30", "yes", "off", "<<", "=", ".5",
    "+1", "1.", "1e5", "1.e+5", "~", "", ".NAN", "+.inf", "| \n x", "'a\n  b'", '"\\ud800"',
    '"\\U00110000"', '"\\x9b"', "{a, b}", "[a: b]", "? a", "{<<: {a: 1}}", "NaN",
    "Infinity", "TRUE", "Null", "@a",
)))  # fmt: skip
IN_JSON = tuple(map(Raw, (
    "NaN", "Infinity", "-Infinity", "1E400", "-0", "01", "0x1F", "'a'", '"\\ud800"',
    '"\\ud83d\\ude00"', '"\\u0000"', "True", "None", "undefined", "[1,]", "{a:1}", "//x",
    "", '"\n"',
)))  # fmt: skip


def odd_value(rng: np.random.Generator, more: Sequence[Any] = ()) -> Any:
    """An odd value; in one case of four one of ``more``."""
    pools = [NUMBERS, (*TEXTS, *PATHS), STRUCTURES, more or NUMBERS]
    return pick(rng, pools[rng.integers(len(pools))])


def near_value(value: Any, rng: np.random.Generator, more: Sequence[Any] = ()) -> Any:
    """A value of the same type that may be as good, with which a document may be read."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return pick(rng, (1, 2, 4, value + 1))
    if isinstance(value, float):
        return pick(rng, (0.1, 0.5, 1, 2.0, value / 2))
    if isinstance(value, str):
        return pick(rng, more or ("x", value + "x"))
    return value[:-1] if isinstance(value, list) else {}


def pick(rng: np.random.Generator, values: Sequence[Any]) -> Any:
    """One of some values."""
    return copy.deepcopy(values[rng.integers(len(values))])


def paths_of(tree: Any, path: Path = ()) -> list[Path]:
    """The paths of all values below the root of a tree."""
    if isinstance(tree, dict):
        items: list[tuple[str | int, Any]] = list(tree.items())
    else:
        items = list(enumerate(tree)) if isinstance(tree, list) else []
    found: list[Path] = []
    for key, value in items:
        found += [(*path, key), *paths_of(value, (*path, key))]
    return found


def get(tree: Any, path: Path) -> Any:
    """The value at a path."""
    for step in path:
        tree = tree[step]
    return tree


def _replace(tree: Any, path: Path, value: Any) -> Any:
    parent = get(tree, path[:-1])
    parent[path[-1]] = value
    return tree


def _rename(tree: Any, path: Path, new: str, *, keep: bool) -> Any:
    """Gives the key at a path another name; with ``keep`` beside the old one."""
    parent = get(tree, path[:-1])
    pairs = []
    for key, value in parent.items():
        if key != path[-1]:
            pairs.append((key, value))
            continue
        pairs += [(key, value)] * keep + [(new, copy.deepcopy(value))]
    pairs = Pairs(pairs)
    return _replace(tree, path[:-1], pairs) if len(path) > 1 else pairs


def change_tree(
    tree: Any, rng: np.random.Generator, values: Sequence[Any] = (), keys: Sequence[str] = ()
) -> Any:
    """A copy of a tree with one odd change.

    Args:
        tree: mappings, lists and scalars.
        rng: decides on the change.
        values: odd values that the kind of document has beside those that all have.
        keys: keys that mean something in the kind of document, of other places.
    """
    tree = copy.deepcopy(tree)
    paths = paths_of(tree)
    leaves = [path for path in paths if not isinstance(get(tree, path), dict | list)]
    path = pick(rng, leaves if leaves and rng.random() < 0.6 else paths)
    is_key = isinstance(path[-1], str)
    way = rng.random()
    if way < 0.3:
        return _replace(tree, path, near_value(get(tree, path), rng, values))
    if way < 0.6:
        return _replace(tree, path, odd_value(rng, values))
    if way < 0.68:
        del get(tree, path[:-1])[path[-1]]
        return tree
    if way < 0.75:
        return _replace(tree, path, copy.deepcopy(get(tree, pick(rng, paths))))
    if way < 0.82:
        inner = get(tree, path)
        return _replace(tree, path, pick(rng, ([inner], {"type": inner}, [inner, inner], inner)))
    if not is_key:
        parent = get(tree, path[:-1])
        parent.insert(int(rng.integers(len(parent) + 1)), odd_value(rng, values))
        return tree
    if way < 0.9:
        same = path[-1] if rng.random() < 0.5 else pick(rng, TEXTS)
        return _rename(tree, path, same, keep=True)
    return _rename(tree, path, pick(rng, keys or TEXTS), keep=rng.random() < 0.5)


def write(value: Any, *, yaml: bool) -> str:
    """The text of a tree on one line, in YAML or JSON."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        value = Pairs(value.items())
    if isinstance(value, Pairs):
        pairs = (f"{_text(key, yaml)}: {write(item, yaml=yaml)}" for key, item in value)
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(write(item, yaml=yaml) for item in value) + "]"
    if isinstance(value, str):
        return _text(value, yaml)
    if yaml and isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else (".inf" if value > 0 else "-.inf")
    if yaml and isinstance(value, float):
        return repr(value) if "." in repr(value) else repr(value).replace("e", ".0e")
    return json.dumps(value)


def _text(text: str, yaml: bool) -> str:
    """A text in double quotes; what is not printable is escaped."""
    escaped = []
    for character in text:
        code = ord(character)
        if character in '"\\':
            escaped.append("\\" + character)
        elif character.isprintable():
            escaped.append(character)
        elif code < 0x10000:
            escaped.append(f"\\u{code:04x}")
        else:
            escaped.append(f"\\U{code:08x}" if yaml else json.dumps(character)[1:-1])
    return '"' + "".join(escaped) + '"'

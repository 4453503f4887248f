"""Pydantic's errors in vaezoo's words, each at its place in the file."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ValidationError

from vaezoo.spec.tree import Node
from vaezoo.utils.errors import Problem, did_you_mean

_COMPONENT = "a component (its name, or a mapping with `type`)"
_WANTED = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "sequence_type": "a list",
    "sequence_str": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "none_required": "empty",
    "dataclass_exact_type": _COMPONENT,
    "dataclass_type": _COMPONENT,
}


def translate(
    error: ValidationError, node: Node, path: str, known: tuple[str, ...], most: int | None = None
) -> list[Problem]:
    """One problem for each faulty place, or for the first so many; the alternatives of a union are joined."""
    places: dict[tuple[str | int, ...], list[dict[str, Any]]] = {}
    for item in error.errors(include_url=False)[:most]:
        places.setdefault(_place(item, node), []).append(dict(item))
    problems = []
    for place, items in places.items():
        where = ".".join(str(step) for step in (path, *place) if step != "")
        about_key = items[0]["type"] in ("missing", "extra_forbidden")
        mark = node.locate(place) if about_key else node.find(place).mark
        problems.append(mark.problem(where, _message(items, place, known)))
    return problems


def _place(item: Any, node: Node) -> tuple[str | int, ...]:
    """The part of pydantic's location that is in the file: it also names branches of a union."""
    place: list[str | int] = []
    value = node.value
    for step in item["loc"]:
        inside = (isinstance(value, dict) and step in value) or (
            isinstance(value, list) and isinstance(step, int) and step < len(value)
        )
        if not inside:
            if item["type"] == "missing":
                place.append(step)
            break
        place.append(step)
        value = value[step].value
    return tuple(place)


def _message(items: list[dict[str, Any]], place: tuple[str | int, ...], known: tuple[str, ...]) -> str:
    wanted: list[str] = []
    for item in items:
        kind, context = item["type"], item.get("ctx", {})
        if kind == "missing":
            return "is required"
        if kind == "extra_forbidden":
            siblings = known if len(place) == 1 else _siblings(item, known)
            return f"unknown key{did_you_mean(str(place[-1]), siblings) or '; there are no options here'}"
        wanted.append(_wanted(kind, context, item))
    given = items[0].get("input")
    choices = [word for item in items if item["type"] == "literal_error" for word in _words(item["ctx"]["expected"])]
    hint = did_you_mean(given, choices) if isinstance(given, str) else ""
    near = hint if len(choices) > 1 and hint.startswith("; did you mean") else ""  # the message has the choices
    return f"must be {' or '.join(dict.fromkeys(wanted))}, not {shown(given)}{near}"


def _siblings(item: dict[str, Any], known: tuple[str, ...]) -> tuple[str, ...]:
    from vaezoo.spec.schema import ModelSpec, TrainSpec

    models: dict[str, type[BaseModel]] = {"model": ModelSpec, "train": TrainSpec}
    model = models.get(str(item["loc"][0]))
    return tuple(model.model_fields) if model else known


def _words(expected: str) -> list[str]:
    """The choices that are text, out of pydantic's ``'a', 'b' or 'c'``."""
    return re.findall(r"'([^']*)'", expected)


_BOUNDS = {"greater_than": ("gt", ">"), "greater_than_equal": ("ge", ">="), "less_than": ("lt", "<")}
_BOUNDS["less_than_equal"] = ("le", "<=")


def _wanted(kind: str, context: dict[str, Any], item: dict[str, Any]) -> str:
    if kind in _WANTED:
        return _WANTED[kind]
    if kind in _BOUNDS:
        key, sign = _BOUNDS[kind]
        return f"{sign} {context[key]}"
    if kind == "is_instance_of":  # how pydantic checks the abstract collections
        return "a list" if context["class"] == "Sequence" else f"a {context['class']}"
    if kind == "literal_error":
        return str(context["expected"])
    if kind == "too_short":
        return f"a list of {context['min_length']} or more"
    if kind == "too_long":
        return f"a list of {context['max_length']} or fewer"
    if kind == "string_pattern_mismatch":
        from vaezoo.spec.schema import PATTERNS

        return PATTERNS.get(context["pattern"], f"text that matches {context['pattern']}")
    return str(item["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")


def shown(value: Any) -> str:
    """A value as a message quotes it, in the spelling of YAML and never long."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

"""Pydantic's errors in vaezoo's words, each at its place in the file."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from vaezoo.errors import Problem, did_you_mean
from vaezoo.spec.tree import Node

_WANTED = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "sequence_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "none_required": "empty",
    "is_instance_of": "a component: a name, or a mapping with `type`",
}


def translate(error: ValidationError, node: Node, path: str, known: tuple[str, ...]) -> list[Problem]:
    """One problem for each faulty place; the alternatives of a union are joined."""
    places: dict[tuple[str | int, ...], list[dict[str, Any]]] = {}
    for item in error.errors(include_url=False):
        places.setdefault(_place(item, node), []).append(dict(item))
    problems = []
    for place, items in places.items():
        where = ".".join(str(step) for step in (path, *place) if step != "")
        problems.append(node.locate(place).problem(where, _message(items, place, node, known)))
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


def _message(items: list[dict[str, Any]], place: tuple[str | int, ...], node: Node, known: tuple[str, ...]) -> str:
    wanted: list[str] = []
    for item in items:
        kind, context = item["type"], item.get("ctx", {})
        if kind == "missing":
            return "is required"
        if kind == "extra_forbidden":
            siblings = known if len(place) == 1 else _siblings(item, known)
            return f"unknown key{did_you_mean(str(place[-1]), siblings)}"
        wanted.append(_wanted(kind, context, item))
    given = _shown(items[0].get("input"))
    message = f"must be {' or '.join(dict.fromkeys(wanted))}, not {given}"
    choices = [word for item in items if item["type"] == "literal_error" for word in _words(item["ctx"]["expected"])]
    return message + (did_you_mean(str(items[0]["input"]), choices) if len(choices) > 4 else "")


def _siblings(item: dict[str, Any], known: tuple[str, ...]) -> tuple[str, ...]:
    from vaezoo.spec.schema import ModelSpec, TrainSpec

    models = {"model": ModelSpec, "train": TrainSpec}
    model = models.get(str(item["loc"][0]))
    return tuple(model.model_fields) if model else known


def _words(expected: str) -> list[str]:
    return [word.strip(" '\"") for word in expected.replace(" or ", ",").split(",")]


def _wanted(kind: str, context: dict[str, Any], item: dict[str, Any]) -> str:
    if kind in _WANTED:
        return _WANTED[kind]
    bounds = {"greater_than": ("gt", ">"), "greater_than_equal": ("ge", ">="), "less_than": ("lt", "<")}
    bounds["less_than_equal"] = ("le", "<=")
    if kind in bounds:
        key, sign = bounds[kind]
        return f"{sign} {context[key]}"
    if kind == "literal_error":
        return str(context["expected"])
    if kind == "too_short":
        return f"a list of at least {context['min_length']}"
    if kind == "string_pattern_mismatch":
        return f"text that matches {context['pattern']}"
    return str(item["msg"]).lower()


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list" if len(value) > 4 else repr(value)
    text = "nothing" if value is None else {True: "true", False: "false"}.get(value, repr(value)) \
        if isinstance(value, bool) else repr(value) if value is not None else "nothing"
    return text if len(text) <= 60 else text[:57] + "..."

"""The wording of spec errors: translates pydantic's errors and adds their position in the file."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ValidationError

from vaezoo.spec.tree import Node
from vaezoo.utils.errors import Problem, close_match, did_you_mean

_COMPONENT = "a component (its name, or a mapping with `type`)"
_EXPECTED = {
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
"""For each of pydantic's error types, the value that was expected."""
_COMPARISONS = {
    "greater_than": ("gt", ">"),
    "greater_than_equal": ("ge", ">="),
    "less_than": ("lt", "<"),
    "less_than_equal": ("le", "<="),
}
"""For each of pydantic's error types about a limit, the key of the limit and the operator."""


def translate(
    error: ValidationError,
    node: Node,
    path: str,
    model: type[BaseModel],
    *,
    extra_keys: tuple[str, ...] = (),
    max_errors: int | None = None,
) -> list[Problem]:
    """One problem for each location in the file that pydantic reports.

    Pydantic reports each alternative of a union separately; they are combined into one message.

    Args:
        error: pydantic's error about the plain value of ``node``.
        node: the node that was validated.
        path: the path of ``node`` in the file.
        model: that of ``node``, for hints about misspelled keys.
        extra_keys: further keys that ``node`` may have.
        max_errors: how many of pydantic's errors to translate; None for all.
    """
    errors_by_location: dict[tuple[str | int, ...], list[dict[str, Any]]] = {}
    for item in error.errors(include_url=False)[:max_errors]:
        errors_by_location.setdefault(_location(item, node), []).append(dict(item))
    problems = []
    for location, items in errors_by_location.items():
        full_path = ".".join(str(step) for step in (path, *location) if step != "")
        concerns_key = items[0]["type"] in ("missing", "extra_forbidden")
        mark = node.locate(location) if concerns_key else node.find(location).mark
        message = _message(items, location, model, extra_keys)
        problems.append(mark.problem(full_path, message))
    return problems


def first_fault(error: ValidationError, model: type[BaseModel]) -> tuple[str, str]:
    """Where the first fault of a value is that stands in no file, and what is wrong with it."""
    item = error.errors(include_url=False)[0]
    if item["type"] == "json_invalid":
        return "", item["msg"]
    message = _message([dict(item)], item["loc"] or ("",), model, ())
    return ".".join(map(str, item["loc"])), message


def _location(item: Any, node: Node) -> tuple[str | int, ...]:
    """The part of pydantic's location that exists in the file, without branches of unions."""
    location: list[str | int] = []
    value = node.value
    for step in item["loc"]:
        exists = (isinstance(value, dict) and step in value) or (
            isinstance(value, list) and isinstance(step, int) and step < len(value)
        )
        if not exists:
            if item["type"] == "missing":
                location.append(step)
            break
        location.append(step)
        value = value[step].value
    return tuple(location)


def _message(
    items: list[dict[str, Any]],
    location: tuple[str | int, ...],
    model: type[BaseModel],
    extra_keys: tuple[str, ...],
) -> str:
    """The message for all errors at one location in a block that a model describes."""
    expected: list[str] = []
    for item in items:
        error_type, context = item["type"], item.get("ctx", {})
        if error_type == "missing":
            return "is required"
        if error_type == "extra_forbidden":
            known = _keys_beside(location, model) + (extra_keys if len(location) == 1 else ())
            return f"unknown key{_key_hint(location, known, model)}"
        expected.append(_expected_value(error_type, context, item))
    value = items[0].get("input")
    choices = [
        choice
        for item in items
        if item["type"] == "literal_error"
        for choice in _text_choices(item["ctx"]["expected"])
    ]
    hint = ""  # the message lists the choices
    if len(choices) > 1 and isinstance(value, str) and close_match(value, choices):
        hint = did_you_mean(value, choices)
    rejected = (
        "" if isinstance(value, dict) and _is_custom(items) else f", not {quote_value(value)}"
    )
    return f"must be {' or '.join(dict.fromkeys(expected))}{rejected}{hint}"


def _is_custom(items: list[dict[str, Any]]) -> bool:
    """Whether a validator of ours refused the value; "not a mapping" would then mislead."""
    return all(item["type"] == "value_error" for item in items)


def _keys_beside(location: tuple[str | int, ...], model: type[BaseModel]) -> tuple[str, ...]:
    """The keys of the block that the last step leads into, of which ``model`` is the outermost."""
    from vaezoo.spec.block_defaults import block_of

    for step in location[:-1]:
        info = model.model_fields.get(str(step))
        model = (info and block_of(info.annotation)) or model
    return tuple(info.alias or name for name, info in model.model_fields.items())


def _key_hint(
    location: tuple[str | int, ...], known: tuple[str, ...], model: type[BaseModel]
) -> str:
    """A hint at the key that is meant: one of the same block, or of another block of a spec."""
    from vaezoo.spec.schema import SpecModel

    key = str(location[-1])
    if model is SpecModel and close_match(key, known) is None:
        place = _place_of(location)
        if place is not None:
            return f"; did you mean {place!r}?"
    return did_you_mean(key, known) or "; there are no options here"


def _place_of(location: tuple[str | int, ...]) -> str | None:
    """Where a key of a spec belongs that is at another place; None if nowhere."""
    from vaezoo.spec.options import LoaderOptions
    from vaezoo.spec.schema import ModelSpec, SpecModel, TrainSpec

    if location[0] == "stages":
        return None
    places = {
        "": SpecModel.model_fields,
        "data.": LoaderOptions.model_fields,
        "model.": ModelSpec.model_fields,
        "train.": TrainSpec.model_fields,
        "train.optimizer.": ("lr", "weight_decay"),
    }
    key = str(location[-1])
    return next((f"{place}{key}" for place, keys in places.items() if key in keys), None)


def _text_choices(expected: str) -> list[str]:
    """The choices that are text, from pydantic's ``'a', 'b' or 'c'``."""
    return re.findall(r"'([^']*)'", expected)


def _expected_value(error_type: str, context: dict[str, Any], item: dict[str, Any]) -> str:
    """The value that an error says was expected, such as ``an integer`` or ``> 0``."""
    if error_type in _EXPECTED:
        return _EXPECTED[error_type]
    if error_type in _COMPARISONS:
        key, operator = _COMPARISONS[error_type]
        return f"{operator} {context[key]}"
    if error_type == "is_instance_of":  # pydantic checks abstract collections in this way
        return "a list" if context["class"] == "Sequence" else f"a {context['class']}"
    if error_type == "literal_error":
        return str(context["expected"])
    if error_type == "too_short":
        kind = "mapping" if context.get("field_type") == "Dictionary" else "list"
        return f"a {kind} of {context['min_length']} or more"
    if error_type == "too_long":
        kind = "mapping" if context.get("field_type") == "Dictionary" else "list"
        return f"a {kind} of {context['max_length']} or fewer"
    if error_type in ("string_too_short", "string_too_long"):
        limit = context.get("min_length", context.get("max_length"))
        return f"text of {limit} characters or {'more' if 'min_length' in context else 'fewer'}"
    if error_type == "string_pattern_mismatch":
        from vaezoo.spec.schema import PATTERNS

        return PATTERNS.get(context["pattern"], f"text that matches {context['pattern']}")
    return str(item["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")


def quote_value(value: Any) -> str:
    """A value as error messages quote it: in YAML's spelling, at most 60 characters long."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

"""Describes components for ``vaezoo show`` and ``docs/components``, from their docstrings."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import Any, get_args, get_origin

from annotated_types import Ge, Gt, Le, Len, Lt, MinLen
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from vaezoo.model.defaults import FIRST_VERSION
from vaezoo.plugins import discovery
from vaezoo.spec.block_defaults import annotation_of, default_of
from vaezoo.spec.options import ComponentSpec, KindMarker, LoaderOptions, options_model, summary


def describe(kind: str, name: str) -> dict[str, Any]:
    """A component's name, class, summary and options, as JSON-compatible data.

    Raises:
        PluginError: there is no such component.
    """
    entry = discovery.catalogue().find(kind, name)
    cls = entry.load()
    options = _describe_options(options_model(cls))
    if kind == "dataset":
        own = {option["name"] for option in options}
        options += [each for each in _describe_options(LoaderOptions) if each["name"] not in own]
    return {
        "kind": kind,
        "name": entry.name,
        "plugin": entry.plugin,
        "class": f"{cls.__module__}:{cls.__qualname__}",
        "summary": summary(cls),
        "options": options,
    }


def _describe_options(model: type[BaseModel]) -> list[dict[str, Any]]:
    """Name, type, default and description of each option."""
    rows = []
    for name, info in model.model_fields.items():
        default = _format_default(info.default)
        earlier = _format_default(default_of(info, FIRST_VERSION))
        if earlier != default:
            default = f"{default} (in {FIRST_VERSION}: {earlier})"
        rows.append(
            {
                "name": name,
                "type": type_name(annotation_of(info)),
                "default": default,
                "description": info.description or "",
            }
        )
    return rows


def _format_default(value: Any) -> str:
    """A default value in YAML's spelling."""
    if value is PydanticUndefined:
        return "required"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, BaseModel):  # a block
        return str(value.model_dump(exclude_unset=True)).replace("'", "")
    return str(list(value)) if isinstance(value, tuple) else str(value)


def type_name(annotation: Any) -> str:
    """An annotation in words, such as ``number > 0`` or ``relu or tanh``."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        kinds = [item.kind for item in args[1:] if isinstance(item, KindMarker)]
        return (
            kinds[0]
            if kinds
            else " ".join([type_name(args[0]), *filter(None, map(_limit, args[1:]))])
        )
    if origin is typing.Literal:
        return " or ".join(str(arg) for arg in args)
    if origin is not None and type(None) in args:
        return " or ".join([*(type_name(arg) for arg in args if arg is not type(None)), "none"])
    if origin in (list, tuple, Sequence):
        return f"list of {type_name(args[0])}"
    if origin is dict:
        return f"{type_name(args[1])} by name"
    if args:
        names = [type_name(arg) for arg in args]
        if len(names) == 2 and names[1] == f"{names[0]} by name":
            return f"{names[0]}; or these by name"
        return " or ".join(names)
    words = {
        int: "integer",
        float: "number",
        str: "text",
        bool: "true or false",
        ComponentSpec: "component",
    }
    return words.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _limit(item: Any) -> str:
    """A constraint in words, such as ``> 0``; empty if it is not about a limit."""
    operators = {Gt: ("gt", ">"), Ge: ("ge", ">="), Lt: ("lt", "<"), Le: ("le", "<=")}
    for cls, (key, operator) in operators.items():
        if isinstance(item, cls):
            return f"{operator} {getattr(item, key)}"
    if isinstance(item, Len) and item.max_length == item.min_length:
        return f"(exactly {item.min_length})"
    return f"(at least {item.min_length})" if isinstance(item, MinLen | Len) else ""

"""What a component promises in its source: options that users can read and that are checked."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticUndefined

from vaezoo.model.defaults import BeforeV2
from vaezoo.model.optimization import CONFIG
from vaezoo.plugins.kinds import KINDS, KINDS_WITH_WIRING
from vaezoo.spec.options import argument_docs, component_kind, options_model
from vaezoo.testing.case import Case
from vaezoo.testing.promise import Rule
from vaezoo.utils.errors import PluginError, one_line

_POSITIONAL = {**dict.fromkeys(KINDS_WITH_WIRING, 1), "callback": 1, "format": 1}
"""The number of positional arguments of constructors: the wiring, a directory, the data."""


def _parameters(cls: type) -> list[inspect.Parameter]:
    """The parameters of a constructor without ``self``."""
    init: Any = cls.__init__  # type: ignore[misc]
    if "__init__" not in {name for base in cls.__mro__[:-1] for name in vars(base)}:
        return []
    return [*inspect.signature(init).parameters.values()][1:]


def _options(case: Case) -> list[inspect.Parameter]:
    """The options of a component, including those that are not keyword-only."""
    named = [p for p in _parameters(case.cls) if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    keyword = [p for p in named if p.kind is p.KEYWORD_ONLY]
    positional = [p for p in named if p.kind is not p.KEYWORD_ONLY]
    return [*positional[_POSITIONAL.get(case.kind, 0) :], *keyword]


def has_options(case: Case) -> bool:
    """Whether a component has options."""
    return bool(_options(case))


def check_keyword_only(case: Case) -> None:
    """No option is positional."""
    for option in _options(case):
        assert option.kind is option.KEYWORD_ONLY, (
            f"option {option.name!r} is not keyword-only, so no spec can set it; put it after * "
            "in the constructor"
        )


def check_typed(case: Case) -> None:
    """Every option has an annotation that says which values it takes."""
    for option in _options(case):
        assert option.annotation is not option.empty, (
            f"option {option.name!r} is untyped, so that no value is checked; annotate it"
        )
    try:
        hints = typing.get_type_hints(case.cls.__init__, include_extras=True)
        options_model(case.cls)
    except PluginError as error:
        raise AssertionError(one_line(error)) from error
    for option in _options(case):
        assert hints[option.name] is not Any, (
            f"option {option.name!r} is annotated Any, so that no value is checked; say its type"
        )


def check_documented(case: Case) -> None:
    """The section ``Args:`` of the class docstring describes every option, and no other."""
    described, options = argument_docs(case.cls), {option.name for option in _options(case)}
    for name in options:
        assert described.get(name), (
            f"option {name!r} is undocumented; describe it under Args: in the docstring of the "
            "class, from which `vaezoo show` takes its help"
        )
    known = {parameter.name for parameter in _parameters(case.cls)}
    for name in described:
        assert name in known, (
            f"the docstring describes an option {name!r} that does not exist; its options are "
            f"{', '.join(sorted(options)) or 'none'}"
        )


def check_defaults(case: Case) -> None:
    """Every default is a value of the type of its option."""
    model = options_model(case.cls)
    for name, field in model.model_fields.items():
        annotation = field.rebuild_annotation()
        values = [item.value for item in field.metadata if isinstance(item, BeforeV2)]
        for default in (field.default, *values):
            is_block = isinstance(default, str | Mapping) and component_kind(annotation)
            if default is PydanticUndefined or is_block:
                continue
            if problem := _problem(annotation, default):
                raise AssertionError(
                    f"the default {default!r} of option {name!r} has the wrong type: {problem}; "
                    "mend the default or the annotation"
                )


def _problem(annotation: Any, value: Any) -> str | None:
    """Why a value is none of an annotation; None if it is one."""
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=CONFIG)
    except PydanticUserError:  # the annotation is a pydantic model or component itself
        adapter = TypeAdapter(annotation)
    try:
        adapter.validate_python(value, strict=True)
    except ValidationError as error:
        return str(error.errors()[0]["msg"]).lower()
    return None


def check_summary(case: Case) -> None:
    """The class has a docstring of its own, which begins with a sentence."""
    text = inspect.cleandoc(vars(case.cls).get("__doc__") or "")
    summary = text.partition("\n\n")[0]
    assert summary, (
        "the class has no docstring; begin it with one sentence that says what the component "
        "computes, which `vaezoo list` and the reference show"
    )
    assert summary.endswith((".", ":")), (
        f"the docstring begins with {summary[:60]!r}, which is no sentence; end it with "
        "a full stop"
    )


def _takes_default(case: Case) -> bool:
    return any(option.default is not option.empty for option in _options(case))


RULES = (
    Rule("has a summary", KINDS, check_summary, needs_model=False),
    Rule(
        "options are keyword-only",
        KINDS,
        check_keyword_only,
        applies=has_options,
        needs_model=False,
    ),
    Rule("options are typed", KINDS, check_typed, applies=has_options, needs_model=False),
    Rule(
        "options are documented", KINDS, check_documented, applies=has_options, needs_model=False
    ),
    Rule(
        "defaults have their type",
        KINDS,
        check_defaults,
        applies=_takes_default,
        needs_model=False,
    ),
)
"""Promises of all kinds that need no model."""

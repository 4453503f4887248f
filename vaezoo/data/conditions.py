"""Parses conditions that users write as text: a class, named attributes, or all of them."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from vaezoo.data.dataspec import DataSpec, Field
from vaezoo.utils.errors import UsageError, did_you_mean, printable

ALL = "all"
"""The text that requests every class, or every value of an attribute."""
_SEVERAL = re.compile(r"(;|&|\band\b)[^=]*=", re.I)
"""What separates conditions in texts of users who do not know that commas do."""
_MAX_LISTED_CLASSES = 20
"""An error message lists all class names up to this number."""


def parse_conditions(
    data: DataSpec, text: str, trained_classes: Sequence[str] | None = None
) -> tuple[Tensor, list[str]]:
    """Parses the text of one or more conditions.

    Args:
        data: describes the conditions of the model.
        text: a class such as ``9``; ``all`` for every class; or attributes such as
            ``color=red,digit=all``.
        trained_classes: the classes that occurred in training; None if all of them did.

    Returns:
        The n conditions in the form of ``Batch.condition`` (labels ``[n]`` or attributes
        ``[n, A]``), and their n names.

    Raises:
        UsageError: the class or attribute does not exist or did not occur in training, or the
            conditions of this data have no names.
    """
    if data.classes:
        trained = data.classes if trained_classes is None else trained_classes
        return _parse_labels(data.classes, text.strip(), trained)
    if data.condition_fields:
        return _parse_attributes(data.condition_fields, text)
    shape = ", ".join(map(str, data.condition_shape or ()))
    raise UsageError(
        f"the conditions of this model have no names; give a tensor [n, {shape}], or "
        "--condition data for those of test examples"
    )


def parse_columns(
    data: DataSpec, text: str, parse_number: Callable[[str, str], float]
) -> tuple[Tensor, Tensor]:
    """Parses values of columns of a row, such as ``town=Ulm,age=30``.

    Args:
        data: describes the rows.
        text: the values. A comma that no name follows belongs to the value.
        parse_number: the number of a column, of its text.

    Returns:
        ``x`` of the row in the units of the source, float64, and whether a column is known,
        ``[D]`` each.

    Raises:
        UsageError: there is no such column, it has no such value, or values contradict each other.
    """
    x = torch.zeros(data.shape, dtype=torch.float64)
    known = torch.zeros(data.shape, dtype=torch.bool)
    fields = {field.name: field for field in data.fields}
    for assignment in re.split(r",(?=[^,=]*=)", text):
        name, equals, value = (piece.strip() for piece in assignment.partition("="))
        if not equals:
            names = ", ".join(map(printable, fields))
            raise UsageError(f"{assignment.strip()!r} is not NAME=VALUE; the columns are {names}")
        if name not in fields:
            raise UsageError(f"no column {name!r}{did_you_mean(name, fields)}")
        field = fields[name]
        parse = partial(parse_number, name)
        (number, _), *others = _parse_values(field, value.strip("'\""), parse)
        start, stop = field.columns
        if others:
            raise UsageError(f"column {name!r} takes one value, not {value}; leave it out for any")
        if known[start]:
            raise UsageError(f"column {name!r} has two values; give one")
        known[start:stop] = True
        if field.is_one_hot:
            x[start + int(number)] = 1
        else:
            x[start] = number
    _check_missing(fields, x, known)
    return x, known


def _check_missing(fields: Mapping[str, Field], x: Tensor, known: Tensor) -> None:
    """Raises UsageError if a column has a value and is missing."""
    for name, field in fields.items():
        indicator = fields.get(f"{name} is missing")  # as tables name it: 1 if there is no value
        if indicator is None or not known[field.columns[0]]:
            continue
        place = indicator.columns[0]
        if known[place] and x[place] == 1:
            raise UsageError(f"column {name!r} has a value and is missing; give one of these")


def _parse_labels(
    classes: Sequence[str], text: str, trained_classes: Sequence[str]
) -> tuple[Tensor, list[str]]:
    names = [name for name in classes if name in trained_classes] if text == ALL else [text]
    for name in names:
        if name not in classes:
            if len(classes) <= _MAX_LISTED_CLASSES:
                hint = f"; known: {', '.join(map(printable, classes))}"
            else:
                hint = did_you_mean(name, classes)
            raise UsageError(f"no class {name!r}{hint}")
        if name not in trained_classes:
            known = ", ".join(map(printable, trained_classes))
            raise UsageError(f"class {name!r} did not occur in training; known: {known}")
    return torch.tensor([classes.index(name) for name in names]), names


def _parse_attributes(attributes: Sequence[Field], text: str) -> tuple[Tensor, list[str]]:
    requested: dict[str, str] = {}
    known = [attribute.name for attribute in attributes]
    for assignment in text.split(","):
        name, equals, value = (piece.strip() for piece in assignment.partition("="))
        if text.strip() == ALL:
            requested = dict.fromkeys(known, ALL)
        elif not equals:
            listed = ", ".join(map(printable, known))
            raise UsageError(
                f"{assignment.strip()!r} is not NAME=VALUE; the attributes are {listed}"
            )
        elif name not in known:
            raise UsageError(f"no attribute {name!r}{did_you_mean(name, known)}")
        else:
            requested[name] = value
    missing = [name for name in known if name not in requested]
    if missing:
        lacking = " and ".join(f"{printable(name)}=..." for name in missing)
        raise UsageError(f"missing attributes; add {lacking}")
    choices = [_parse_values(attribute, requested[attribute.name]) for attribute in attributes]
    rows = list(itertools.product(*choices))
    names = [
        ",".join(f"{a.name}={name}" for a, (_, name) in zip(attributes, row, strict=True))
        for row in rows
    ]
    conditions = torch.zeros(len(rows), max(a.columns[1] for a in attributes))  # [n, A]
    for condition, row in zip(conditions, rows, strict=True):
        for attribute, (number, _) in zip(attributes, row, strict=True):
            start = attribute.columns[0]
            if attribute.is_one_hot:
                condition[start + int(number)] = 1
            else:
                condition[start] = (number - attribute.offset) / attribute.scale
    return conditions, names


def _parse_values(
    attribute: Field, text: str, parse_number: Callable[[str], float] = float
) -> list[tuple[float, str]]:
    """Returns the requested values of one attribute: each as a number, with its name.

    That of a category is its index.
    """
    if attribute.categories and text == ALL:
        return [(float(index), name) for index, name in enumerate(attribute.categories)]
    if attribute.categories:
        if text not in attribute.categories:
            hint = did_you_mean(text, attribute.categories)
            raise UsageError(f"{attribute.name}: no value {text!r}{hint}{_separator_hint(text)}")
        return [(float(attribute.categories.index(text)), text)]
    try:
        number = parse_number(text)
    except ValueError as error:
        reason = "is not a number" if parse_number is float else str(error)
        hint = _separator_hint(text)
        raise UsageError(f"{attribute.name}: {text!r} {reason}{hint}") from None
    if not math.isfinite(number):
        raise UsageError(f"{attribute.name}: {text!r} is not a finite number")
    return [(number, text)]


def _separator_hint(text: str) -> str:
    """What to do about a text that seems to hold several conditions, or nothing."""
    if not _SEVERAL.search(text):
        return ""
    return "; separate several conditions by commas, such as a=1,b=2"

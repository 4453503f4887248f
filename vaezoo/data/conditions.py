"""Conditions as people write them: a class, named attributes, or all of them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from vaezoo.data.dataspec import DataSpec, Field
from vaezoo.utils.errors import UsageError, did_you_mean

ALL = "all"
_FEW = 20


def parse(data: DataSpec, text: str, seen: Sequence[str] | None = None) -> tuple[Tensor, list[str]]:
    """The conditions that a text asks for, and the name of each.

    Args:
        data: what the conditions of the model are.
        text: a class such as ``9``; ``all`` of them; or attributes such as ``color=red,digit=all``.
        seen: the classes that occurred in training; None where all did.

    Returns:
        Conditions as a batch holds them, ``[n]`` labels or ``[n, A]`` attributes, and n names.

    Raises:
        UsageError: there is no such class or attribute, it was never seen, or the data has neither.
    """
    if data.classes:
        return _labels(data.classes, text.strip(), data.classes if seen is None else seen)
    if data.condition_fields:
        return _attributes(data.condition_fields, text)
    shape = ", ".join(map(str, data.condition_shape or ()))
    raise UsageError(
        f"the conditions of this model have no names; give a tensor [n, {shape}], or --condition data for those of "
        "test examples"
    )


def _labels(classes: Sequence[str], text: str, seen: Sequence[str]) -> tuple[Tensor, list[str]]:
    names = [name for name in classes if name in seen] if text == ALL else [text]
    for name in names:
        if name not in classes:
            known = f"; known: {', '.join(classes)}" if len(classes) <= _FEW else did_you_mean(name, classes)
            raise UsageError(f"no class {name!r}{known}")
        if name not in seen:
            raise UsageError(f"class {name!r} was never seen in training; known: {', '.join(seen)}")
    return torch.tensor([classes.index(name) for name in names]), names


def _attributes(attributes: Sequence[Field], text: str) -> tuple[Tensor, list[str]]:
    given: dict[str, str] = {}
    known = [attribute.name for attribute in attributes]
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if text.strip() == ALL:
            given = dict.fromkeys(known, ALL)
        elif not equals:
            raise UsageError(f"{part.strip()!r} is not NAME=VALUE; the attributes are {', '.join(known)}")
        elif name not in known:
            raise UsageError(f"no attribute {name!r}{did_you_mean(name, known)}")
        else:
            given[name] = value
    missing = [name for name in known if name not in given]
    if missing:
        raise UsageError(f"say also {' and '.join(f'{name}=...' for name in missing)}")
    choices = [_values(attribute, given[attribute.name]) for attribute in attributes]
    rows = list(itertools.product(*choices))
    names = [",".join(f"{a.name}={name}" for a, (_, name) in zip(attributes, row, strict=True)) for row in rows]
    return torch.tensor([[number for number, _ in row] for row in rows]), names


def _values(attribute: Field, text: str) -> list[tuple[float, str]]:
    """The numbers that stand for an attribute's value, with their names."""
    if attribute.categories and text == ALL:
        return [(float(index), name) for index, name in enumerate(attribute.categories)]
    if attribute.categories:
        if text not in attribute.categories:
            raise UsageError(f"{attribute.name}: no value {text!r}{did_you_mean(text, attribute.categories)}")
        return [(float(attribute.categories.index(text)), text)]
    try:
        return [(float(text), text)]
    except ValueError:
        raise UsageError(f"{attribute.name}: {text!r} is not a number") from None

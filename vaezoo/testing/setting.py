"""What the author of a component says about how it is to be tested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The options of a component under test, and the model that it is tested in.

    The rest of the model is filled in: a tiny one on a few examples that are made up. Where that
    does not fit the component, ``data`` and ``spec`` say what does.

    Attributes:
        options: options of the component, as in a spec.
        spec: blocks of a spec that replace those of the tiny model, such as ``{"model":
            {"encoder": "recurrent"}}``.
        data: the name of made-up data, one of ``vaezoo.testing.EXAMPLES``; or examples, such as
            a ``vaezoo.Batch`` or an array. None lets vaezoo choose, or takes the data set of
            ``spec``.
        waived: promises that are not checked, by their titles, each with the reason: where a
            component breaks one on purpose, as its paper does.

    Example:
        >>> from vaezoo.testing import Setting
        >>> Setting(options={"hidden": [8]}, data="images").options
        {'hidden': [8]}
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    data: Any = None
    waived: Mapping[str, str] = field(default_factory=dict)


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the keys of ``changes``, block by block; a block with a ``type`` is whole."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        is_block = isinstance(value, Mapping) and isinstance(old, Mapping)
        if is_block and "type" not in value:
            merged[key] = merge(old, value)  # type: ignore[arg-type]
        else:
            merged[key] = value
    return merged

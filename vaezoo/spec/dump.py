"""Writes data as YAML that the strict parser of ``vaezoo.spec.tree`` reads back unchanged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import yaml

from vaezoo.spec.tree import resolve_scalar


class _Dumper(yaml.SafeDumper):
    """Writes no aliases, and quotes strings that the parser would read as another type."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_str(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if isinstance(resolve_scalar(text), str) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_str)
_Dumper.add_representer(tuple, lambda dumper, value: dumper.represent_list(list(value)))


def dump(data: Mapping[str, Any]) -> str:
    """The YAML text of a mapping."""
    return yaml.dump(
        dict(data), Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=110
    )


def dump_inline(value: Any) -> str:
    """The YAML text of a value on one line."""
    text = yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=True,
        width=math.inf,
        allow_unicode=True,
    )
    return text.removesuffix("\n").removesuffix("\n...")  # which ends a single scalar

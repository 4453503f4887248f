"""Writes YAML that the strict reader reads back as the same data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from vaezoo.spec.tree import resolve_scalar


class _Dumper(yaml.SafeDumper):
    """No aliases, and quotes where a string could be taken for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_str(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if isinstance(resolve_scalar(text), str) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_str)
_Dumper.add_representer(tuple, lambda dumper, value: dumper.represent_list(list(value)))


def dump(data: Mapping[str, Any]) -> str:
    """YAML that reads back as the same data."""
    return yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=110)

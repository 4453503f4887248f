"""Writes the spec that a data set proposes as commented YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaezoo.data.proposal import Proposal
from vaezoo.spec.dump import dump_inline
from vaezoo.utils.errors import printable

_WIDTH = 100


def commented_yaml(name: str, source: Path, proposal: Proposal) -> str:
    """A spec with what was found at its top, and reasons beside the values.

    Args:
        name: the name of the spec.
        source: the files that were looked at.
        proposal: what to write.
    """
    lines = [f"# Written for {printable(source)}:", *(f"# {printable(x)}" for x in proposal.found)]
    lines += ["", "spec: vaezoo/v2", f"name: {dump_inline(name)}"]
    for block, value in proposal.spec.items():
        lines += _block(block, value, proposal.reasons, block, "")
    return "\n".join(lines) + "\n"


def _block(key: str, value: Any, reasons: Mapping[str, str], path: str, indent: str) -> list[str]:
    """The lines of a key and its value: one, or more if the values within have reasons."""
    has_reasons = any(other.startswith(f"{path}.") for other in reasons)
    if isinstance(value, Mapping) and (has_reasons or not indent):
        lines = _commented(f"{indent}{key}:", reasons.get(path), indent)
        for name, inner in value.items():
            lines += _block(name, inner, reasons, f"{path}.{name}", indent + "  ")
        return lines
    return _commented(f"{indent}{key}: {dump_inline(value)}", reasons.get(path), indent)


def _commented(line: str, reason: str | None, indent: str) -> list[str]:
    """A line with a comment beside it, or above it if that would be too wide."""
    if reason is None:
        return [line]
    beside = f"{line}  # {reason}"
    return [beside] if len(beside) <= _WIDTH else [f"{indent}# {reason}", line]

"""What the sources of sequences have in common."""

from __future__ import annotations

from typing import Literal, TypeAlias

ALL = ""
"""The name of sequences and files that are yet to be divided into splits."""
TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
"""The endings of tables."""
Unreadable: TypeAlias = Literal["error", "skip"]
"""What to do with a file that cannot be read."""

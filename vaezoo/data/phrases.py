"""Phrases that count and name, for ``Dataset.left_out`` and ``Dataset.notes``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vaezoo.utils.errors import printable

_MAX_NAMES = 2
"""How many names a phrase holds."""


def count_phrase(names: Sequence[object], one: str, many: str) -> tuple[str, ...]:
    """Counts and names what is left out, or what is to be checked.

    Args:
        names: the names of what is counted, such as files, lines or columns.
        one: what a single one is, such as ``line longer than 200 symbols``.
        many: what several are.

    Returns:
        One phrase such as ``3 lines longer than 200 symbols (4, 17, ...)``; none without names.

    Example:
        >>> count_phrase(["notes.txt"], "file with another ending", "files with other endings")
        ('1 file with another ending (notes.txt)',)
    """
    if not names:
        return ()
    is_cut = len(names) > _MAX_NAMES
    shown = [*map(printable, names[:_MAX_NAMES]), *(["..."] if is_cut else [])]
    return (f"{len(names):,} {one if len(names) == 1 else many} ({', '.join(shown)})",)


def untrained_classes(
    labels: np.ndarray | None,
    classes: Sequence[str],
    one: str = "class without a training example",
    many: str = "classes without training examples",
) -> tuple[str, ...]:
    """Counts and names the classes that no training example has, for ``Dataset.notes``.

    Args:
        labels: those of the training examples, counted from 0, ``[n]``; None without labels.
        classes: the names of the classes.
        one, many: as for ``count_phrase``.
    """
    trained = () if labels is None else set(np.unique(labels).tolist())
    return count_phrase([name for i, name in enumerate(classes) if i not in trained], one, many)

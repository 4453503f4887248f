"""Time series for classification, by name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Lt

import vaezoo
from vaezoo_vrae.ragged import ragged_split
from vaezoo_vrae.sequences import Ragged, sequence_spec


class Series(vaezoo.Dataset):
    """A time-series classification set that ships with aeon, by name: the extra ``vaezoo-vrae[series]``.

    Args:
        name: such as ``GunPoint``, ``ArrowHead``, ``OSULeaf``, ``ItalyPowerDemand``, ``ACSF1`` or ``JapaneseVowels``.
        held_out: the share of the published training split that becomes validation; its test split stays.
        omit: classes that training and validation do without; the test split holds them.
        split_seed: decides which sequence is held out.
    """

    def __init__(
        self,
        *,
        name: str,
        held_out: Annotated[float, Ge(0.01), Lt(1)] = 0.2,
        omit: Sequence[str] = (),
        split_seed: int = 0,
    ) -> None:
        self.name, self.held_out, self.omit, self.split_seed = name, held_out, omit, split_seed

    @cached_property
    def _parts(self) -> dict[str, Ragged]:
        try:
            from aeon.datasets import load_classification
        except ImportError as error:
            raise vaezoo.UnavailableError("data set series needs aeon: pip install 'vaezoo-vrae[series]'") from error
        both = {split: self._load(load_classification, split) for split in ("train", "test")}
        classes = tuple(sorted({label for _, labels in both.values() for label in labels}))
        train, test = (
            Ragged(rows, np.array([classes.index(label) for label in labels]), classes)
            for rows, labels in both.values()
        )
        train = self._without(train)
        if len(train.rows) < 2:
            raise vaezoo.DataError(f"{self.name}: {len(train.rows)} sequences are too few for training and validation")
        order = np.random.default_rng(self.split_seed).permutation(len(train.rows))
        count = min(max(1, round(self.held_out * len(order))), len(order) - 1)
        parts = {"validation": np.sort(order[:count]), "train": np.sort(order[count:])}
        assert train.labels is not None
        return {
            name: Ragged([train.rows[i] for i in index], train.labels[index], train.classes)
            for name, index in parts.items()
        } | {"test": test}

    def _load(self, load: object, split: str) -> tuple[list[np.ndarray], list[str]]:
        """The sequences of a published split, and their labels."""
        try:
            series, labels = load(self.name, split=split)  # type: ignore[operator]
        except Exception as error:  # aeon raises many kinds for a name that it does not ship
            raise vaezoo.UnavailableError(f"aeon has no set {self.name!r} at hand: {error}") from error
        rows = [np.asarray(row, np.float32).T for row in series]
        if not all(np.isfinite(row).all() for row in rows):
            raise vaezoo.DataError(f"{self.name}: has missing values, which are not filled in here")
        return rows, list(map(str, labels))

    def _without(self, found: Ragged) -> Ragged:
        assert found.labels is not None
        if unknown := set(self.omit) - set(found.classes):
            raise vaezoo.DataError(f"{self.name} has no class {min(unknown)!r}; it has {', '.join(found.classes)}")
        kept = [i for i, label in enumerate(found.labels) if found.classes[label] not in self.omit]
        return Ragged([found.rows[i] for i in kept], found.labels[kept], found.classes)

    @cached_property
    def spec(self) -> vaezoo.DataSpec:
        """Standardised by the training split."""
        return sequence_spec(self._parts, True)

    def split(self, name: str) -> vaezoo.Split:
        """One of the three splits."""
        part = self._parts[name]
        assert part.labels is not None
        return ragged_split(part.rows, self.spec.shape[0], self.spec.from_source_units, torch.from_numpy(part.labels))

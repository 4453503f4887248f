"""Time series for classification from aeon, by name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Lt

import vaezoo
from vaezoo_vrae.ragged import ragged_split
from vaezoo_vrae.sequences import RaggedSequences, sequence_spec


class Series(vaezoo.Dataset):
    """A time-series classification set included in aeon, by name.

    Needs the extra ``vaezoo-vrae[series]``.

    Args:
        name: such as ``GunPoint``, ``ArrowHead``, ``OSULeaf``, ``ItalyPowerDemand``, ``ACSF1`` or
            ``JapaneseVowels``.
        held_out: fraction of the published training split that becomes validation; the test split
            is unchanged.
        omit: classes left out of training and validation; the test split contains them.
        split_seed: seed of the choice of validation sequences.
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
    def _splits(self) -> dict[str, RaggedSequences]:
        try:
            from aeon.datasets import load_classification
        except ImportError as error:
            raise vaezoo.UnavailableError(
                "data set series needs aeon: pip install 'vaezoo-vrae[series]'"
            ) from error
        published = {split: self._load(load_classification, split) for split in ("train", "test")}
        classes = tuple(sorted({label for _, labels in published.values() for label in labels}))
        train, test = (
            RaggedSequences(
                sequences, np.array([classes.index(label) for label in labels]), classes
            )
            for sequences, labels in published.values()
        )
        train = self._omit_classes(train)
        count = len(train.sequences)
        if count < 2:
            raise vaezoo.DataError(
                f"{self.name}: {count} sequences are too few for training and validation"
            )
        order = np.random.default_rng(self.split_seed).permutation(count)
        validation_count = min(max(1, round(self.held_out * count)), count - 1)
        indices = {
            "validation": np.sort(order[:validation_count]),
            "train": np.sort(order[validation_count:]),
        }
        return {name: _select(train, index) for name, index in indices.items()} | {"test": test}

    def _load(self, load: object, split: str) -> tuple[list[np.ndarray], list[str]]:
        """The sequences of a published split ``[T_i, D]``, and their labels."""
        try:
            series, labels = load(self.name, split=split)  # type: ignore[operator]
        except Exception as error:  # aeon raises many types for a name that it does not include
            raise vaezoo.UnavailableError(f"aeon has no set {self.name!r}: {error}") from error
        # [D, T_i] -> [T_i, D]
        sequences = [np.asarray(values, np.float32).T for values in series]
        if not all(np.isfinite(sequence).all() for sequence in sequences):
            raise vaezoo.DataError(f"{self.name}: has missing values, which are not supported")
        return sequences, list(map(str, labels))

    def _omit_classes(self, data: RaggedSequences) -> RaggedSequences:
        assert data.labels is not None
        if unknown := set(self.omit) - set(data.classes):
            raise vaezoo.DataError(
                f"{self.name} has no class {min(unknown)!r}; it has {', '.join(data.classes)}"
            )
        return _select(
            data,
            [i for i, label in enumerate(data.labels) if data.classes[label] not in self.omit],
        )

    @cached_property
    def spec(self) -> vaezoo.DataSpec:
        """Standardized with the training split."""
        return sequence_spec(self._splits, True)

    def split(self, name: str) -> vaezoo.Split:
        """One of the three splits."""
        split = self._splits[name]
        assert split.labels is not None
        labels = torch.from_numpy(split.labels)
        return ragged_split(
            split.sequences, self.spec.shape[0], self.spec.from_source_units, labels
        )


def _select(data: RaggedSequences, index: Sequence[int] | np.ndarray) -> RaggedSequences:
    """The sequences at these indices, with their labels."""
    assert data.labels is not None
    return RaggedSequences([data.sequences[i] for i in index], data.labels[index], data.classes)

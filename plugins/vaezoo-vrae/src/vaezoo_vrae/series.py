"""Time series for classification from aeon, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Annotated

import numpy as np
from annotated_types import Ge, Lt

import vaezoo
from vaezoo_vrae.dividing import DividedDataset, DividedSequences
from vaezoo_vrae.ragged import RaggedSequences, ragged_split
from vaezoo_vrae.sequences import sequence_spec


class Series(DividedDataset):
    """A time-series classification set included in aeon, by name.

    Needs the extra ``vaezoo-vrae[series]``. Missing steps are hidden; they have no influence.

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
    def divided(self) -> DividedSequences:
        """The sequences of the splits."""
        try:
            from aeon.datasets import load_classification
        except ImportError as error:
            raise vaezoo.UnavailableError(
                "data set series needs aeon: pip install 'vaezoo-vrae[series]'"
            ) from error
        published = {split: self._load(load_classification, split) for split in ("train", "test")}
        classes = tuple(sorted({label for _, labels in published.values() for label in labels}))
        whole = {
            split: replace(
                data, labels=np.array([classes.index(name) for name in names]), classes=classes
            )
            for split, (data, names) in published.items()
        }
        hidden = [
            f"{split} {i}"
            for split, data in whole.items()
            for i, series in enumerate(data.sequences)
            if not len(series)
        ]
        train, test = (data.without_hidden() for data in whole.values())
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
        splits = {name: train.select(index) for name, index in indices.items()} | {"test": test}
        left_out = vaezoo.count_phrase(hidden, "series without a value", "series without a value")
        notes = vaezoo.untrained_classes(splits["train"].labels, classes)
        return DividedSequences(splits, left_out, notes)

    def _load(self, load: object, split: str) -> tuple[RaggedSequences, list[str]]:
        """The sequences of a published split, and their labels."""
        try:
            series, labels = load(self.name, split=split)  # type: ignore[operator]
        except Exception as error:  # aeon raises many types for a name that it does not include
            reason = " ".join(str(error).split())
            raise vaezoo.UnavailableError(f"aeon has no set {self.name!r}: {reason}") from error
        # [D, T_i] -> [T_i, D]
        sequences = [np.asarray(values, np.float32).T for values in series]
        return with_gaps(sequences, f"{self.name}: {split}"), list(map(str, labels))

    def _omit_classes(self, data: RaggedSequences) -> RaggedSequences:
        assert data.labels is not None
        if unknown := set(self.omit) - set(data.classes):
            raise vaezoo.DataError(
                f"{self.name} has no class {min(unknown)!r}; it has {', '.join(data.classes)}"
            )
        return data.select(
            [i for i, label in enumerate(data.labels) if data.classes[label] not in self.omit]
        )

    @cached_property
    def spec(self) -> vaezoo.DataSpec:
        """Standardized with the training split."""
        return sequence_spec(self.divided.splits, True)

    def split(self, name: str) -> vaezoo.Split:
        """One of the three splits."""
        return ragged_split(
            self.divided.splits[name], self.spec.shape[0], self.spec.from_source_units
        )


def with_gaps(series: Sequence[np.ndarray], source: str) -> RaggedSequences:
    """Series whose missing steps are NaN, each up to its last step; those in between are hidden.

    Args:
        series: ``[T_i, D]`` each.
        source: names them in messages.

    Raises:
        vaezoo.DataError: a step lacks some of its values only, or one is infinite.
    """
    sequences, observed = [], []
    for i, values in enumerate(series):
        exists = ~np.isnan(values).all(1)
        partial = (exists & ~np.isfinite(values).all(1)).nonzero()[0]
        if len(partial):
            raise vaezoo.DataError(
                f"{source} series {i}: step {partial[0]} lacks some of its values, which is not "
                "supported"
            )
        end = int(exists.nonzero()[0].max(initial=-1)) + 1
        shown = values if exists.all() else np.where(exists[:, None], values, np.float32(0))
        sequences.append(shown[:end])
        observed.append(exists[:end])
    return RaggedSequences(sequences, observed=observed)

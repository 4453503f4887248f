"""The metric of generated rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt

import vaezoo
from vaezoo_tabular import comparison
from vaezoo_tabular.columns import Column
from vaezoo_tabular.comparison import Rows, to_rows
from vaezoo_tabular.facts import columns_of
from vaezoo_tabular.utility import train_and_test

UNITS = {
    "marginal_ks": "",
    "marginal_tv": "",
    "association_error": "",
    "contradictions": "share",
    "discriminator_auroc": "",
    "closest_record_share": "share",
    "membership_auroc": "",
    "utility_f1": "",
    "utility_auroc": "",
}
"""The unit of each number."""


class SyntheticRows(vaezoo.Metric):
    """Compares generated rows with those of a split, and with the training rows.

    One set of generated rows gives all numbers. Each has a ``floor``: the same number of training
    rows in place of generated ones.

    - ``marginal_ks``: the Kolmogorov-Smirnov distance from the training rows, averaged over
      columns of numbers; ``marginal_tv``: the total variation, averaged over other columns.
    - ``association_error``: the difference of the associations of two columns, averaged over
      pairs: absolute correlation, correlation ratio or Cramer's V.
    - ``contradictions``: the share of generated rows that contradict what holds in all training
      rows, where a column of few values determines another one.
    - ``discriminator_auroc``: of a random forest that tells generated rows from training rows.
    - ``closest_record_share``: the share of generated rows that are closer to a training row than
      to a row of the split; .5 if none is copied. ``membership_auroc``: how well the distance to
      the closest generated row tells training rows from rows of the split; .5 if it does not.
    - ``utility_f1`` and ``utility_auroc``: classifiers are trained on generated rows and tested on
      the split, as in ``vaezoo_tabular.utility``; their floor is what real rows reach.

    Args:
        rows: the number of generated rows; 0 for as many as there are training rows.
        target: the column of categories that classifiers predict; None leaves these numbers out.
        positive: its value that counts as positive; None for the mean over all values.
        records: the number of rows of each kind whose distances are compared.
    """

    higher_is_better = frozenset({"utility_f1", "utility_auroc"})
    lower_is_better = frozenset(
        {
            "marginal_ks",
            "marginal_tv",
            "association_error",
            "contradictions",
            "discriminator_auroc",
        }
    )

    def __init__(
        self,
        *,
        rows: Annotated[int, Ge(0)] = 0,
        target: str | None = None,
        positive: str | None = None,
        records: Annotated[int, Gt(1)] = 5000,
    ) -> None:
        self.rows, self.target, self.positive, self.records = rows, target, positive, records

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """The numbers above, without standard errors."""
        if "vaezoo-tabular" not in model.data.facts or self.training is None:
            raise NotImplementedError("needs a model of the data set 'table'")
        train, test = self._read(model, self.training()), self._read(model, data)
        columns = columns_of(model.data)
        positive = self.find_positive(columns)
        count = self.rows or len(train)
        x = model.data.to_source_units(model.sample(count).cpu().double()).numpy()
        seed = int(torch.randint(2**31, ()))
        values = self.compare(train, to_rows(x, columns), test, positive, seed)
        floors = self.floors(train, test, positive, seed)
        return {
            name: vaezoo.Estimate(
                value, None, len(test), {"floor": floors[name], "rows": count}, unit=UNITS[name]
            )
            for name, value in values.items()
        }

    def find_positive(self, columns: Sequence[Column]) -> int | None:
        """The index of ``positive`` among the categories of ``target``; None without it.

        Raises:
            ValueError: ``target`` is no modelled column of categories, or has no such value.
        """
        if self.target is None:
            return None
        column = {each.name: each for each in columns}.get(self.target)
        if column is None or not column.is_modelled or not column.categories:
            raise ValueError(f"target: {self.target!r} is no modelled column of categories")
        if self.positive is None:
            return None
        if self.positive not in column.categories:
            raise ValueError(f"positive: {self.target!r} has no value {self.positive!r}")
        return column.categories.index(self.positive)

    def compare(
        self, train: Rows, generated: Rows, test: Rows, positive: int | None, seed: int
    ) -> dict[str, float]:
        """Each number by its name.

        Args:
            train, generated, test: rows.
            positive: what ``find_positive`` returns.
            seed: decides which rows are compared, and that of the classifiers.
        """
        picked = self._pick(train, generated, test, seed)
        values = {
            **_marginals(train, generated),
            "discriminator_auroc": comparison.discriminator_auroc(train, generated, seed),
            "closest_record_share": comparison.closest_record_share(*picked),
            "membership_auroc": comparison.membership_auroc(*picked),
        }
        return values | self._utility(generated, test, positive, seed)

    def floors(self, train: Rows, test: Rows, positive: int | None, seed: int) -> dict[str, float]:
        """The same for real rows in place of generated ones."""
        order = np.random.default_rng(seed).permutation(len(train))
        half = len(train) // 2
        picked = self._pick(train.select(order[:half]), train.select(order[half:]), test, seed)
        values = {
            **_marginals(train, test),
            "discriminator_auroc": comparison.discriminator_auroc(train, test, seed),
            "closest_record_share": comparison.closest_record_share(*picked),
            "membership_auroc": comparison.membership_auroc(*picked),
        }
        return values | self._utility(train, test, positive, seed)

    def _pick(
        self, train: Rows, generated: Rows, test: Rows, seed: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The features of some generated, training and test rows, of each as many."""
        rng = np.random.default_rng(seed)
        size = min(self.records, *(len(rows) for rows in (train, generated, test)))
        first, made, held_out = (
            comparison.features(rows.select(rng.permutation(len(rows))[:size]), train)
            for rows in (train, generated, test)
        )
        return made, first, held_out

    def _utility(self, fit: Rows, test: Rows, positive: int | None, seed: int) -> dict[str, float]:
        if self.target is None:
            return {}
        found = train_and_test(fit, test, self.target, positive, seed)
        return {
            "utility_f1": float(np.mean(list(found.f1.values()))),
            "utility_auroc": float(np.mean(list(found.auroc.values()))),
        }

    def _read(self, model: vaezoo.Model, loader: vaezoo.Loader) -> Rows:
        x = torch.cat([batch.x for batch in loader.ordered()]).cpu().double()
        return to_rows(model.data.to_source_units(x).numpy(), columns_of(model.data))


def _marginals(train: Rows, rows: Rows) -> dict[str, float]:
    """What differs from the training rows: marginals, associations, and what always holds."""
    numbers, categories = comparison.marginal_distances(train, rows)
    values = {}
    if numbers:
        values["marginal_ks"] = float(np.mean(numbers))
    if categories:
        values["marginal_tv"] = float(np.mean(categories))
    if len(numbers) + len(categories) > 1:
        difference = comparison.associations(train) - comparison.associations(rows)
        values["association_error"] = float(np.abs(difference).mean())
    share = comparison.contradictions(train, rows)
    return values if share is None else {**values, "contradictions": share}

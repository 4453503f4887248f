"""The metric of generated rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt

import vaezoo
from vaezoo_tabular import comparison
from vaezoo_tabular.columns import columns_of
from vaezoo_tabular.comparison import Rows, to_rows
from vaezoo_tabular.utility import train_and_test


class SyntheticRows(vaezoo.Metric):
    """Compares generated rows with those of a split, and with the training rows.

    One set of generated rows gives all numbers. Each has a ``floor``: the same number of training
    rows in place of generated ones.

    - ``marginal_ks``: the Kolmogorov-Smirnov distance from the training rows, averaged over
      columns of numbers; ``marginal_tv``: the total variation, averaged over other columns.
    - ``association_error``: the difference of the associations of two columns, averaged over
      pairs: absolute correlation, correlation ratio or Cramer's V.
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
        {"marginal_ks", "marginal_tv", "association_error", "discriminator_auroc"}
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
        count = self.rows or len(train)
        x = model.data.to_source_units(model.sample(count).cpu().double()).numpy()
        generated = to_rows(x, columns_of(model.data))
        seed = int(torch.randint(2**31, ()))
        values = {
            **_marginals(train, generated, test),
            **_distinguished(train, generated, test, seed, self.records),
            **self._utility(model, train, generated, test, seed),
        }
        return {
            name: vaezoo.Estimate(
                value, None, len(test), {"floor": floor, "rows": count}, unit=unit
            )
            for name, (value, floor, unit) in values.items()
        }

    def _read(self, model: vaezoo.Model, loader: vaezoo.Loader) -> Rows:
        x = torch.cat([batch.x for batch in loader.ordered()]).cpu().double()
        return to_rows(model.data.to_source_units(x).numpy(), columns_of(model.data))

    def _utility(
        self, model: vaezoo.Model, train: Rows, generated: Rows, test: Rows, seed: int
    ) -> dict[str, tuple[float, float, str]]:
        if self.target is None:
            return {}
        columns = {column.name: column for column in columns_of(model.data)}
        column = columns.get(self.target)
        if column is None or not column.is_modelled or not column.categories:
            raise ValueError(f"target: {self.target!r} is no modelled column of categories")
        positive = None
        if self.positive is not None:
            if self.positive not in column.categories:
                raise ValueError(f"positive: {self.target!r} has no value {self.positive!r}")
            positive = column.categories.index(self.positive)
        found = train_and_test(generated, test, self.target, positive, seed)
        real = train_and_test(train, test, self.target, positive, seed)
        return {
            "utility_f1": (_mean(found.f1), _mean(real.f1), ""),
            "utility_auroc": (_mean(found.auroc), _mean(real.auroc), ""),
        }


def _mean(values: Mapping[str, float]) -> float:
    return float(np.mean(list(values.values())))


def _marginals(train: Rows, generated: Rows, test: Rows) -> dict[str, tuple[float, float, str]]:
    """Distances of marginals and associations from the training rows."""
    found = comparison.marginal_distances(train, generated)
    floor = comparison.marginal_distances(train, test)
    values = {
        name: (float(np.mean(a)), float(np.mean(b)), "")
        for name, a, b in zip(("marginal_ks", "marginal_tv"), found, floor, strict=True)
        if a
    }
    real = comparison.associations(train)
    if len(real):
        errors = [
            float(np.abs(real - comparison.associations(rows)).mean())
            for rows in (generated, test)
        ]
        values["association_error"] = (errors[0], errors[1], "")
    return values


def _distinguished(
    train: Rows, generated: Rows, test: Rows, seed: int, records: int
) -> dict[str, tuple[float, float, str]]:
    """Whether generated rows can be told from training rows, or are too close to them."""
    rng = np.random.default_rng(seed)
    size = min(records, len(train) // 2, len(generated), len(test))
    picked = [rows.select(rng.permutation(len(rows))) for rows in (train, generated, test)]
    first, made, held_out = (
        comparison.features(rows.select(np.arange(size)), train) for rows in picked
    )
    others = comparison.features(picked[0].select(np.arange(size, 2 * size)), train)
    return {
        "discriminator_auroc": (
            comparison.discriminator_auroc(picked[0], picked[1], seed),
            comparison.discriminator_auroc(picked[0], picked[2], seed),
            "",
        ),
        "closest_record_share": (
            comparison.closest_record_share(made, first, held_out),
            comparison.closest_record_share(others, first, held_out),
            "share",
        ),
        "membership_auroc": (
            comparison.membership_auroc(made, first, held_out),
            comparison.membership_auroc(others, first, held_out),
            "",
        ),
    }

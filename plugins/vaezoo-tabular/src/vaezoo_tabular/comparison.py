"""Compares rows with other rows: marginals, associations, and whether they can be told apart.

Shapes: n rows, F features of a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from vaezoo_tabular.columns import Column, exact_numbers

_LEAVES = 5
"""The fewest rows in a leaf of the forest that tells rows apart, and of a value that determines
another one."""


_FEW_VALUES = 100
"""The most values of a column that may determine another one."""


@dataclass(frozen=True)
class Rows:
    """Rows of a table in columns.

    Attributes:
        numbers: the numbers of a column in the units of the source, NaN where missing, by name.
        categories: the index of the category of each row, the number of categories where it is
            missing, by name.
        counts: the number of categories of a column, with one for missing cells, by name.
    """

    numbers: Mapping[str, np.ndarray]
    categories: Mapping[str, np.ndarray]
    counts: Mapping[str, int]

    def __len__(self) -> int:
        return len(next(iter({**self.numbers, **self.categories}.values())))

    def select(self, index: np.ndarray) -> Rows:
        """The rows at some places."""
        return Rows(
            {name: values[index] for name, values in self.numbers.items()},
            {name: values[index] for name, values in self.categories.items()},
            self.counts,
        )

    def without(self, name: str) -> Rows:
        """The rows without a column."""
        return Rows(
            {key: values for key, values in self.numbers.items() if key != name},
            {key: values for key, values in self.categories.items() if key != name},
            self.counts,
        )


def to_rows(x: np.ndarray, columns: Sequence[Column]) -> Rows:
    """Rows of x in the units of the source, ``[n, D]``."""
    numbers, categories, counts = {}, {}, {}
    for column in columns:
        if not column.is_modelled:
            continue
        values = x[:, column.start].astype(np.float64)
        missing = x[:, column.start + 1] > 0.5 if column.has_missing else None
        if column.categories:
            index = np.rint(values).astype(np.int64)
            count = len(column.categories)
            categories[column.name] = index if missing is None else np.where(missing, count, index)
            counts[column.name] = count + 1
        else:
            values = exact_numbers(column, values)
            numbers[column.name] = values if missing is None else np.where(missing, np.nan, values)
    return Rows(numbers, categories, counts)


def kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> float:
    """The greatest difference between two empirical distribution functions; NaN is left out."""
    a, b = np.sort(a[~np.isnan(a)]), np.sort(b[~np.isnan(b)])
    if not len(a) or not len(b):
        return float(len(a) != len(b))
    values = np.concatenate([a, b])
    below_a = np.searchsorted(a, values, "right") / len(a)
    below_b = np.searchsorted(b, values, "right") / len(b)
    return float(np.abs(below_a - below_b).max())


def total_variation(a: np.ndarray, b: np.ndarray, count: int) -> float:
    """Half the sum of the differences between the shares of categories."""
    shares = [np.bincount(each, minlength=count) / len(each) for each in (a, b)]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def marginal_distances(a: Rows, b: Rows) -> tuple[list[float], list[float]]:
    """The Kolmogorov-Smirnov distance of each column of numbers, and the total variation of each
    column of categories."""
    numbers = [kolmogorov_smirnov(values, b.numbers[name]) for name, values in a.numbers.items()]
    categories = [
        total_variation(values, b.categories[name], a.counts[name])
        for name, values in a.categories.items()
    ]
    return numbers, categories


def associations(rows: Rows) -> np.ndarray:
    """The association of each pair of columns, from 0 to 1.

    The absolute correlation of two columns of numbers, the correlation ratio of numbers and
    categories, and Cramer's V of two columns of categories. Rows in which a number is missing are
    left out.
    """
    names = [*rows.numbers, *rows.categories]
    pairs = ((first, second) for i, first in enumerate(names) for second in names[:i])
    return np.array([_association(rows, first, second) for first, second in pairs])


def _association(rows: Rows, first: str, second: str) -> float:
    if first in rows.numbers:  # then the second is one of numbers, too
        return _correlation(rows.numbers[first], rows.numbers[second])
    if second in rows.numbers:
        return _correlation_ratio(rows.numbers[second], rows.categories[first])
    return _cramers_v(rows.categories[first], rows.categories[second])


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    given = ~np.isnan(a) & ~np.isnan(b)
    a, b = a[given], b[given]
    if len(a) < 2 or not a.std() or not b.std():
        return 0.0
    return float(abs(np.corrcoef(a, b)[0, 1]))


def _correlation_ratio(numbers: np.ndarray, categories: np.ndarray) -> float:
    given = ~np.isnan(numbers)
    numbers, categories = numbers[given], categories[given]
    total = np.square(numbers - numbers.mean()).sum() if len(numbers) else 0.0
    if not total:
        return 0.0
    counts = np.bincount(categories)
    means = np.bincount(categories, numbers) / np.maximum(counts, 1)
    between = (counts * np.square(means - numbers.mean()))[counts > 0].sum()
    return float(np.sqrt(between / total))


def _cramers_v(a: np.ndarray, b: np.ndarray) -> float:
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)
    table = table[table.any(1)][:, table.any(0)]
    if min(table.shape) < 2:
        return 0.0
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    chi_squared = (np.square(table - expected) / expected).sum()
    return float(np.sqrt(chi_squared / table.sum() / (min(table.shape) - 1)))


def contradictions(real: Rows, generated: Rows) -> float | None:
    """The share of generated rows that contradict what holds in all real rows.

    A column with few values may determine another one, as the name of a degree determines its
    number: two real rows that have the same value of the first never differ in the second. A
    generated row contradicts that if its value of the first has another value of the second.

    Returns:
        The share, or None if no column determines another one.
    """
    real_codes, generated_codes = _codes(real, generated)
    wrong, found = np.zeros(len(generated), bool), False
    for first, a in real_codes.items():
        for second, b in real_codes.items():
            value = _determined(a, b) if first != second else None
            if value is None:
                continue
            found = True
            ours, theirs = generated_codes[first], generated_codes[second]
            is_known = ours < len(value)
            wrong[is_known] |= value[ours[is_known]] != theirs[is_known]
    return float(wrong.mean()) if found else None


def _codes(real: Rows, generated: Rows) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The values of columns with few of them as indices; first those of the real rows."""
    found: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = ({}, {})
    columns = [(real.numbers, generated.numbers), (real.categories, generated.categories)]
    for ours, theirs in columns:
        for name, values in ours.items():
            known, codes = np.unique(values, return_inverse=True)
            if not 1 < len(known) <= _FEW_VALUES:
                continue
            places = np.searchsorted(known, theirs[name]).clip(max=len(known) - 1)
            both_missing = np.isnan(known[places]) & np.isnan(theirs[name])
            equal = (known[places] == theirs[name]) | both_missing
            found[0][name], found[1][name] = codes, np.where(equal, places, len(known))
    return found


def _determined(a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """The value of b for each value of a, if there is one only; None otherwise.

    Every value of a is that of several rows, so that this does not hold by chance.
    """
    if np.bincount(a).min() < _LEAVES:
        return None
    value = np.zeros(a.max() + 1, np.int64)
    value[a] = b
    return value if (value[a] == b).all() else None


def features(rows: Rows, scale_by: Rows) -> np.ndarray:
    """Rows as vectors ``[n, F]``: numbers standardised, with an indicator of missing ones where
    some are, and categories one-hot.

    Args:
        rows: the rows.
        scale_by: rows from whose numbers mean and standard deviation are taken.
    """
    return np.concatenate(list(_features(rows, scale_by)), 1)


def _features(rows: Rows, scale_by: Rows) -> Iterator[np.ndarray]:
    for name, values in rows.numbers.items():
        known = scale_by.numbers[name]
        scale = np.nanstd(known) or 1.0
        scaled = (values - np.nanmean(known)) / scale
        yield np.nan_to_num(scaled)[:, None]
        if np.isnan(known).any():
            yield np.isnan(values)[:, None].astype(np.float64)
    for name, values in rows.categories.items():
        yield np.eye(rows.counts[name])[values]


def discriminator_auroc(real: Rows, generated: Rows, seed: int) -> float:
    """How well a random forest tells rows apart, as the area under its ROC curve on other rows.

    It is .5 if they cannot be told apart. The forest sees categories as indices.
    """
    n, rng = min(len(real), len(generated)), np.random.default_rng(seed)
    # rows of a table may be in order
    x = np.concatenate(
        [_plain(rows)[rng.permutation(len(rows))[:n]] for rows in (real, generated)]
    )
    is_real = np.repeat([1, 0], n)
    order = rng.permutation(2 * n)
    train, test = order[:n], order[n:]
    forest = RandomForestClassifier(100, min_samples_leaf=_LEAVES, random_state=seed)
    forest.fit(x[train], is_real[train])
    return float(roc_auc_score(is_real[test], forest.predict_proba(x[test])[:, 1]))


def _plain(rows: Rows) -> np.ndarray:
    numbers = [np.nan_to_num(each, nan=-1e30) for each in rows.numbers.values()]
    return np.stack([*numbers, *rows.categories.values()], 1)


def nearest_distances(rows: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The distance of each vector to the nearest one of others, ``[n]``."""
    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(among)
    return search.kneighbors(rows)[0][:, 0]


def closest_record_share(generated: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> float:
    """The share of generated rows that are closer to a training row than to a held-out row.

    Ties count half. It is .5 if rows of training are not copied. There are as many training rows
    as held-out rows.
    """
    near, far = nearest_distances(generated, train), nearest_distances(generated, held_out)
    return float((near < far).mean() + (near == far).mean() / 2)


def membership_auroc(generated: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> float:
    """How well the distance to the closest generated row tells training rows from held-out rows.

    It is .5 if it tells nothing.
    """
    distance = nearest_distances(np.concatenate([train, held_out]), generated)
    is_member = np.repeat([1, 0], [len(train), len(held_out)])
    return float(roc_auc_score(is_member, -distance))

"""Log-likelihoods of rows under simple models: a Gaussian copula and a Chow-Liu tree.

    python benchmarks/table_baselines.py plugins/vaezoo-tabular/examples/adult.yaml

Both have the marginals of the likelihood ``table``: a probability for each category, known value
and missing cell, and its density within a bin. So they compare with the NLL of a run of the spec.
Prints the NLL of the test rows in nats per row.

Shapes: n rows, S cells of a row (values and indicators), K cases of a cell.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from scipy.stats import norm
from vaezoo_tabular.cases import Cases
from vaezoo_tabular.facts import columns_of

import vaezoo

BINS = 20
"""The number of bins of the Chow-Liu tree."""
SMOOTHING = 0.1
"""Added to each count."""


class Marginals:
    """Cases of the columns and their frequencies in the training rows.

    A missing cell is a case of its column.
    """

    def __init__(self, data: vaezoo.DataSpec, train: torch.Tensor) -> None:
        self.columns = [column for column in columns_of(data) if column.is_modelled]
        self.cases = [Cases(column) for column in self.columns]
        indices = self.indices(train)
        counts = [np.bincount(index, minlength=each.count + 1) + SMOOTHING
                  for index, each in zip(indices.T, self.cases, strict=True)]  # fmt: skip
        self.log_p = [np.log(each / each.sum()) for each in counts]

    def indices(self, x: torch.Tensor) -> np.ndarray:
        """The case of each cell, ``[n, S]``; the last one where it is missing."""
        found = []
        for column, cases in zip(self.columns, self.cases, strict=True):
            index = cases(x[:, column.start]).numpy()
            if column.has_missing:
                index = np.where(x[:, column.start + 1] > 0.5, cases.count, index)
            found.append(index)
        return np.stack(found, 1)

    def log_density(self, x: torch.Tensor) -> np.ndarray:
        """The log-density of each cell within its case, ``[n, S]``; 0 of a single value."""
        densities, indices = [], self.indices(x)
        for j, (column, cases) in enumerate(zip(self.columns, self.cases, strict=True)):
            index, first = indices[:, j], len(cases.values)
            is_inside = (index >= first) & (index < first + len(cases.edges) - 1)
            density = cases.log_density(x[:, column.start]).numpy() if is_inside.any() else 0.0
            densities.append(np.where(is_inside, density, 0.0))
        return np.stack(densities, 1)

    def nll(self, index: np.ndarray, density: np.ndarray) -> np.ndarray:
        """-log p of each row with independent columns, ``[n]``.

        Args:
            index: the case of each cell.
            density: the log-density within it.
        """
        return -density.sum(1) - sum(
            log_p[index[:, j]] for j, log_p in enumerate(self.log_p)
        )  # fmt: skip


def copula_nll(
    marginals: Marginals, train: np.ndarray, test: np.ndarray, density: np.ndarray
) -> np.ndarray:
    """-log p of the test rows under a Gaussian copula with these marginals, ``[n]``.

    The place of a case in the distribution function is its middle.
    """

    def scores(index: np.ndarray) -> np.ndarray:
        columns = []
        for j, log_p in enumerate(marginals.log_p):
            p = np.exp(log_p)
            columns.append(norm.ppf((p.cumsum() - p / 2).clip(1e-6, 1 - 1e-6))[index[:, j]])
        return np.stack(columns, 1)

    z = scores(train)
    correlation = np.corrcoef(z.T) * (1 - 1e-4) + np.eye(z.shape[1]) * 1e-4
    precision, (_, log_det) = np.linalg.inv(correlation), np.linalg.slogdet(correlation)
    z = scores(test)
    quadratic = np.einsum("ni,ij,nj->n", z, precision - np.eye(z.shape[1]), z)
    return marginals.nll(test, density) + 0.5 * log_det + 0.5 * quadratic


def tree_nll(
    marginals: Marginals, train: np.ndarray, test: np.ndarray, density: np.ndarray
) -> np.ndarray:
    """-log p of the test rows under a Chow-Liu tree over columns with few bins, ``[n]``."""
    groups = [_groups(log_p, cases.categories) for log_p, cases in
              zip(marginals.log_p, marginals.cases, strict=True)]  # fmt: skip
    train_bins, test_bins = (
        np.stack([group[index[:, j]] for j, group in enumerate(groups)], 1)
        for index in (train, test)
    )
    joint = {}
    columns = range(train.shape[1])
    for i in columns:
        for j in range(i):
            table = np.full((groups[i].max() + 1, groups[j].max() + 1), SMOOTHING)
            np.add.at(table, (train_bins[:, i], train_bins[:, j]), 1)
            joint[i, j] = table / table.sum()
    within = density.sum(1)
    root = [
        np.bincount(train_bins[:, j], minlength=groups[j].max() + 1) + SMOOTHING for j in columns
    ]
    root = [each / each.sum() for each in root]
    for j in columns:
        p = np.exp(marginals.log_p[j])
        inside = marginals.log_p[j] - np.log(np.bincount(groups[j], p))[groups[j]]
        within += inside[test[:, j]]
    log_p = np.log(root[0][test_bins[:, 0]])
    inside_tree, edges = {0}, dict(joint)
    information = {key: _information(table) for key, table in joint.items()}
    while len(inside_tree) < len(columns):
        i, j = max(
            (key for key in edges if (key[0] in inside_tree) != (key[1] in inside_tree)),
            key=information.__getitem__,
        )
        child, parent = (i, j) if j in inside_tree else (j, i)
        table = joint[i, j] if child == i else joint[i, j].T
        conditional = table / table.sum(0)
        log_p += np.log(conditional[test_bins[:, child], test_bins[:, parent]])
        inside_tree.add(child)
    return -(log_p + within)


def _groups(log_p: np.ndarray, categories: int) -> np.ndarray:
    """The bin of each case: of categories each its own, of others about as many rows each."""
    if categories or len(log_p) <= BINS:
        return np.arange(len(log_p))
    p = np.exp(log_p[:-1])  # the last case is a missing cell
    bins = np.floor((p.cumsum() - p / 2) * (BINS - 1)).astype(int)
    _, bins = np.unique(bins, return_inverse=True)
    return np.append(bins, bins.max() + 1)


def _information(table: np.ndarray) -> float:
    expected = table.sum(1, keepdims=True) * table.sum(0)
    return float((table * np.log(table / expected)).sum())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("spec", type=Path)
    dataset = vaezoo.load_spec(parser.parse_args().spec).data.build()
    train, test = dataset.split("train").x, dataset.split("test").x
    marginals = Marginals(dataset.spec, train)
    index, held_out = marginals.indices(train), marginals.indices(test)
    density = marginals.log_density(test)
    for name, nll in (
        ("independent columns", marginals.nll(held_out, density)),
        ("Gaussian copula", copula_nll(marginals, index, held_out, density)),
        (f"Chow-Liu tree, {BINS} bins", tree_nll(marginals, index, held_out, density)),
    ):
        error = nll.std() / math.sqrt(len(nll))
        print(f"{name:24} {nll.mean():.3f} ± {error:.3f} nats per row")


if __name__ == "__main__":
    main()

"""Numbers within a bin are distributed as those of the training rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from vaezoo_tabular.cases import Cases
from vaezoo_tabular.columns import Column
from vaezoo_tabular.dataset import Table
from vaezoo_tabular.facts import columns_of
from vaezoo_tabular.pieces import divide_bins, sizes_of
from vaezoo_tabular.row import Row
from vaezoo_tabular.row_cells import RowCells

NONE = np.empty(0)


def divide(numbers, edges, step=0.0, known=NONE):
    values, counts = np.unique(numbers, return_counts=True)
    pieces, shares = divide_bins(
        values, counts, np.array(edges, float), known, step, resolution=1e-9
    )
    return np.array(pieces), np.array(shares)


def test_evenly_spread_numbers_are_one_piece():
    pieces, shares = divide(np.linspace(0, 1, 1000), [0, 0.5, 1])
    assert pieces.tolist() == [0, 0.5, 1] and shares.tolist() == [1, 1]
    pieces, _ = divide(np.array([0.0, 0.9, 0.91, 0.92]), [0, 1])
    assert pieces.tolist() == [0, 1]  # too few rows


def test_a_piece_has_the_share_of_its_rows():
    """With half a row more for each piece."""
    numbers = np.random.default_rng(0).exponential(1, 5000)
    pieces, shares = divide(numbers, [0, 1, 20])
    assert len(pieces) > 8 and {0, 1, 20} <= {*pieces.tolist()}
    for low, high in ((0, 1), (1, 20)):
        inside = (pieces[:-1] >= low) & (pieces[:-1] < high)
        ends = np.append(pieces[:-1][inside], high)
        rows = np.histogram(numbers, ends)[0] + 0.5
        np.testing.assert_allclose(shares[inside], rows / rows.sum(), rtol=1e-4)


def test_a_frequent_whole_number_is_a_piece():
    numbers = np.concatenate([np.arange(900, 1100), np.full(60, 1000)])
    pieces, shares = divide(numbers, [900, 1100], step=1.0)
    place = pieces.tolist().index(1000)
    assert pieces[place + 1] == 1001
    assert len(pieces) == 4 and shares[place] == pytest.approx(61.5 / 261.5, rel=1e-5)


def test_known_values_are_in_no_piece():
    sizes = sizes_of(np.array([0.0, 4.0, 5.0, 10.0]), np.array([2.0, 4.0, 20.0]), 1.0)
    assert sizes.tolist() == [3, 0, 5]
    numbers = np.concatenate([np.arange(0, 40), np.full(80, 11), np.full(80, 13)])
    numbers = numbers[numbers != 12]
    pieces, shares = divide(numbers, [0, 40], step=1.0, known=np.array([12.0]))
    assert shares[pieces.tolist().index(12)] == 0  # between two frequent numbers


@pytest.fixture(params=["numeric", "integer"])
def fitted(request, tmp_path):
    """A column with heavy tails and a frequent number, its training rows, and its decimals."""
    whole = request.param == "integer"
    values = np.random.default_rng(0).lognormal(6, 1.5, 4000)
    values = np.floor(values) if whole else values
    values[:30] = 1000.0
    text = [f"{value:.0f}" if whole else f"{value:.6f}" for value in values]
    lines = [f"{cell},{'ab'[i % 2]}" for i, cell in enumerate(text)]
    (tmp_path / "t.csv").write_text("\n".join(["n,town", *lines]))
    data = Table(path=str(tmp_path / "t.csv"), max_values=50, bins=16)
    train = data.split("train").x[:, 0].double()
    column = columns_of(data.spec)[0]
    return column, (train * column.scale + column.offset).numpy()


def test_draws_are_distributed_as_the_training_rows(fitted):
    """Where each case has its frequency; an even density within bins is not."""
    column, train = fitted
    torch.manual_seed(0)

    def draw(of: Column) -> np.ndarray:
        cases = Cases(of)
        case = cases(torch.from_numpy((train - of.offset) / of.scale).float())
        drawn = cases.draw(case.repeat_interleave(5))
        return drawn.double().numpy() * of.scale + of.offset

    distance = stats.ks_2samp(draw(column), train).statistic
    even = replace(column, pieces=(), shares=())
    assert distance < 0.012 < 0.02 < stats.ks_2samp(draw(even), train).statistic
    tail, flat = (np.quantile(draw(each), 0.995) for each in (column, even))
    top = np.quantile(train, 0.995)
    assert 0.8 < tail / top < 1.25 < flat / top


def test_densities_of_all_numbers_sum_to_one(fitted):
    column, train = fitted
    torch.manual_seed(0)
    cells = RowCells([column], {}, units=0, dropout=0.0)
    row = Row(cells, torch.randn(cells.parameter_count))
    if column.step:
        numbers = np.arange(train.min(), train.max() + 1)
        weights = np.ones(len(numbers))
    else:
        pieces = np.array(column.pieces)
        numbers = np.append((pieces[1:] + pieces[:-1]) / 2, column.values)
        weights = np.append(np.diff(pieces) / column.scale, np.ones(len(column.values)))
    x = torch.from_numpy((numbers - column.offset) / column.scale).float()
    probability = row.log_prob(x[:, None]).exp().double()
    assert float((probability * torch.from_numpy(weights)).sum()) == pytest.approx(
        1 - 1e-4, rel=1e-3 if column.step else 1e-5
    )


def test_the_middle_of_a_bin_is_the_median_of_its_rows(fitted):
    column, train = fitted
    cases = Cases(column)
    known, bins = len(column.values), len(column.edges) - 1
    x = torch.from_numpy((train - column.offset) / column.scale).float()
    case, middle = cases(x), cases.middle(torch.arange(known, known + bins))
    middle = middle.double().numpy() * column.scale + column.offset
    for i in (0, bins // 2, bins - 1):
        inside = train[case.numpy() == known + i]
        share = (inside < middle[i]).mean(), (inside <= middle[i]).mean()
        # a bin that is divided no further has its median within .15 of its middle
        assert share[0] - 0.2 < 0.5 < share[1] + 0.2

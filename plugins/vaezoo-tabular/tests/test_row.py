"""The distribution of rows: normalised, as computed by hand, and sampled as it says."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from vaezoo_tabular.columns import Column
from vaezoo_tabular.row import Row
from vaezoo_tabular.row_cells import RowCells

TOWN = Column(name="town", kind="categorical", start=0, categories=("a", "b", "c"))
AGE = Column(
    name="age",
    kind="integer",
    start=1,
    has_missing=True,
    step=1.0,
    offset=5.0,
    scale=2.0,
    values=(3.0, 4.0, 9.0),
)
SIZE = Column(
    name="size",
    kind="numeric",
    start=3,
    offset=1.0,
    scale=0.5,
    values=(0.0,),
    edges=(0.5, 1.0, 2.0, 2.25),
)
COLUMNS = (TOWN, AGE, SIZE)


@pytest.fixture(params=[6, 0], ids=["dependent", "independent"])
def row(request):
    """A row's distribution for two codes, with random weights."""
    torch.manual_seed(0)
    cells = RowCells(COLUMNS, {}, units=request.param, dropout=0.0)
    with torch.no_grad():
        for parameter in cells.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return Row(cells, torch.randn(2, cells.parameter_count))


def standardised(town, age, size):
    """x of a row; an age of None is missing."""
    given = 0.0 if age is None else (age - 5) / 2
    return [float(town), given, float(age is None), (size - 1) / 0.5]


def test_probabilities_of_all_rows_sum_to_one(row):
    """Categories, known values, missing cells and bins, whose densities are integrated."""
    middles = {0.0: 1.0, 0.75: 0.5, 1.5: 1.0, 2.125: 0.25}  # a bin by its middle: its width
    rows = list(itertools.product(range(3), (3, 4, 9, None), middles))
    x = torch.tensor([standardised(*values) for values in rows])
    widths = torch.tensor([1.0 if size == 0 else middles[size] / 0.5 for *_, size in rows])
    probability = row.log_prob(x[:, None]).exp() * widths[:, None]  # [rows, 2]
    elsewhere = 1e-4  # of each number: ages that are given and sizes
    given = torch.tensor([age is not None for _, age, _ in rows])
    complete = probability[given].sum(0) / (1 - elsewhere) ** 2
    missing = probability[~given].sum(0) / (1 - elsewhere)
    torch.testing.assert_close(complete + missing, torch.ones(2), rtol=1e-5, atol=1e-5)


def test_cells_are_computed_as_by_hand(row):
    """NADE in numpy, from the weights."""
    cells, units = row.cells, row.cells.units
    x = torch.tensor(standardised(2, 9, 1.5))
    order, sizes = [0, 2, 1, 3], [3, 3, 2, 4]  # an indicator comes before its value
    assert cells.order == order and cells.sizes == sizes
    cases = {0: 2, 2: 0, 1: 2, 3: 2}  # c, given, 9, the second bin
    state = row.context.numpy().astype(np.float64)
    log_p = np.zeros(2)
    for place in order:
        if units:
            out = cells.out[place]
            logits = np.maximum(state, 0) @ out.weight.detach().numpy().T
            logits = logits + out.bias.detach().numpy()
            state = state + cells.embeddings[place].weight[cases[place]].detach().numpy()
            if place in (1, 3):  # numbers
                state = state + float(x[place]) * cells.slopes[place].detach().numpy()
        else:
            start = sum(sizes[:place])
            logits = state[:, start : start + sizes[place]]
        log_p += logits[:, cases[place]] - np.log(np.exp(logits).sum(1))
    log_p += 2 * math.log1p(-1e-4) - math.log(2.0)  # of the bin: 1 / 0.5 standard deviations
    np.testing.assert_allclose(row.log_prob(x).detach().numpy(), log_p, rtol=1e-4)


def test_samples_have_the_probabilities_of_rows(row):
    torch.manual_seed(1)
    with torch.no_grad():
        x = row.sample((40_000,))[:, 0]  # [n, D]
        for values in ((0, 3, 0.0), (1, None, 0.0), (2, 9, 0.0)):
            wanted = torch.tensor(standardised(*values))
            share = (x - wanted).abs().lt(1e-4).all(1).double().mean()
            expected = row.log_prob(wanted)[0].exp().double()
            error = math.sqrt(float(expected * (1 - expected)) / len(x))
            assert abs(share - expected) < 5 * error + 1e-5
    in_bins = x[:, 3] > -2
    assert (x[in_bins, 3] * 0.5 + 1 >= 0.5).all() and (x[in_bins, 3] * 0.5 + 1 <= 2.25).all()
    assert (x[x[:, 2] > 0.5, 1] == 0).all()


def test_the_mode_is_the_likeliest_cell_each(row):
    mode = row.mode
    for other in row.sample((50,)):
        first = row.log_prob_of_cells(mode)[:, 0]
        assert (row.log_prob_of_cells(other)[:, 0] <= first + 1e-6).all()
    cold = row.tempered(0.0).sample()
    assert torch.equal(cold[:, 0], mode[:, 0]) and torch.equal(cold[:, 2], mode[:, 2])


def test_known_cells_are_kept_and_weigh_as_their_probability(row):
    x = torch.tensor(standardised(1, 4, 0.0)).expand(2, 4)
    known = torch.tensor([True, True, True, False]).expand(2, 4)
    with torch.no_grad():
        rows, log_weight = row.complete(x, known)
        parts = row.log_prob_of_cells(x)
    assert torch.equal(rows[:, :3], x[:, :3])
    torch.testing.assert_close(log_weight, parts[:, :3].sum(1))
    # with the later cells known, the weights average to the probability of what is known
    known = torch.tensor([False, False, False, True]).expand(2, 4)
    with torch.no_grad():
        many = Row(row.cells, row.context.expand(20_000, 2, -1))
        _, log_weight = many.complete(x, known)
        rows = [
            standardised(*values, 0.0) for values in itertools.product(range(3), (3, 4, 9, None))
        ]
        exact = row.log_prob(torch.tensor(rows)[:, None]).exp().sum(0)
        missing = row.log_prob(
            torch.tensor([standardised(t, None, 0.0) for t in range(3)])[:, None]
        )
    exact = (exact - missing.exp().sum(0)) / (1 - 1e-4) + missing.exp().sum(0)
    torch.testing.assert_close(log_weight.exp().mean(0), exact, rtol=0.03, atol=1e-4)


def test_numbers_beyond_all_known_ones_are_improbable_but_possible(row):
    x = torch.tensor([standardised(0, 700, 1.0), standardised(0, 3, -50.0)])
    log_p = row.log_prob(x[:, None])
    assert log_p.isfinite().all() and (log_p < -8).all()


def test_a_cell_that_others_do_not_see_in_training():
    torch.manual_seed(0)
    cells = RowCells(COLUMNS, {}, units=6, dropout=0.5)
    context, x = torch.zeros(300, 6), torch.tensor(standardised(1, 4, 1.0)).expand(300, 4)
    first, *others = cells.train().teach(context, x)
    assert (first == 0).all()
    assert 0.3 < (others[0].sum(1) == 0).float().mean() < 0.7
    seen = cells.eval().teach(context, x)[1]
    assert (seen == seen[:1]).all()

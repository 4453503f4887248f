"""Columns of whole numbers and of counts: probabilities, bins and samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from vaezoo_tabular.cases import Cases
from vaezoo_tabular.dataset import Table
from vaezoo_tabular.facts import columns_of
from vaezoo_tabular.row import Row
from vaezoo_tabular.row_cells import RowCells

import vaezoo

FEW = {"max_values": 8, "bins": 6}


@pytest.fixture
def column_of(tmp_path):
    """The column of a table with these values beside a categorical one."""

    def write(values, kind="integer", **options):
        lines = [f"{value},{'ab'[i % 2]}" for i, value in enumerate(values)]
        (tmp_path / "t.csv").write_text("\n".join(["n,town", *lines]))
        table = Table(path=str(tmp_path / "t.csv"), kinds={"n": kind}, **options)
        return columns_of(table.spec)[0]

    return write


@pytest.fixture
def train(tmp_path):
    """Trains a model of the table for an epoch."""

    def run(likelihood="table", kind="integer"):
        spec = {
            "spec": "vaezoo/v2",
            "name": "t",
            "data": {"type": "table", "path": str(tmp_path / "t.csv"), "kinds": {"n": kind}},
            "model": {
                "latent_dim": 2,
                "encoder": "table",
                "decoder": {"type": "mlp", "hidden": [8]},
                "likelihood": likelihood,
            },
            "train": {"epochs": 1},
            "evaluate": ["elbo"],
        }
        return vaezoo.run(spec, out=tmp_path / "runs")

    return run


@pytest.fixture
def binned(column_of):
    """An integer column with a frequent value that lies within a bin."""
    rng = np.random.default_rng(0)
    return column_of([*rng.exponential(40, 900).astype(int).tolist(), *[60] * 90], **FEW)


def test_probabilities_of_whole_numbers_in_bins_sum_to_one(binned):
    assert 60.0 in binned.values and binned.edges[0] < 60 and len(binned.edges) > 3
    torch.manual_seed(0)
    cells = RowCells([binned], {}, units=0, dropout=0.0)
    row = Row(cells, torch.randn(cells.parameter_count))
    start = min(binned.values[0], binned.edges[0])
    numbers = torch.arange(start, binned.edges[-1], dtype=torch.float64)
    x = ((numbers - binned.offset) / binned.scale).float()
    probability = row.log_prob(x[:, None]).exp()
    assert float(probability.sum()) == pytest.approx(1 - 1e-4, rel=1e-5)
    drawn = row.sample((40_000,))[:, 0].double() * binned.scale + binned.offset
    torch.testing.assert_close(drawn, drawn.round(), rtol=0, atol=1e-3)
    counts = torch.bincount(drawn.round().long() - int(start), minlength=len(numbers))
    expected = probability.double() * 40_000
    z = (counts - expected) / expected.clamp(min=1).sqrt()
    assert len(counts) == len(numbers) and float(z.abs().max()) < 5


def test_a_drawn_number_is_of_the_case_that_it_was_drawn_from(binned):
    cases = Cases(binned)
    case = torch.arange(cases.count - 1).repeat_interleave(300)
    assert torch.equal(cases(cases.draw(case)), case)
    middle = cases.middle(torch.arange(cases.count - 1)).double() * binned.scale + binned.offset
    torch.testing.assert_close(middle, middle.round(), rtol=0, atol=1e-3)


def test_columns_whose_values_are_all_frequent_have_no_bins(column_of):
    column = column_of([i % 20 for i in range(800)], **FEW)
    assert len(column.values) == 20 and not column.edges
    column = column_of([*[i % 20 for i in range(2000)], 77], **FEW)
    assert len(column.values) >= 20 and not column.edges


@pytest.mark.parametrize("likelihood", ["poisson", "negative-binomial"])
def test_counts_of_a_table_have_a_distribution_over_counts(likelihood, column_of, train):
    column = column_of(np.random.default_rng(0).poisson(3, 400).tolist(), kind="count")
    model = train({"type": "table", "columns": {"n": likelihood}}, kind="count").model
    px = model.likelihood(torch.zeros(1, *model.likelihood.parameter_shape), {})
    numbers = torch.arange(60.0)
    x = torch.stack([(numbers - column.offset) / column.scale, torch.zeros(60)], 1)
    first = px.log_prob_of_cells(x[:, None])[:, 0, 0]
    assert float(first.detach().exp().sum()) == pytest.approx(1, abs=1e-4)
    drawn = model.data.to_source_units(model.sample(500).double())[:, 0]
    torch.testing.assert_close(drawn, drawn.round(), rtol=0, atol=1e-3)
    assert {0, 1, 2, 3} <= set(drawn.round().int().tolist()) and drawn.min() > -0.5


def test_limits_that_training_rows_exceed_are_refused(column_of, train):
    column_of([i % 20 for i in range(200)])
    limits = {"type": "truncated-normal", "low": 0, "high": 10}
    with pytest.raises(vaezoo.SpecError, match=r"column 'n' has 12, beyond low or high"):
        train({"type": "table", "columns": {"n": limits}})
    train({"type": "table", "columns": {"n": {**limits, "high": 19}}})


def test_hidden_cells_have_no_influence_and_are_encoded_as_hidden(column_of, train):
    column_of([i % 20 for i in range(200)])
    run = train()
    x = run.data("test").split.x[:4]
    other, mask = x.clone(), torch.ones_like(x, dtype=torch.bool)
    mask[:, 0], other[:, 0] = False, 1.7
    hidden, changed = (vaezoo.Batch(each, mask=mask) for each in (x, other))
    assert torch.equal(run.model.encode(hidden), run.model.encode(changed))
    assert not torch.equal(run.model.encode(hidden), run.model.encode(x))
    px = run.model.likelihood(torch.ones(4, *run.model.likelihood.parameter_shape), {})
    first, second = (px.log_prob_of_cells(each, mask)[:, 1] for each in (x, other))
    assert torch.equal(first, second)
    assert not torch.equal(first, px.log_prob_of_cells(x)[:, 1])

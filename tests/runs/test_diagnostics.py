"""Planted faults are named by the report and in comparisons; a good run has none."""

from __future__ import annotations

import math

import pytest

import vaezoo
from vaezoo.runs.comparison.frame import compare_runs
from vaezoo.runs.comparison.tables import tabulate
from vaezoo.runs.report.diagnostics import diagnose
from vaezoo.runs.run import report_data

MODEL = {
    "latent_dim": 6,
    "encoder": {"type": "mlp", "hidden": [128]},
    "decoder": {"type": "mlp", "hidden": [128]},
    "likelihood": "bernoulli",
}
DATA = {"type": "digits", "batch_size": 64, "binarize": "threshold"}
GOOD = {
    "data": DATA,
    "model": MODEL,
    "train": {"epochs": 15, "optimizer": {"type": "adam", "lr": 2e-3}},
}
PLANTED = {
    "collapse": {**GOOD, "regularizers": [{"type": "kl", "weight": 100.0}]},
    "overfitting": {
        **GOOD,
        "data": {**DATA, "fractions": [0.04, 0.48, 0.48]},
        "train": {"epochs": 250, "validate_every": 10, "optimizer": {"type": "adam", "lr": 4e-3}},
    },
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Runs with a planted fault, and a good one, each trained once."""
    from tests.conftest import tiny

    out, runs = tmp_path_factory.mktemp("runs"), {}

    def run(name):
        if name not in runs:
            blocks = PLANTED.get(name, GOOD)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("vaezoo.runs.report.page.write_report", lambda run: None)
                runs[name] = vaezoo.run(tiny(**{"name": name, **blocks}), out=out)
        return runs[name]

    return run


def kinds(run):
    return [each.kind for each in diagnose(run.records, run.evaluation)]


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_named(fault, trained):
    assert kinds(trained(fault)) == [fault]


def test_a_good_run_has_no_fault(trained):
    assert kinds(trained("good")) == []


@pytest.mark.parametrize("key", ["rate", "distortion"])
@pytest.mark.parametrize("value", [1e4, math.nan])
def test_a_run_that_diverged_for_a_while_is_named(key, value, trained):
    run = trained("good")
    records = [dict(record) for record in run.records]
    own = [record for record in records if record["split"] == "train"]
    own[len(own) // 2][key] = value
    (found,) = diagnose(records, run.evaluation)
    assert found.kind == "diverged" and f"the {key} of the train split" in found.text
    assert f"step {own[len(own) // 2]['step']:,}" in found.text


def test_large_values_of_the_first_steps_are_no_divergence(trained):
    run = trained("good")
    records = [dict(record) for record in run.records]
    for record in [record for record in records if record["split"] == "train"][:5]:
        record["rate"], record["distortion"] = 1e5, 1e6
    assert diagnose(records, run.evaluation) == []


def test_a_model_without_active_units_is_collapsed():
    evaluation = {"metrics": {"active_units": {"value": 0.0}}}
    (found,) = diagnose([], evaluation)
    assert found.kind == "collapse" and "no latent dimension is active" in found.text
    assert diagnose([], {"metrics": {}}) == []  # nothing is known


def test_the_report_and_the_comparison_name_it(trained, monkeypatch):
    from vaezoo.runs.report.html import render_page

    good, faulty = trained("good"), trained("collapse")
    page = render_page(report_data(faulty), {})
    assert '<p class="remark">collapse: the rate is' in page
    assert "remark" not in render_page(report_data(good), {}).partition("</style>")[2]
    table = tabulate(compare_runs([good, faulty], device="cpu"))
    (row,) = [row for row in table.rows if row.heading == "diagnosis"]
    assert list(row.cells) == ["-", "collapse"]

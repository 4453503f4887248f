"""Comparing runs: differences, what may not be ranked, claims, and the forms of the result."""

from __future__ import annotations

import json
import math
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from scipy import stats

import vaezoo
from vaezoo.cli.main import main
from vaezoo.runs.comparison.comparing import MetricRow, rank
from vaezoo.runs.comparison.frame import compare_runs
from vaezoo.runs.comparison.page import write_page
from vaezoo.runs.comparison.statistics import (
    Difference,
    holm,
    independent_difference,
    paired_difference,
)
from vaezoo.runs.comparison.subjects import training_seconds
from vaezoo.runs.comparison.tables import as_json, as_markdown, as_records, tabulate
from vaezoo.utils.digests import add_digest
from vaezoo.utils.errors import IntegrityError, UnavailableError, UsageError
from vaezoo.utils.files import read_json, read_tensors, write_json, write_tensors

EVALUATE = ["elbo", {"type": "nll", "samples": 3}, "rate", "active-units"]


def test_differences_are_those_of_scipy():
    first, second = torch.randn(40).double(), torch.randn(40).double() + 0.3
    paired = stats.ttest_rel(first.numpy(), second.numpy())
    welch = stats.ttest_ind(first.numpy(), second[:7].numpy(), equal_var=False)
    for ours, expected in (
        (paired_difference(first, second), paired),
        (independent_difference(first, second[:7]), welch),
    ):
        interval = expected.confidence_interval(0.95)
        assert ours.p == pytest.approx(expected.pvalue)
        assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high))
    same = paired_difference(first, first + 1)
    assert (same.mean, same.p) == (pytest.approx(-1), pytest.approx(0, abs=1e-9))
    assert paired_difference(first, first) == Difference(0, 0, 0, 1)


def test_p_values_are_corrected_by_holm():
    """The example of Holm's step-down procedure, worked out by hand."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_the_best_is_better_than_every_other_one():
    def found(p_values, means):
        row = MetricRow(name="a", unit="", values=[(m, None) for m in means], direction=-1)
        pairs = dict(zip([(0, 1), (0, 2), (1, 2)], p_values, strict=True))

        def difference(i, j):
            p = pairs[i, j]
            return Difference(1.0, 0.1 if p < 0.05 else -0.1, 2.0, p)

        return rank(row, (0, 1, 2), difference).best

    assert found((0.001, 0.001, 0.9), (1.0, 2.0, 3.0)) == 0
    assert found((0.001, 0.9, 0.001), (1.0, 2.0, 3.0)) is None
    assert found((0.04, 0.04, 0.9), (1.0, 2.0, 3.0)) is None  # too much for three pairs


@pytest.fixture
def pair(train):
    """Two runs of which the second is much better."""
    return [train(evaluate=EVALUATE, train={"epochs": n}).path for n in (1, 12)]


def metrics_of(paths):
    return {row.name: row for row in compare_runs(paths, device="cpu").metrics}


def test_two_weights_are_compared_over_test_examples(pair):
    comparison = compare_runs(pair, device="cpu")
    rows = {row.name: row for row in comparison.metrics}
    assert comparison.claim == "weights" and "3 of each are needed" in comparison.statement
    assert comparison.options == {"train.epochs": [1, 12]}
    assert (rows["nll"].best, rows["elbo"].best) == (1, 1)
    assert (rows["rate"].best, rows["active_units"].best) == (None, None)
    assert "said to be better" in rows["rate"].unranked
    assert "no mean over examples" in rows["active_units"].unranked
    values = [read_tensors(p / "evaluation-examples.safetensors")[0]["nll"].double() for p in pair]
    expected = stats.ttest_rel(*(each.numpy() for each in values)).confidence_interval()
    (found,) = rows["nll"].pairs
    assert found.difference.low == pytest.approx(expected.low)
    assert found.adjusted_p == found.difference.p  # of one pair


def test_equal_weights_have_no_best(pair, tmp_path):
    shutil.copytree(pair[0], tmp_path / "copy")
    rows = metrics_of([pair[0], tmp_path / "copy"])
    assert rows["nll"].best is None and rows["nll"].unranked == ""
    assert not rows["nll"].pairs[0].differs


def change_row(path, **values):
    content = read_json(path / "evaluation.json")
    content["metrics"]["nll"] |= values
    write_json(path / "evaluation.json", content)


def change_fingerprint(path):
    file = path / "evaluation-examples.safetensors"
    tensors, metadata = read_tensors(file)
    data = json.loads(metadata["data"]) | {"sha256": "0" * 64}
    write_tensors(file, tensors, {**metadata, "data": json.dumps(data)})


NOT_ALIKE = {
    "the samples differs: 3, 500": lambda path: change_row(path, samples=500),
    "the unit differs: nats per example, bits": lambda path: change_row(path, unit="bits"),
    "the kind of bound differs: stochastic upper bound of -log p(x), none": lambda path: (
        change_row(path, bound=None)
    ),
    "their fingerprints are not the same": change_fingerprint,
    "it has no values of single examples; --evaluate measures it": lambda path: (
        path / "evaluation-examples.safetensors"
    ).unlink(),
}


@pytest.mark.parametrize("reason", NOT_ALIKE)
def test_what_was_not_measured_alike_is_not_ranked(reason, pair):
    NOT_ALIKE[reason](pair[1])
    row = metrics_of(pair)["nll"]
    assert reason in row.unranked and row.best is None and not row.pairs
    assert all(value is not None for value in row.values)  # but shown


@pytest.mark.parametrize(
    ("blocks", "reason"),
    [
        (
            {"data": {"type": "digits", "batch_size": 128, "binarize": "threshold"}},
            "the binarization differs: none, threshold",
        ),
        ({"data": {"type": "digits", "split_seed": 1}}, "their fingerprints are not the same"),
        ({"evaluate": [{"type": "nll", "samples": 3, "limit": 9}]}, "number of examples differs"),
        (
            {"model": {"likelihood": "continuous-bernoulli"}},
            "p(x|z) is not normalised, and the likelihood differs",
        ),
    ],
)
def test_other_data_and_densities_are_not_ranked(blocks, reason, pair, train):
    other = train(**{"evaluate": EVALUATE, "train": {"epochs": 1}, **blocks})
    assert reason in metrics_of([pair[0], other.path])["nll"].unranked


def test_static_and_dynamic_binarization_have_the_same_test_examples(train):
    def trained(kind):
        data = {"type": "digits", "batch_size": 128, "binarize": kind}
        return train(data=data, train={"epochs": 1}).path

    assert metrics_of([trained("static"), trained("dynamic")])["elbo"].unranked == ""


def test_other_splits_are_not_ranked(pair, spec, tmp_path, no_report):
    other = vaezoo.run(
        spec(evaluate=EVALUATE), ["train.epochs=1"], out=tmp_path, evaluation_split="validation"
    )
    assert "the split differs: test, validation" in metrics_of([pair[0], other])["nll"].unranked


@pytest.fixture
def seeds(train):
    """Three seeds of two specs."""
    return [
        train(evaluate=["elbo", "active-units"], train={"epochs": epochs}, seed=seed).path
        for epochs in (1, 12)
        for seed in (0, 1, 2)
    ]


def test_with_three_seeds_each_the_claim_is_about_specs(seeds):
    comparison = compare_runs(seeds, device="cpu")
    assert comparison.claim == "specs" and len(comparison.columns) == 2
    row = comparison.metrics[0]
    values = [[s.metrics["elbo"]["value"] for s in c.subjects] for c in comparison.columns]
    expected = stats.ttest_ind(*values, equal_var=False).confidence_interval()
    assert row.best == 1
    assert row.pairs[0].difference.high == pytest.approx(expected.high)
    assert row.values[0][0] == pytest.approx(sum(values[0]) / 3)
    assert row.values[0][1] == pytest.approx(np.std(values[0], ddof=1) / math.sqrt(3))
    assert "over seeds" in comparison.statement
    fewer = compare_runs(seeds[1:], device="cpu")
    assert fewer.claim == "weights" and len(fewer.columns) == 5
    only_seeds = compare_runs(seeds[:3], device="cpu")
    assert "differ in the seed only" in only_seeds.statement


def test_seeds_of_one_spec_are_grouped_whatever_changes_no_result(train):
    runs = [
        train(name=name, seed=seed, train={"epochs": 1, "log_every": every})
        for name, seed, every in (("a", 0, 4), ("b", 1, 5), ("b", 2, 4))
    ]
    others = [train(seed=seed, train={"epochs": 2}) for seed in (0, 1, 2)]
    comparison = compare_runs([*runs, *others], device="cpu")
    assert [len(column.subjects) for column in comparison.columns] == [3, 3]


def test_the_forms_agree(seeds):
    comparison = compare_runs(seeds, device="cpu")
    content = as_json(comparison)
    table, (first, second) = tabulate(comparison), (c.label for c in comparison.columns)
    assert first != second and content["claim"] == "specs"
    assert content["metrics"]["elbo"]["best"] == second
    row = next(row for row in table.rows if row.heading.startswith("elbo"))
    assert row.heading == "elbo (higher is better)" and row.best == 1
    assert f"**{row.cells[1]}**" in as_markdown(comparison)
    records = as_records(comparison)
    assert [record["elbo_best"] for record in records] == [False] * 3 + [True] * 3
    assert [record["train.epochs"] for record in records] == [1] * 3 + [12] * 3
    assert records[0]["parameters"] > 1000 and records[0]["seconds"] > 0


def test_a_data_frame_of_what_is_installed(pair, monkeypatch):
    frame = vaezoo.compare(pair, device="cpu")
    assert type(frame).__module__.startswith("pandas") and list(frame["nll_best"]) == [False, True]
    monkeypatch.setattr("vaezoo.runs.comparison.frame._LIBRARIES", (("polars", "DataFrame"),))
    assert list(vaezoo.compare(pair, device="cpu")["nll_best"]) == [False, True]
    monkeypatch.setattr("vaezoo.runs.comparison.frame._LIBRARIES", (("absent", "DataFrame"),))
    with pytest.raises(UnavailableError, match="pip install pandas"):
        vaezoo.compare(pair)


def test_runs_that_cannot_be_compared_are_named(pair, tmp_path):
    for runs, message in (
        (pair[:1], "at least two"),
        ([pair[0], pair[0]], "is named twice"),
        ([pair[0], "absent"], "absent: not a run, and no weights"),
    ):
        with pytest.raises(UsageError, match=message):
            compare_runs(runs, device="cpu")
    (pair[1] / "evaluation.json").unlink()
    with pytest.raises(UsageError, match="not evaluated"):
        compare_runs(pair, device="cpu")


def test_what_lacks_values_of_examples_is_evaluated_on_demand(pair):
    file = pair[1] / "evaluation-examples.safetensors"
    before = file.read_bytes()
    file.unlink()
    comparison = compare_runs(pair, evaluate=True, device="cpu")
    assert comparison.metrics[1].best == 1 and file.read_bytes() == before


ODD_ROWS = (
    {"examples": {}},
    {"examples": True},
    {"examples": -1},
    {"standard_error": "x"},
    {"standard_error": []},
    {"standard_error": 10**400},
    {"unit": [1]},
    {"value": 10**400},
    {"value": True},
    {"value": None},
    {"note": 3},
    {"bound": []},
    {"series": 3},
    {"samples": "many"},
)


def test_an_evaluation_of_other_types_is_damaged(pair, capsys):
    file = pair[1] / "evaluation.json"
    whole = read_json(file)
    for odd in ODD_ROWS:
        rows = {**whole["metrics"], "elbo": {**whole["metrics"]["elbo"], **odd}}
        file.write_text(add_digest(json.dumps({**whole, "metrics": rows})))
        with pytest.raises(IntegrityError) as raised:
            vaezoo.compare(pair, device="cpu")
        message = str(raised.value)
        assert f"{file}: is no evaluation: metrics.elbo.{next(iter(odd))}" in message, odd
        assert message.endswith("measures again") and "\n" not in message
    for key in ("metrics", "undefined", "not_finite", "split", "seed"):
        file.write_text(add_digest(json.dumps({**whole, key: [1]})))
        with pytest.raises(SystemExit) as ended:
            main(["compare", *map(str, pair)])
        assert (
            ended.value.code == 4 and f"{file}: is no evaluation: {key}" in capsys.readouterr().err
        )


@pytest.mark.parametrize("resumed", [{"created": 5}, {"created": "2026-01-01"}, {}])
def test_a_resume_of_other_types_is_left_out_with_a_warning(resumed, pair):
    file = pair[1] / "environment.json"
    file.write_text(add_digest(json.dumps({**read_json(file), "resumed": [resumed]})))
    with pytest.warns(UserWarning, match=r"environment\.json: resumed\.0\.created: "):
        assert len(compare_runs(pair, device="cpu").columns) == 2


class Page(HTMLParser):
    """The references, texts and tags of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.references, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.references += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_refers_to_nothing_else_and_shows_all(train, tmp_path):
    name = "a<b>&c"
    runs = [train(evaluate=EVALUATE, train={"epochs": n}).path for n in (2, 12)]
    for run in runs:
        (run / "pictures").mkdir()
        (run / "pictures/samples.png").write_bytes(b"png")
    comparison = compare_runs(runs, device="cpu")
    label = comparison.columns[0].label
    object.__setattr__(comparison.columns[0], "label", name)
    write_page(comparison, tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text())
    assert all(each.startswith("data:image/png;base64,") for each in page.references)
    assert len(page.references) == 2  # the samples of both
    assert sum(name in text for text in page.texts) >= 3 and label not in page.texts
    charts = [attrs for tag, attrs in page.tags if attrs.get("class") == "chart"]
    assert len(charts) == 4
    assert sum("★" in text for text in page.texts) == 3  # nll, elbo, and what the mark means
    best = [attrs for tag, attrs in page.tags if "best" in (attrs.get("class") or "").split()]
    assert len(best) == 2


def test_time_between_a_stop_and_its_resume_does_not_count():
    records = [{"time": f"2026-01-01T00:0{minute}:00+00:00"} for minute in (1, 2, 8, 9)]
    environment = {
        "created": "2026-01-01T00:00:00+00:00",
        "resumed": [{"created": "2026-01-01T00:07:00+00:00"}],
    }
    assert training_seconds(records, environment) == 240
    assert training_seconds([], environment) is None

"""Sweeps: trials are compared on the validation split, and the chosen one alone is tested."""

from __future__ import annotations

import json
import re

import optuna
import pytest
import yaml
from click.testing import CliRunner
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

import vaezoo
from vaezoo.cli.main import cli
from vaezoo.evaluation.metric import Estimate, Metric
from vaezoo.runs.study import Parameter, open_study, trial_records, trial_table
from vaezoo.runs.sweep import sweep
from vaezoo.utils.errors import SpecError, UsageError

VALIDATION = 269
"""The size of the validation split of the digits; 270 are in the test split."""
measured: list[tuple[str, float]] = []
"""The split and the option of each metric that was measured."""


class Nearness(Metric):
    """How near ``x`` is to 1 on the validation split, and to 3 on the test split."""

    higher_is_better = frozenset({"nearness"})

    def __init__(self, *, x: float) -> None:
        self.x = x

    def __call__(self, model, data):
        if self.x > 10:
            raise ValueError("x is too large")
        split, best = ("validation", 1.0) if len(data) == VALIDATION else ("test", 3.0)
        measured.append((split, round(self.x)))
        return {"nearness": Estimate(-abs(self.x - best), None, len(data))}


@pytest.fixture
def start(spec, tmp_path, no_report):
    """Runs one trial of the sweep in ``tmp_path / "s"`` with an ``x`` in a range."""
    vaezoo.register("metric", "nearness", Nearness)
    measured.clear()
    file = tmp_path / "spec.yaml"
    metrics = ["elbo", {"type": "nearness", "x": 0.0}]
    file.write_text(yaml.safe_dump(spec(train={"epochs": None, "steps": 2}, evaluate=metrics)))

    def run(values="0.9..1.1", metric="nearness", key="evaluate.1.x", **options):
        parameters = [Parameter.parse(f"{key}={values}")]
        return sweep(file, parameters, metric, 1, out=tmp_path / "s", **options)

    return run


def test_validation_chooses_and_the_chosen_trial_alone_is_tested(start, tmp_path):
    lines = []
    for values in ("2.9..3.1", "0.9..1.1"):  # the first is the better one on the test split
        study = start(values, print_line=lines.append)
    assert study.best_trial.number == 1
    options = ["--param", "evaluate.1.x=1.9..2.1", "--metric", "nearness", "--trials", "1"]
    command = ["sweep", str(tmp_path / "spec.yaml"), *options, "--out", str(tmp_path / "s")]
    quiet = {"quiet": True, "verbose": False}
    swept = json.loads(CliRunner().invoke(cli, [*command, "--json"], obj=quiet).stdout)
    assert swept["chosen_by"] == {
        **{"metric": "nearness", "split": "validation", "direction": "maximize"}
    }
    assert measured == [
        *(("validation", 3), ("test", 3)),  # the best one of the first call
        *(("validation", 1), ("test", 1)),
        ("validation", 2),  # that of the second call is still the best
    ]
    assert [line.rpartition(" ")[0] for line in lines if "nearness -" in line] == [
        f"trial {i}: evaluate.1.x={trial.params['evaluate.1.x']!r}: validation nearness"
        for i, trial in enumerate(study.trials[:2])
    ]
    records = swept["trials"]
    assert records == trial_records(study, tmp_path / "s")
    assert [record["chosen"] for record in records] == [False, True, False]
    assert [sorted(record["test"]) for record in records] == [[], ["elbo", "nearness"], []]
    assert {"elbo", "nearness", "rate", "distortion"} <= records[0]["validation"].keys()
    headings, rows = trial_table(records, "nearness")
    assert headings[3:-1] == (
        *("validation nearness", "validation rate", "validation distortion", "test nearness"),
    )
    assert rows[1][3] == f"{study.best_value:.4f}" and float(rows[1][-2]) < -1.8
    assert rows[0][-2] == rows[2][-2] == ""
    other = vaezoo.open_run(records[2]["run"], device="cpu")
    with pytest.raises(
        UsageError, match=r"it has no evaluation\.json; vaezoo evaluate .* test measures"
    ):
        _ = other.evaluation
    resumed = vaezoo.resume(other.path)  # a trial stays one
    assert resumed.evaluated_split == "validation" and measured[-1] == ("validation", 2)
    with pytest.raises(UsageError, match=r"no 'nearness'.* \(nearness is not defined: x is too"):
        start("19.9..20.1")


def test_the_metric_says_which_values_are_better(spec, tmp_path, no_report):
    file = tmp_path / "spec.yaml"
    metrics = ["rate", {"type": "nll", "samples": 2, "limit": 9}]
    file.write_text(yaml.safe_dump(spec(train={"epochs": 1}, evaluate=metrics)))
    rates = [Parameter.parse("train.optimizer.lr=0.01,1e-9")]
    study, tried = None, set()
    while tried != {"0.01", "1e-9"}:
        study = sweep(file, rates, "nll", 1, out=tmp_path / "s")
        tried = {trial.params["train.optimizer.lr"] for trial in study.trials}
    assert study.best_params == {"train.optimizer.lr": "0.01"}
    assert study.best_value == min(trial.value for trial in study.trials)
    for metric, hint in (("rate", "; known: nll"), ("nl", "; did you mean 'nll'?")):
        with pytest.raises(UsageError, match=f"of {metric!r} are better{re.escape(hint)}; give"):
            sweep(file, rates, metric, 1, out=tmp_path / "t")
    assert not (tmp_path / "t").exists()
    study = sweep(file, rates, "rate", 1, out=tmp_path / "t", maximize=False)
    assert study.direction.name == "MINIMIZE"


def test_a_study_that_compares_other_values_is_not_continued(start, tmp_path):
    def storage(folder):
        (tmp_path / folder).mkdir(exist_ok=True)
        return JournalStorage(JournalFileBackend(str(tmp_path / folder / "study.log")))

    old = optuna.create_study(study_name="tiny", storage=storage("s"), direction="maximize")
    old.add_trial(create_trial(value=1.0))
    with pytest.raises(UsageError) as raised:
        start()
    assert str(raised.value) == (
        f"{tmp_path / 's' / 'study.log'}: its trials are compared by their metric on the test "
        "split, as in earlier versions of vaezoo, and not by the highest nearness on the "
        "validation split; choose another --out"
    )
    options = {"maximize": True, "does_prune": False, "seed": 0}
    new = open_study("tiny", tmp_path / "t", "elbo", **options)
    pruned = create_trial(state=TrialState.PRUNED, value=-9.0, intermediate_values={1: -9.0})
    new.add_trial(pruned)
    for other in ({"metric": "nll"}, {"metric": "elbo", "maximize": False}):
        with pytest.raises(UsageError, match="compared by the highest elbo on the validation"):
            open_study("tiny", tmp_path / "t", **{**options, **other})
    again = open_study("tiny", tmp_path / "t", "elbo", **options)
    (row,) = trial_table(trial_records(again, tmp_path / "t"), "elbo")[1]
    assert row == ("0", "pruned", "", "", "", "", "", "")  # -9 is no ELBO, but what pruned it


def test_a_new_study_suggests_by_the_seed_of_the_spec(tmp_path):
    def suggest(folder, seed):
        options = {"maximize": True, "does_prune": False, "seed": seed}
        study = open_study("tiny", tmp_path / folder, "elbo", **options)
        return Parameter.parse("x=0.0..1.5").suggest(study.ask())

    first = suggest("a", 3)
    assert first == suggest("b", 3) != suggest("c", 4)
    assert first != suggest("a", 3)  # it goes on


def test_what_cannot_be_varied_is_one_line(start, tmp_path):
    for text in ("x=3..1", "x=0..1:log", "x=a..b", "x"):
        with pytest.raises(UsageError, match="must be KEY=LOW"):
            Parameter.parse(text)
    with pytest.raises(SpecError, match=r"evaluate\.1\.y"):
        start(key="evaluate.1.y")
    with pytest.raises(UsageError, match="evaluation_split 'train': must be test or validation"):
        vaezoo.run(tmp_path / "spec.yaml", evaluation_split="train")

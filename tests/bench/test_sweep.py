"""Sweeps: trials are compared on the validation split, and the chosen one alone is tested."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import optuna
import pytest

import vaezoo
from vaezoo.bench import pool
from vaezoo.bench.failures import failures
from vaezoo.bench.pool import run_suite
from vaezoo.bench.ranges import Range
from vaezoo.bench.sweep import open_sweep, sweep_trials, trial_table
from vaezoo.cli.main import main
from vaezoo.evaluation.metric import Estimate, Metric
from vaezoo.utils.errors import SpecError, UsageError

VALIDATION = 269
"""The size of the validation split of the digits; 270 are in the test split."""
KEY = "evaluate.1.x"
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
def start(suite, inline, tmp_path):
    """Tries values of ``x`` in ``tmp_path / "s"``; returns the engine."""
    suite()  # which writes spec.yaml
    vaezoo.register("metric", "nearness", Nearness)
    measured.clear()
    base = ["train.epochs=null", "train.steps=2", "evaluate=[elbo, {type: nearness, x: 0.0}]"]

    def run(
        values="0.9..1.1",
        trials=1,
        metric="nearness",
        key=KEY,
        overrides=(),
        retry=False,
        out="s",
        **options,
    ):
        engine = open_sweep(
            tmp_path / "spec.yaml",
            [f"{key}={values}"],
            metric=metric,
            trials=trials,
            out=tmp_path / out,
            overrides=[*base, *overrides],
            **options,
        )
        run_suite(engine, processes=1, retry=retry, print_line=lambda line: None)
        return engine

    return run


def broken_once():
    """``run``, which fails at its first call."""
    calls = []

    def run(*words, **options):
        calls.append(words)
        if len(calls) == 1:
            raise RuntimeError("no memory")
        return vaezoo.run(*words, **options)

    return run


def states(engine):
    return [trial.state for trial in sweep_trials(engine)]


def test_validation_chooses_and_the_chosen_trial_alone_is_tested(start, inline, tmp_path, capsys):
    start("2.9,0.9", trials=2)  # the first is the better one on the test split
    count = len(inline)
    assert sorted(measured[:2]) == [("validation", 1), ("validation", 3)]
    assert measured[2:] == [("test", 1)]
    arguments = [f"--param={KEY}=2.9,0.9", "--metric", "nearness", "--trials", "2"]
    base = ["train.epochs=null", "train.steps=2", "evaluate=[elbo, {type: nearness, x: 0.0}]"]
    command = ["sweep", str(tmp_path / "spec.yaml"), *arguments, "--out", str(tmp_path / "s")]
    with pytest.raises(SystemExit) as left:
        main([*command, *(part for text in base for part in ("-s", text)), "--json"])
    assert not left.value.code and len(inline) == count, "nothing is done twice"
    swept = json.loads(capsys.readouterr().out)
    assert swept["chosen_by"] == {
        **{"metric": "nearness", "split": "validation", "direction": "maximize"}
    }
    far, near = sorted(swept["trials"], key=lambda record: -record["parameters"][KEY])
    assert (far["chosen"], near["chosen"]) == (False, True) and far["parameters"] == {KEY: 2.9}
    assert near["validation"]["nearness"] == pytest.approx(-0.1)
    assert near["test"]["nearness"] == pytest.approx(-2.1)
    assert {"elbo", "nearness", "rate", "distortion"} <= far["validation"].keys()
    headings, rows = trial_table(swept["trials"], "nearness")
    assert headings[3:-1] == (
        *("validation nearness", "validation rate", "validation distortion", "test nearness"),
    )
    assert {row[-2] == "" for row in rows} == {True, False}
    other = vaezoo.open_run(far["run"], device="cpu")
    with pytest.raises(
        UsageError, match=r"it has no evaluation\.json; vaezoo evaluate .* test measures"
    ):
        _ = other.evaluation
    resumed = vaezoo.resume(other.path)  # a trial stays one
    assert resumed.evaluated_split == "validation" and measured[-1] == ("validation", 3)


def test_a_trial_without_the_metric_is_not_chosen_and_said(start):
    engine = start("19.9..20.1", trials=2)
    assert [trial.is_chosen for trial in sweep_trials(engine)] == [False, False]
    ((name, why),) = failures(engine)
    assert name == "sweep" and "no 'nearness'; known: elbo (nearness is not defined" in why


def test_a_trial_that_fails_ends_nothing(start, inline, tmp_path):
    engine = start("1e30,0.01", trials=2, key="train.optimizer.lr", metric="elbo")
    assert sorted(states(engine)) == ["complete", "failed"]
    (chosen,) = [trial for trial in sweep_trials(engine) if trial.is_chosen]
    assert chosen.setting == ("train.optimizer.lr=0.01",)
    assert [job["action"] for job in inline] == ["train", "train", "test"]


def test_the_metric_says_which_values_are_better(start):
    metrics = "evaluate=[rate, {type: nll, samples: 2, limit: 9}]"
    rates = {"key": "train.optimizer.lr", "values": "0.01,1e-9", "overrides": [metrics]}
    engine = start(**rates, trials=2, metric="nll")
    (chosen,) = [trial for trial in sweep_trials(engine) if trial.is_chosen]
    values = [trial.as_json()["validation"]["nll"] for trial in sweep_trials(engine)]
    assert chosen.as_json()["validation"]["nll"] == min(values)
    for metric, hint in (("rate", "; known: nll"), ("nl", "; did you mean 'nll'?")):
        with pytest.raises(UsageError, match=f"of {metric!r} are better{re.escape(hint)}; give"):
            start(**rates, trials=2, metric=metric)
    engine = start(**rates, trials=2, metric="rate", maximize=False)
    rated = {trial.is_chosen: trial.as_json() for trial in sweep_trials(engine)}
    assert rated[True]["validation"]["rate"] < rated[False]["validation"]["rate"]


def test_an_interrupted_sweep_goes_on_as_if_it_had_not_been(start, inline, tmp_path, monkeypatch):
    whole = [trial.setting for trial in sweep_trials(start(trials=5))]
    assert len(set(whole)) == 5 and inline[-1]["action"] == "test"
    (tmp_path / "s").rename(tmp_path / "whole")
    run_here = pool._start_worker

    def stop(job, processes, slot):
        if len(inline) == 8:
            raise KeyboardInterrupt
        return run_here(job, processes, slot)

    monkeypatch.setattr(pool, "_start_worker", stop)
    with pytest.raises(vaezoo.VaezooError, match="the same command goes on"):
        start(trials=5)
    assert len(inline) == 8, "two trials have ended, and the third was suggested"
    monkeypatch.setattr(pool, "_start_worker", run_here)
    assert [trial.setting for trial in sweep_trials(start(trials=5))] == whole
    assert [trial.setting for trial in sweep_trials(start(trials=6))][:5] == whole


def test_few_combinations_are_each_tried_once(start, inline):
    for options in ({}, {"prune": "bound"}):
        engine = start("1.0,2.0,3.0", trials=10, **options)
        assert sorted(trial.setting[0] for trial in sweep_trials(engine)) == [
            f"{KEY}={x}" for x in (1.0, 2.0, 3.0)
        ]
    assert [job["action"] for job in inline] == ["train"] * 3 + ["test"]


def test_a_trial_that_is_worse_than_the_median_is_ended_early(start, tmp_path):
    options = {"key": "train.optimizer.lr", "metric": "elbo", "prune": "bound"}
    steps = ["train.steps=40", "train.validate_every=1", "train.checkpoint_every=1000"]
    good = [f"0.0{digit}" for digit in range(1, 7)]
    engine = start(",".join([*good, "1e-9"]), trials=7, overrides=steps, **options)
    by_rate = {trial.setting[0].partition("=")[2]: trial for trial in sweep_trials(engine)}
    assert by_rate["1.0e-09"].state == "pruned" and by_rate["0.01"].state == "complete"
    records = by_rate["1.0e-09"].unit.directory().records()
    assert records[-1]["step"] < 40
    (row,) = trial_table([by_rate["1.0e-09"].as_json()], "elbo")[1]
    assert row[1] == "pruned" and row[3] == "" == row[-2]
    study = optuna.load_study(
        study_name="sweep",
        storage=optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(engine.study(engine.cases[0]).path))
        ),
    )
    assert sorted(trial.state.name for trial in study.trials) == ["COMPLETE"] * 6 + ["PRUNED"]


def test_a_number_of_which_less_is_better_ends_the_trials_with_more(start):
    options = {"key": "train.optimizer.lr", "metric": "elbo", "prune": "distortion"}
    steps = ["train.steps=40", "train.validate_every=1", "train.checkpoint_every=1000"]
    good = [f"0.0{digit}" for digit in range(1, 7)]
    engine = start(",".join([*good, "1e-9"]), trials=7, overrides=steps, **options)
    by_rate = {trial.setting[0].partition("=")[2]: trial for trial in sweep_trials(engine)}
    assert by_rate["1.0e-09"].state == "pruned"
    assert [trial.state for trial in sweep_trials(engine)].count("complete") == 6


def test_a_trial_that_failed_is_tried_again_when_asked(start, monkeypatch):
    values = {"values": "1.0..3.0", "trials": 2, "prune": "bound"}
    with monkeypatch.context() as patch:
        patch.setattr("vaezoo.bench.worker.run", broken_once())
        engine = start(**values)
    assert sorted(states(engine)) == ["complete", "failed"]
    again = start(**values, retry=True)
    assert states(again) == ["complete", "complete"]
    assert [trial.setting for trial in sweep_trials(again)] == [
        trial.setting for trial in sweep_trials(engine)
    ]


def test_settings_that_are_suggested_again_do_not_count(start):
    values = {"key": "evaluate.1.x", "values": ",".join(f"{x}.0" for x in range(1, 9))}
    engine = start(**values, trials=7)
    settings = [trial.setting for trial in sweep_trials(engine)]
    assert len(settings) == len(set(settings)) == 7
    whole = start(**{**values, "values": "1..5"}, trials=4, out="t")
    assert len(sweep_trials(whole)) == 4


def test_a_study_that_compares_other_values_is_not_continued(start, tmp_path):
    start(trials=2)
    path = tmp_path / "s/runs/sweep/study.log"
    for options in ({"metric": "elbo"}, {"maximize": False}):
        with pytest.raises(UsageError, match="compared by the highest nearness") as raised:
            start(trials=3, **options)
        assert str(raised.value).startswith(f"{path}: ")
        assert str(raised.value).endswith("on the validation split; choose another --out")
    with pytest.raises(UsageError, match="choose another --out"):
        start("1.0,2.0,3.0,4.0", trials=3)  # a range before
    (tmp_path / "s/study.log").touch()
    with pytest.raises(UsageError, match="a sweep of an earlier version; choose another --out"):
        start()


def test_suggestions_follow_from_the_seed_of_the_spec(start, tmp_path):
    settings = []
    for seed in (3, 3, 4):
        engine = start(trials=2, overrides=[f"seed={seed}"])
        settings.append([trial.setting for trial in sweep_trials(engine)])
        (tmp_path / "s").rename(tmp_path / f"sweep-{len(settings)}")
    assert settings[0] == settings[1] != settings[2]


def test_what_cannot_be_varied_is_one_line(start, tmp_path):
    for text in ("x=3..1", "x=0..1:log", "x=a..b", "x", "x=", "x=0..1e999", "=1,2"):
        with pytest.raises(UsageError, match=r"must be KEY=LOW|key\.path=value"):
            open_sweep(tmp_path / "spec.yaml", [text], metric="elbo", trials=1, out=tmp_path)
    for parameters, says in (
        (["train.steps=1,2", "train.steps=3,4"], "train.steps is varied twice"),
        (["seed=" + ",".join(map(str, range(51)))], "51 values; at most 50"),
    ):
        with pytest.raises(UsageError, match=says):
            open_sweep(tmp_path / "spec.yaml", parameters, metric="elbo", trials=1, out=tmp_path)
    with pytest.raises(UsageError, match="--prune bonud: must be one of bound, elbo, distortion"):
        start(prune="bonud")
    with pytest.raises(SpecError, match=r"evaluate\.1\.y"):
        start(key="evaluate.1.y")
    assert not (tmp_path / "s").exists()
    with pytest.raises(UsageError, match="evaluation_split 'train': must be test or validation"):
        vaezoo.run(tmp_path / "spec.yaml", evaluation_split="train")


def test_ranges_are_read_as_they_are_written():
    assert Range.parse("0.5..16:log") == Range(0.5, 16.0, True)
    assert Range.parse(" 2..9 ").ends() == ["2", "9"]
    assert Range.parse("0..1").ends() == ["0.0", "1.0"], "real numbers, and no two integers"
    assert Range.parse("1e-4..1E-2") == Range(1e-4, 1e-2, False)
    assert Range.parse("-2..-1") == Range(-2.0, -1.0, False)
    for text in ("1..1", "2..1", "0..1:log", "1...2", "1", "nan..1", f"0..{10**400}", "1..2:lin"):
        assert Range.parse(text) is None
    assert math.isclose(Range.parse(".5..1").low, 0.5)


def test_a_process_that_trains_beside_others_joins_no_group_and_has_its_own_gpu(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "1")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    environments = [pool.worker_environment(3, slot) for slot in range(3)]
    assert [each["CUDA_VISIBLE_DEVICES"] for each in environments] == ["0", "1", "0"]
    assert not {"RANK", "WORLD_SIZE", "MASTER_ADDR"} & environments[0].keys()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert pool.worker_environment(2, 1)["CUDA_VISIBLE_DEVICES"] == "7"
    assert pool.worker_environment(1, 0)["CUDA_VISIBLE_DEVICES"] == "5,7"


def test_the_folder_of_a_trial_names_its_setting(start):
    engine = start("1.0,2.0", trials=2)
    folders = {Path(trial.unit.folder).parent.name for trial in sweep_trials(engine)}
    assert folders == {"x=1.0", "x=2.0"}

"""Suites: what is run, chosen and measured, and how they go on."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vaezoo.bench import worker
from vaezoo.bench.cases import load_suite
from vaezoo.bench.engine import Engine
from vaezoo.bench.failures import failures
from vaezoo.bench.leaderboard import format_spread, leaderboard
from vaezoo.bench.pool import run_suite
from vaezoo.bench.units import Unit
from vaezoo.utils.errors import Interrupted, SpecError, UsageError
from vaezoo.utils.files import read_json

WEIGHT = "regularizers.0.weight"
DOCS = Path(__file__).parents[2] / "docs"
FOUND = importlib.util.spec_from_file_location("results_page", DOCS / "results_page.py")
results_page = importlib.util.module_from_spec(FOUND)
FOUND.loader.exec_module(results_page)


def variant(**changes):
    return {"spec": "spec.yaml", **changes}


def opened(path, out):
    loaded, cases = load_suite(path)
    engine = Engine(loaded, cases, out)
    engine.check()
    return engine


def finished(path, out, **options):
    engine = opened(path, out)
    failed = run_suite(
        engine, **({"processes": 1, "retry": False, "print_line": lambda line: None} | options)
    )
    return engine, failed


def test_every_seed_of_every_variant_is_run_once_with_the_budget(suite, inline, tmp_path):
    variants = {
        "plain": {"spec": "spec.yaml"},
        "wide": {"spec": "spec.yaml", "set": ["model.encoder.hidden=[16]"], "own_length": True},
    }
    path = suite(variants=variants, set=["train.log_every=1"])
    shown = []
    engine, failed = finished(path, tmp_path / "out", show=lambda *args: shown.append(args))
    assert failed == [] and [job["action"] for job in inline] == ["train"] * 4
    assert [(done, total) for done, total, _ in shown] == [(n + 1, 4) for n in range(4)]
    assert shown[0][2] == ["plain seed 0 100%"]
    for unit in engine.all_units():
        records = unit.directory().records()
        assert records[-1]["step"] == (20 if unit.case.variant == "wide" else 3)
        assert unit.usage.keys() == {
            f"{part}{kind}_seconds" for part in ("training", "evaluation") for kind in ("", "_cpu")
        }
    rows = leaderboard(engine)
    assert [(row.name, row.seeds) for row in rows] == [("plain", (0, 1)), ("wide", (0, 1))]
    for row in rows:
        elbos = [read_json(Path(run, "evaluation.json")) for run in row.runs]
        assert row.values["elbo"] == tuple(each["metrics"]["elbo"]["value"] for each in elbos)
    assert rows[0].values["elbo"][0] != rows[0].values["elbo"][1], "seeds differ"
    count = len(inline)
    finished(path, tmp_path / "out")
    assert len(inline) == count, "nothing is done twice"


def test_a_setting_is_chosen_on_validation_and_only_it_is_tested(suite, inline, tmp_path):
    variant = {"spec": "spec.yaml", "choose": {WEIGHT: [50.0, 1.0]}}
    engine, _ = finished(suite(variants={"beta": variant}), tmp_path / "out")
    (case,) = engine.cases
    assert [job["action"] for job in inline] == ["train", "train", "test", "train"]
    rejected, chosen = engine.choosing_units(case)
    assert engine.chosen(case) == (f"{WEIGHT}=1.0",) == chosen.setting
    assert rejected.evaluation("test") is None and chosen.evaluation("test") is not None
    assert (
        rejected.evaluation("validation")["metrics"]["elbo"]["value"]
        < chosen.evaluation("validation")["metrics"]["elbo"]["value"]
    )
    (row,) = leaderboard(engine)
    assert (row.setting, row.seeds) == ("weight=1.0", (0, 1))


def test_the_mean_over_the_seeds_that_choose_decides_and_others_are_tested(
    suite, inline, tmp_path, monkeypatch
):
    variant = {"spec": "spec.yaml", "choose": {WEIGHT: [1.0, 2.0, 3.0]}}
    path = suite(variants={"beta": variant}, seeds=[5, 6], choose_by={"seeds": [0, 1]})
    values = {"1.0": [9.0, 0.0], "2.0": [4.0, 6.0], "3.0": [99.0, None]}
    monkeypatch.setattr(
        "vaezoo.bench.engine.value_of",
        lambda unit, *_: values[unit.setting[0].removeprefix(f"{WEIGHT}=")][unit.seed],
    )
    counts = []
    engine, failed = finished(
        path, tmp_path / "out", show=lambda done, total, _: counts.append((done, total))
    )
    (case,) = engine.cases
    assert failed == [] and counts[-1] == (8, 8) and len(inline) == 8
    assert engine.chosen(case) == (f"{WEIGHT}=2.0",)
    (row,) = leaderboard(engine)
    assert (row.setting, row.seeds) == ("weight=2.0", (5, 6))
    tested = [unit for unit in engine.all_units() if unit.evaluation("test") is not None]
    assert sorted({unit.seed for unit in tested}) == [5, 6]
    values |= {"1.0": [None, 1.0], "2.0": [2.0, None]}
    assert failures(engine) == [("beta", "no setting has 'elbo' for every seed that chooses")]


def test_a_run_that_fails_is_reported_and_tried_again_when_asked(suite, inline, tmp_path):
    variants = {
        "broken": {"spec": "spec.yaml", "set": ["train.optimizer.lr=1e30"]},
        "plain": {"spec": "spec.yaml"},
    }
    path = suite(variants=variants, seeds=[0])
    engine, failed = finished(path, tmp_path / "out")
    ((name, error),) = failed
    assert name == "broken seed 0" and "train.optimizer.lr" in error
    assert [row.name for row in leaderboard(engine)] == ["plain"]
    finished(path, tmp_path / "out")
    assert len(inline) == 2
    finished(path, tmp_path / "out", retry=True)
    assert len(inline) == 3 and failures(engine) == failed


def test_minutes_become_steps_once(suite, inline, tmp_path):
    path = suite(budget={"cpu_minutes": 0.002}, seeds=[0], variants={"a": {"spec": "spec.yaml"}})
    engine, failed = finished(path, tmp_path / "out")
    assert failed == [] and [job["action"] for job in inline] == ["time", "train"]
    seconds = read_json(tmp_path / "out/timings.json")["a"]["cpu_minutes"]
    (unit,) = engine.all_units()
    assert unit.steps == max(1, round(0.12 / seconds)) == unit.load().train.steps
    assert unit.directory().records()[-1]["step"] == unit.steps
    assert not (tmp_path / "out/runs/a/timing").exists()


def test_a_suite_starts_from_another_and_adds_variants(suite, tmp_path):
    suite(variants={"plain": {"spec": "spec.yaml"}, "other": {"spec": "spec.yaml"}}, seeds=[4])
    more = tmp_path / "more.yaml"
    more.write_text(
        "{bench: vaezoo/bench/v1, extends: ./suite.yaml, name: more, budget: {steps: 9},"
        " variants: {wide: {spec: spec.yaml}, other: {own_length: true}}}"
    )
    read, cases = load_suite(more)
    assert (read.name, read.budget.steps, read.seeds) == ("more", 9, [4])
    assert [case.name for case in cases] == ["plain", "other", "wide"]
    assert [case.definition.own_length for case in cases] == [False, True, False]
    more.write_text("{bench: vaezoo/bench/v1, extends: ./none.yaml}")
    with pytest.raises(SpecError, match=r"more.yaml:1:\d+: extends: no file './none.yaml'"):
        load_suite(more)


def test_overrides_change_the_suite_and_one_budget_replaces_another(suite):
    loaded, _ = load_suite(
        suite(), ["seeds=[4]", "budget.cpu_minutes=30", "variants.plain.set=[]"]
    )
    assert loaded.seeds == [4] and loaded.budget.cpu_minutes == 30 and loaded.budget.steps is None
    loaded, _ = load_suite(suite(), ["budget={minutes: 2}"])
    assert loaded.budget.minutes == 2 and loaded.budget.steps is None
    with pytest.raises(SpecError, match=r"-s budget.stepps=3.*did you mean 'steps'"):
        load_suite(suite(), ["budget.stepps=3"])
    with pytest.raises(UsageError, match=r"write key\.path=value"):
        load_suite(suite(), ["seeds"])


def test_data_blocks_are_crossed_with_variants(suite, tmp_path):
    data = {
        "all": {"type": "digits", "batch_size": 64},
        "few": {"type": "digits", "batch_size": 32},
    }
    variants = {"a": {"spec": "spec.yaml"}, "b": {"spec": "spec.yaml", "data": ["few"]}}
    _, cases = load_suite(suite(data=data, variants=variants))
    assert [case.name for case in cases] == ["a@all", "a@few", "b@few"]
    assert [case.load((), 0, 1).resolved()["data"]["batch_size"] for case in cases] == [64, 32, 32]


@pytest.mark.parametrize(
    ("blocks", "says"),
    [
        ({"seeds": []}, "suite.yaml:5:8: seeds: "),
        ({"budget": {}}, "budget: must be a mapping with one of"),
        ({"budget": {"steps": 1, "minutes": 2.0}}, "budget: must be a mapping with one of"),
        ({"variants": {"a": {"spec": "spec.yaml", "data": ["x"]}}}, "which variant a names"),
        ({"variants": {"a": {"spek": "spec.yaml"}}}, "did you mean 'spec'"),
        ({"bench": "vaezoo/bench/v9"}, "suite.yaml:1:8: bench: "),
        ({"variants": {"a": {"spec": "no.yaml"}}}, "no.yaml:1:1: cannot be read"),
        ({"evaluate": ["elbow"]}, "did you mean 'elbo'"),
        ({"variants": {"a": variant(choose={WEIGHT: "3..1"})}}, "must be a list of .*LOW..HIGH"),
        ({"variants": {"a": variant(choose={WEIGHT: []})}}, "choose.regularizers.0.weight: must"),
        ({"variants": {"a": variant(choose={WEIGHT: "1..3"})}}, "`choose_by.trials`, because"),
        (
            {
                "variants": {"a": variant(choose={"regularizers.0.wait": "1..3"})},
                "choose_by": {"trials": 2},
            },
            "did you mean 'weight'",
        ),
        ({"seeds": [1, 1]}, "`seeds` that differ"),
        ({"choose_by": {"seeds": [1, 1]}}, "`choose_by.seeds` that differ"),
        ({"choose_by": {"seeds": [1, 2], "trials": 3}}, "one of `seeds`, because settings are"),
    ],
    ids=range(15),
)
def test_what_is_wrong_with_a_suite_is_said_before_anything_runs(suite, tmp_path, blocks, says):
    with pytest.raises(SpecError, match=says):
        opened(suite(**blocks), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_metric_without_a_direction_cannot_choose(suite, tmp_path):
    variant = {"spec": "spec.yaml", "choose": {WEIGHT: [1.0, 2.0]}}
    path = suite(variants={"beta": variant}, choose_by={"metric": "active_units"})
    with pytest.raises(UsageError, match="give choose_by"):
        opened(path, tmp_path / "out")


def test_a_suite_that_changed_does_not_mix_with_older_runs(suite, inline, tmp_path):
    finished(suite(seeds=[0]), tmp_path / "out")
    with pytest.raises(UsageError, match="was started with another spec than the suite has now"):
        opened(suite(seeds=[0], set=["train.clip=1.0"]), tmp_path / "out")
    opened(suite(seeds=[0, 5]), tmp_path / "out")  # more seeds are no other suite


def test_two_processes_do_not_run_one_suite(suite, tmp_path):
    from filelock import FileLock

    (tmp_path / "out").mkdir()
    with (
        FileLock(tmp_path / "out/.lock"),
        pytest.raises(UsageError, match="another process runs this suite"),
    ):
        finished(suite(), tmp_path / "out")


def test_a_suite_that_is_interrupted_and_killed_goes_on_with_the_same_bits(
    suite, inline, tmp_path, same, left_by
):
    path = suite(seeds=[0], budget={"steps": 150}, set=["train.checkpoint_every=0"])
    engine, _ = finished(path, tmp_path / "whole")
    command = [sys.executable, "-m", "vaezoo", "bench", str(path), "--out", str(tmp_path / "out")]
    for number, code in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        _wait_for_records(tmp_path / "out", process)
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == code, errors
        assert number == signal.SIGKILL or "the same command goes on" in errors
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "continuing plain seed 0" in done.stderr, done.stderr
    (unit,) = engine.all_units()
    resumed = Unit.of(unit.case, unit.setting, 0, unit.steps, out=tmp_path / "out")
    same(left_by(unit.directory().path)[1], left_by(resumed.directory().path)[1])


def _wait_for_records(out, process):
    """Waits until the process has trained further than before."""
    before = _trained(out)
    end = time.monotonic() + 120
    while _trained(out) <= before:
        assert process.poll() is None and time.monotonic() < end, "it trains no further"
        time.sleep(0.01)


def _trained(out):
    return max((path.stat().st_mtime_ns for path in out.rglob("step-*.safetensors")), default=0)


def test_the_command_prints_the_table_and_json(suite, inline, tmp_path, capsys):
    from vaezoo.cli.main import main

    path = suite()
    with pytest.raises(SystemExit) as left:
        main(["bench", str(path), "-s", "seeds=[0]", "--dry-run", "--json"])
    plan = json.loads(capsys.readouterr().out)
    assert not left.value.code
    assert plan["cases"] == [{"case": "plain", "settings": "as it is", "seeds": "0"}]
    path = suite(seeds=[0])
    with pytest.raises(SystemExit) as left:
        main(["bench", str(path), "--out", str(tmp_path / "out")])
    output = capsys.readouterr().out
    assert not left.value.code and "test split" in output and "plain" in output
    with pytest.raises(SystemExit):
        main(["bench", str(path), "--out", str(tmp_path / "out"), "--json"])
    content = json.loads(capsys.readouterr().out)
    (row,) = content["rows"]
    assert row["name"] == "plain" and row["units"]["elbo"] == "nats per example"
    assert content["page"] is None, "one run is compared with nothing"


def test_what_is_better_over_three_seeds_is_marked_in_the_table_and_on_a_page(
    suite, inline, tmp_path, capsys
):
    from vaezoo.cli.main import main

    weak = {"spec": "spec.yaml", "set": ["train.optimizer.lr=1e-9"]}
    path = suite(
        title="Two rates",
        seeds=[0, 1, 2],
        budget={"steps": 40},
        variants={"plain": {"spec": "spec.yaml"}, "weak": weak},
    )
    for option in ((), ("--json",)):
        with pytest.raises(SystemExit):
            main(["-q", "bench", str(path), "--out", str(tmp_path / "out"), *option])
    output = capsys.readouterr().out
    plain, other = [line for line in output.splitlines() if line.startswith(("plain", "weak"))]
    assert plain.endswith("*") and not other.endswith("*")
    assert "about these specs, over seeds (plain: 3, weak: 3)" in output
    content = json.loads(output[output.index("\n{") :])
    record = tmp_path / "record.json"
    for kept in (None, "By hand."):  # texts that people wrote stay
        if kept:
            record.write_text(json.dumps({**json.loads(record.read_text()), "introduction": kept}))
        with pytest.raises(SystemExit):
            main(["bench", str(path), "--out", str(tmp_path / "out"), "--record", str(record)])
        page = results_page.page([("suite", results_page.read(record))])
        assert (kept or "Each run trains for 40 steps; seeds 0, 1, 2.") in page
        assert "Lower bound of log p(x); higher is better." in page
    assert content["best"] == {"elbo": "plain"} and content["claim"] == "specs"
    page = (tmp_path / "out/index.html").read_text("utf-8")
    assert "Two rates" in page and "vaezoo bench" in page and "weak" in page


@pytest.mark.parametrize("name", ["mnist", "mnist-long", "samplers", "sprites", "music"])
def test_the_suites_of_the_examples_compose(name, tmp_path):
    root = Path(__file__).parents[2] / "examples/suites"
    opened(root / f"{name}.yaml", tmp_path / "out")


def test_a_spread_is_that_over_seeds():
    assert format_spread((1.0, 2.0, 3.0)) == "2 ± 1"
    assert format_spread((1.5,)) == "1.5" and format_spread((float("nan"),)) == ""


def test_a_run_ends_when_the_process_that_started_it_is_gone(monkeypatch, tmp_path):
    watch = worker._Watch(worker._Clock(tmp_path / "usage.json"))
    watch.log({"step": 1, "steps": 4})
    assert read_json(tmp_path / "progress.json") == {"done": 0.25}
    stopped = threading.Event()
    monkeypatch.setattr(os, "kill", lambda pid, number: stopped.set())
    with worker.ending_with_parent():
        assert not stopped.wait(0.5)
        monkeypatch.setattr(os, "getppid", lambda: 1)
        assert stopped.wait(60), "also while nothing is recorded, as in an evaluation"


def test_a_process_waits_for_one_that_still_ends_after_a_kill(tmp_path):
    code = (
        "import fcntl, sys, time\n"
        f"file = open({str(tmp_path / '.lock')!r}, 'w')\n"
        "fcntl.flock(file, fcntl.LOCK_EX); print('locked', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "locked\n"
    waited = threading.Thread(target=worker._wait_until_free, args=(tmp_path,))
    waited.start()
    waited.join(0.5)
    assert waited.is_alive()
    other.communicate("")
    waited.join(60)
    assert not waited.is_alive()


def test_what_fails_on_the_test_split_is_not_repeated(suite, inline, tmp_path, monkeypatch):
    def fail(*words):
        raise RuntimeError("no memory")

    monkeypatch.setattr(worker, "write_evaluation", fail)
    chosen = variant(choose={WEIGHT: [50.0, 1.0]})
    _, failed = finished(suite(variants={"beta": chosen}, seeds=[0]), tmp_path / "out")
    assert [job["action"] for job in inline] == ["train", "train", "test"]
    ((name, error),) = failed
    assert name == "beta weight=1.0 seed 0" and "no memory" in error


def test_a_stop_while_steps_are_timed_is_no_failure(suite, inline, tmp_path, monkeypatch):
    path = suite(budget={"cpu_minutes": 0.002}, seeds=[0])

    def stop(*words, **options):
        raise Interrupted("stopped")

    monkeypatch.setattr(worker, "run", stop)
    _, failed = finished(path, tmp_path / "out")
    assert "ended with exit code 130" in failed[0][1] and len(inline) == 3, "three attempts"
    monkeypatch.undo()
    assert not list((tmp_path / "out").rglob("timing.json"))

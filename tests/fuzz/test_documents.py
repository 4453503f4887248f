"""Whatever a document holds, it is refused in lines that name it, or says what is written."""

from __future__ import annotations

import dataclasses
import random
import threading
import warnings

import pytest
import torch

import vaezoo
from tests.fuzz import metrics_files, registry_files, specs
from tests.fuzz.documents import check_ended
from tests.fuzz.driver import Ended, limited_to
from tests.fuzz.guard import Fault
from tests.fuzz.kinds import KINDS
from tests.fuzz.reference import read_yaml
from vaezoo.runs.directory import RunDirectory
from vaezoo.utils.errors import UsageError

CASES = {"specs": 40, "registries": 10, "headers": 16, "metrics": 6}
SEEDS = range(200)


def faults_of(name, seeds, folder):
    """A line for each fault with the command that repeats it."""
    kind, faults = KINDS[name], []
    for seed in seeds:
        try:
            kind.in_process(seed, folder / f"{name}-{seed}", "")
        except Fault as fault:
            command = f"python benchmarks/fuzz_documents.py {name} --seed {seed}"
            faults.append(f"{command}  # {kind.mutator_of(seed)}: {fault}")
    return faults


@pytest.mark.parametrize("name", KINDS)
def test_a_changed_document_is_refused_or_read_as_written(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    faults = faults_of(name, range(CASES[name]), tmp_path)
    assert not faults, "\n".join(faults)


def first_fault(name, folder):
    """The fault that the judge finds first."""
    for seed in SEEDS:
        if faults := faults_of(name, [seed], folder):
            return faults[0]
    return ""


def test_the_judge_sees_a_spec_that_says_something_else(tmp_path, monkeypatch):
    load = vaezoo.load_spec
    monkeypatch.setattr(
        vaezoo, "load_spec", lambda *words: dataclasses.replace(load(*words), seed=9)
    )
    assert "3 is written, 9 is kept" in first_fault("specs", tmp_path)


def test_the_judge_sees_other_weights(tmp_path, monkeypatch):
    load = registry_files.load_entry

    def change(entry):
        spec, task = load(entry)
        next(task.model.parameters()).data += 1
        return spec, task

    monkeypatch.setattr(registry_files, "load_entry", change)
    assert "has other weights" in first_fault("registries", tmp_path)


def test_the_judge_sees_a_record_that_is_lost(tmp_path, monkeypatch):
    records = RunDirectory.records
    monkeypatch.setattr(RunDirectory, "records", lambda self: records(self)[1:])
    monkeypatch.setattr(metrics_files, "_resume", lambda *words: "")
    monkeypatch.setattr(metrics_files, "_draw", lambda *words: "")
    assert "a record that is whole is lost" in first_fault("metrics", tmp_path)


def refuse(text):
    raise vaezoo.VaezooError(text)


AROUND = {
    "raises something else": (lambda place: {}["x"], "KeyError at"),
    "names no file": (lambda place: refuse("it is bad"), "does not name it: 'it is bad'"),
    "warns": (
        lambda place: warnings.warn("careful", stacklevel=1),
        "warns: UserWarning: 'careful'",
    ),
    "prints": (lambda place: print("reading", flush=True), "writes to the terminal"),
    "draws": (lambda place: torch.rand(1), "state of a global random"),
    "draws from Python": (lambda place: random.random(), "state of a global random"),
    "writes a file": (lambda place: (place / "new").touch(), "changes files"),
    "writes elsewhere": (
        lambda place: (place.parent / "new").touch(),
        "reaches out of the folder",
    ),
}


@pytest.mark.parametrize("fault", AROUND)
def test_the_judge_sees_what_no_reader_may_do(fault, tmp_path, monkeypatch):
    action, says = AROUND[fault]

    def load(path, overrides):
        action(path.parent)
        raise UsageError(f"{path}:1:1: refused")

    monkeypatch.setattr(vaezoo, "load_spec", load)
    assert says in first_fault("specs", tmp_path)


@pytest.mark.parametrize(
    ("code", "errors"),
    [
        (0, "error: a\n"),
        (1, ""),
        (1, "Traceback (most recent call last):\n"),
        (1, "error: KeyError: 'x'; vaezoo -v shows where it was raised\n"),
        (1, "error: out of memory; use less data or a smaller model\n"),
        (1, "error: \x9b2J\n"),
        (6, "error: no such plugin\n"),
        (-9, "error: a\n"),
        (None, ""),
    ],
)
def test_the_judge_sees_how_no_command_may_end(code, errors):
    with pytest.raises(Fault):
        check_ended(Ended(code, "", errors))
    check_ended(Ended(3, "", "error: a:1:1: b\nerror: a:2:1: c\n"))
    check_ended(Ended(6, "", "error: a:1: needs b; pip install b\n"))


def test_the_judge_sees_what_takes_too_long_and_catches_the_fault():
    def hang():
        try:
            threading.Event().wait()
        except Exception:
            return "refused"

    with pytest.raises(Fault, match="takes longer than"), limited_to(0.01):
        hang()


def test_the_other_reader_follows_the_core_schema():
    text = "[1, 010, 0x1F, 1e5, .5, yes, ~, true, .inf, 2001-01-01, 1:30, '1']"
    expected = [1, 10, 31, 1e5, 0.5, "yes", None, True, float("inf"), "2001-01-01", "1:30", "1"]
    assert repr(read_yaml(text)) == repr(expected)


@pytest.mark.parametrize(
    ("text", "override", "kept"),
    [("3", "train.keep", 4), ("true", "train.keep", 1), ("1.5", "train.ema", 1.0)],
)
def test_the_judge_sees_an_override_that_is_not_kept(text, override, kept, tmp_path):
    steps = tuple(override.split("."))
    case = specs.Case(tmp_path / "spec.yaml", {}, [f"{override}={text}"], (steps, text))
    good = {"train": {"keep": 2, "ema": 0.5}}
    case.base = specs.bases(tmp_path)[3]
    with pytest.raises(Fault, match="is written"):
        specs.check_spec(case, {"train": {**good["train"], steps[1]: kept}})

"""Whatever a file of data holds, it is refused in one line, or read for what it is."""

from __future__ import annotations

import random
import warnings
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.fuzz import guard, reading
from tests.fuzz.formats import FORMATS
from tests.fuzz.harness import case, run_case
from vaezoo.data.loader import Loader
from vaezoo.utils.errors import DataError

CASES = 200


def faults_of(form, seeds, folder):
    """The verdicts of cases, and a line for each fault with the command that repeats it."""
    verdicts, faults = Counter(), []
    for seed in seeds:
        try:
            verdicts[run_case(form, seed, folder)] += 1
        except guard.Fault as fault:
            mutator = case(form, seed)[2]
            faults.append(
                f"python benchmarks/fuzz.py {form.name} --seed {seed}  # {mutator}: {fault}"
            )
    return verdicts, faults


@pytest.mark.parametrize("name", FORMATS)
def test_a_changed_source_is_refused_or_read_for_what_it_is(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    verdicts, faults = faults_of(FORMATS[name], range(CASES), tmp_path)
    assert not faults, "\n".join(faults)
    assert min(verdicts[verdict] for verdict in ("refused", "equal", "legal")) > CASES / 20


def exchange(x):
    """Each example takes the place of another."""
    return {k: exchange(v) for k, v in x.items()} if isinstance(x, dict) else x.roll(1, 0)


def change(x):
    """Values that the support holds, too."""
    return {k: change(v) for k, v in x.items()} if isinstance(x, dict) else x.flip(-1)


def shout(folder):
    raise DataError(f"{folder} some.npz table.csv songs pictures lines: one\ntwo")


IN_DATA = {
    "changes values": lambda batch: replace(batch, x=change(batch.x)),
    "exchanges examples": lambda batch: replace(batch, x=exchange(batch.x)),
    "loses an example": lambda batch: replace(
        batch.select(slice(1, None)), index=torch.arange(len(batch) - 1)
    ),
    "repeats an example": lambda batch: batch.select(
        torch.tensor([*range(1, len(batch)), len(batch) - 1])
    ),
}
AROUND = {
    "raises something else": lambda folder: {}["x"],
    "says two lines": shout,
    "warns": lambda folder: warnings.warn("careful", stacklevel=1),
    "prints": lambda folder: print("reading", flush=True),
    "draws from torch": lambda folder: torch.rand(1),
    "draws from numpy": lambda folder: np.random.rand(),
    "draws from Python": lambda folder: random.random(),
    "writes a file": lambda folder: next(folder.glob("*/changed")).joinpath("index").touch(),
    "allocates": lambda folder: np.zeros(10**8),
}


@pytest.mark.parametrize("fault", IN_DATA)
@pytest.mark.parametrize("name", FORMATS)
def test_the_judge_sees_wrong_data(name, fault, tmp_path, monkeypatch):
    class Broken(Loader):
        def first(self, count):
            return IN_DATA[fault](super().first(count))

    monkeypatch.setattr(reading, "Loader", Broken)
    assert any(faults_of(FORMATS[name], [seed], tmp_path)[1] for seed in range(CASES))


@pytest.mark.parametrize("fault", AROUND)
def test_the_judge_sees_what_no_reader_may_do(fault, tmp_path, monkeypatch):
    class Broken(Loader):
        def first(self, count):
            AROUND[fault](tmp_path)
            return super().first(count)

    monkeypatch.setattr(reading, "Loader", Broken)
    assert any(faults_of(FORMATS["text"], [seed], tmp_path)[1] for seed in range(CASES))

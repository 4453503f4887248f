"""``metrics.jsonl`` of a run: read, drawn in its report, and written on when it is resumed."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import signal
import tempfile
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import vaezoo
from tests.fuzz import odd
from tests.fuzz.damage import damage
from tests.fuzz.documents import Kind, attempt
from tests.fuzz.guard import Fault, guarded
from tests.fuzz.spec_bases import bases, write_data
from vaezoo.components.callbacks import Callback
from vaezoo.runs.directory import RunDirectory
from vaezoo.runs.report.page import write_report
from vaezoo.runs.run import report_data
from vaezoo.utils.digests import add_digest
from vaezoo.utils.errors import Interrupted

STOP, STEPS = 8, 16
_NAME = "metrics.jsonl"
_WARNING = r"/metrics\.jsonl: (line [0-9]+ is|[0-9]+ lines, first [0-9]+, are) damaged or no rec"
_KEYS = (
    "step",
    "split",
    "epoch",
    "stage",
    "time",
    "elbo",
    "loss",
    "digest",
    "lr",
    "bound",
    "rate",
)
_VALUES = ("train", "validation", "test", "other", *odd.IN_JSON)


@dataclass(frozen=True)
class Runs:
    """A run that ended, and the same one that was stopped after ``STOP`` of ``STEPS`` steps."""

    ended: Path
    stopped: Path


_folder: list[Any] = []
"""The temporary folder, which lasts as long as the process."""


class _Stop(Callback):
    """Stops this process as Ctrl-C does."""

    def log(self, record: dict[str, Any]) -> None:
        if record["step"] == STOP and record["split"] == "train":
            os.kill(os.getpid(), signal.SIGINT)


@cache
def runs() -> Runs:
    """The runs; made once by each process."""
    _folder.append(tempfile.TemporaryDirectory())
    folder = Path(_folder[-1].name)
    write_data(folder)
    train = {"steps": STEPS, "log_every": 2, "checkpoint_every": 0, "keep": 1, "device": "cpu",
             "callbacks": ["csv"]}  # fmt: skip
    spec = {**bases(folder)[2], "evaluate": ["elbo"], "train": train}
    ended = vaezoo.run(spec, out=folder / "ended").path
    with contextlib.suppress(Interrupted):
        vaezoo.run(spec, out=folder / "stopped", callbacks=[_Stop()])
    (stopped,) = (folder / "stopped" / "fuzz").iterdir()
    return Runs(ended, stopped)


class MetricsFiles(Kind):
    """The fuzzer of the records of a run."""

    name = "metrics"
    mutators = ("bytes", "sealed", "record", "line", "sealed", "lines")

    def make(self, rng: np.random.Generator, run: Path, mutator: str) -> None:
        """Changes the file of a run.

        A record that is ``sealed`` is changed, and its digest made right again.
        """
        path = run / _NAME
        lines = path.read_bytes().split(b"\n")[:-1]
        number = int(rng.integers(len(lines)))
        if mutator == "bytes":
            path.write_bytes(damage(path.read_bytes(), rng))
            return
        if mutator in ("record", "sealed"):
            record = json.loads(lines[number])
            if mutator == "sealed":
                del record["digest"]
            text = odd.write(odd.change_tree(record, rng, _VALUES, _KEYS), yaml=False)
            if mutator == "sealed":
                with contextlib.suppress(UnicodeEncodeError):
                    text = add_digest(text)
            lines[number] = text.encode("utf-8", "surrogatepass")
        elif mutator == "line":
            value = odd.odd_value(rng, odd.IN_JSON)
            text = odd.write(value, yaml=False).encode("utf-8", "surrogatepass")
            lines.insert(number, text * int(rng.integers(1, 3)))
        else:  # whole lines
            way, other = rng.integers(4), int(rng.integers(len(lines)))
            if way == 0:
                del lines[number]
            elif way == 1:
                lines.insert(other, lines[number])
            elif way == 2:
                lines[number], lines[other] = lines[other], lines[number]
            else:
                lines = lines[:number]
        path.write_bytes(
            b"".join(line + odd.pick(rng, (b"\n",) * 30 + (b"\r\n",)) for line in lines)
        )

    def judge(self, rng: np.random.Generator, place: Path, mutator: str) -> str:
        """Reads the records; then resumes the run, or draws its report."""
        is_resumed = rng.random() < 0.5
        run = place / "run"
        shutil.copytree(runs().stopped if is_resumed else runs().ended, run)
        good = (run / _NAME).read_bytes()
        self.make(rng, run, mutator)
        _check_records(place, run, good)
        return _resume(place, run) if is_resumed else _draw(place, run)

    def command(self, rng: np.random.Generator, place: Path, mutator: str) -> list[str]:
        """``vaezoo resume``, which draws the report, too."""
        run = place / "run"
        shutil.copytree(runs().stopped if rng.random() < 0.7 else runs().ended, run)
        self.make(rng, run, mutator)
        return ["resume", str(run)]


def _is_named(line: str) -> bool:
    return _NAME in line


def _check_records(place: Path, run: Path, good: bytes) -> None:
    """Checks that the records that were not damaged are read, and that others are told.

    Raises:
        Fault: a record is lost or other than written.
    """
    with guarded(place, may_warn=_WARNING) as told:
        records, is_read = attempt(RunDirectory(run).records, _is_named)
    if not is_read:
        return
    known = good.split(b"\n")[:-1]
    lines = (run / _NAME).read_bytes().split(b"\n")
    if any(b'"digest"' in line for line in lines):
        whole = [_read(line) for line in lines if line in known]
        rest = iter(records)
        missing = [record for record in whole if not any(_equal(record, each) for each in rest)]
        if missing:
            raise Fault(f"a record that is whole is lost: {missing[0]}")
    written = [record for record in map(_read, lines) if record is not None]
    for record in records:
        if not any(_equal(each, record) for each in written):
            raise Fault(f"a record that is not written: {record}")
    if len(records) < len(lines) - 1 and not told:
        raise Fault(f"{len(lines) - 1} lines, {len(records)} records, and no warning")


def _read(line: bytes) -> dict[str, Any] | None:
    """The record of a line as another reader reads it; None if it is none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict):
        value.pop("digest", None)
        odd = (None, math.inf, -math.inf)  # null, and what is written as null again
        return {key: math.nan if item in odd else item for key, item in value.items()}
    return None


def _equal(first: dict[str, Any] | None, second: dict[str, Any]) -> bool:
    return first is not None and repr(first) == repr(second)


def _resume(place: Path, run: Path) -> str:
    """Resumes a run that was stopped; returns the verdict.

    Raises:
        Fault: it has other weights than one that was not stopped, or other records.
    """
    before = [each for each in _records(run) if each["step"] <= STOP]
    with (
        mock.patch("vaezoo.runs.report.page.write_report"),
        mock.patch("vaezoo.runs.environment.subprocess.run", side_effect=OSError("no git")),
        guarded(place, memory=None, may_warn=_WARNING, may_write=True, may_draw=True),
    ):
        _, is_done = attempt(lambda: vaezoo.resume(run), lambda line: False)
    assert is_done
    names = ["model.safetensors", "evaluation.json"]
    if repr(before) == repr(_records(runs().stopped)):  # a row of it is a record
        names.append("validation.csv")
    for name in names:
        if (run / name).read_bytes() != (runs().ended / name).read_bytes():
            raise Fault(f"{name} is other than that of a run that was not stopped")
    after = _records(run)
    new = [_timeless(each) for each in _records(runs().ended) if each["step"] > STOP]
    if repr(after[: len(before)]) != repr(before):
        raise Fault("records before the checkpoint are changed")
    if repr([_timeless(each) for each in after[len(before) :]]) != repr(new):
        raise Fault("the records of the resumed steps are not those of a whole run")
    return "resumed"


def _records(run: Path) -> list[dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return RunDirectory(run).records()


def _timeless(record: dict[str, Any]) -> dict[str, Any]:
    """A record without what a clock measures."""
    clocks = ("time", "seconds", "examples_per_second")
    return {key: value for key, value in record.items() if key not in clocks}


def _draw(place: Path, run: Path) -> str:
    """Opens a run that ended and draws its report."""
    with guarded(place, memory=None, may_warn=_WARNING, may_write=True):
        opened, _ = attempt(lambda: vaezoo.open_run(run, device="cpu"), lambda line: False)
        attempt(lambda: write_report(report_data(opened)), lambda line: False)
    return "drawn"

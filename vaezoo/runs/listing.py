"""What ``vaezoo runs`` lists: the state and the figures of runs, from their small files only.

No weights are read, and nothing here imports torch. A damaged file is named, and ends nothing.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from vaezoo.runs.finding import Folder, age_key, find_folders
from vaezoo.utils.digests import parse_with_digest
from vaezoo.utils.errors import one_line, shorten
from vaezoo.utils.locks import is_locked
from vaezoo.utils.paths import exists
from vaezoo.utils.reading import MAX_BYTES, check_regular, read_small

State = Literal["finished", "running", "interrupted", "started", "damaged", "no run"]
_CRITERIA = ("bound", "elbo", "distortion")
"""The keys of a validation record of which the first that is there is shown."""
_TAIL = 1 << 16
"""How many bytes are read at the end of ``metrics.jsonl`` at first."""
_MAX_NUMBER = sys.float_info.max


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A run in a list, or a folder that ought to be one.

    Attributes:
        path: its directory.
        name: the name of the spec, by which the folder above is called.
        state: ``finished`` (evaluated), ``running`` (a process has locked it), ``interrupted``
            (there is a checkpoint to resume from), ``started`` (it failed or was killed before the
            first checkpoint), ``damaged``, or ``no run``.
        steps: the training steps of the last record; None if there is none.
        validation: the name and the value of the best validation: bound, ELBO or distortion.
        metric: the name, value and standard error of the first metric of the evaluation.
        split: of the evaluation.
        size: the bytes of all files.
        created: when it began, in seconds since 1970.
        fault: what is wrong; empty for nothing.
    """

    path: Path
    name: str = ""
    state: State = "no run"
    steps: int | None = None
    validation: tuple[str, float] | None = None
    metric: tuple[str, float, float | None] | None = None
    split: str = ""
    size: int = 0
    created: float = 0.0
    fault: str = ""

    def as_json(self) -> dict[str, Any]:
        """The summary as JSON values; ``age`` is in seconds."""
        validation = dict(zip(("name", "value"), self.validation or (), strict=False))
        metric = dict(zip(("name", "value", "standard_error"), self.metric or (), strict=False))
        created = datetime.fromtimestamp(self.created, UTC).isoformat(timespec="seconds")
        return {
            **{key: value for key, value in asdict(self).items() if key != "split"},
            "path": str(self.path),
            "validation": validation or None,
            "metric": {**metric, "split": self.split} if metric else None,
            "created": created,
            "age": max(0.0, time.time() - self.created),
        }


def list_runs(root: Path) -> Iterator[RunSummary]:
    """Yields a summary of every run below a folder, in no order."""
    for folder in find_folders(root):
        yield summarise(folder)


def summarise(folder: Folder) -> RunSummary:
    """The summary of a folder; what cannot be read of it is its fault."""
    path = folder.path
    name = path.parent.name
    if folder.fault:
        size, changed = _sizes(path)
        return RunSummary(path=path, name=name, size=size, created=changed, fault=folder.fault)
    faults: list[str] = []
    records = _Attempt(faults, "metrics.jsonl")(lambda: _read_records(path / "metrics.jsonl"))
    steps, validation = records or (None, None)
    split = "test" if exists(path / "evaluation.json") else "validation"
    file = "evaluation.json" if split == "test" else "evaluation-validation.json"
    evaluation = None
    if is_evaluated := exists(path / file):
        evaluation = _Attempt(faults, file)(lambda: _read_evaluation(path / file))
    spec = _Attempt(faults, "spec.yaml")(lambda: _check_text(path / "spec.yaml"))
    size, _ = _sizes(path)
    state: State = "damaged" if faults else "started"
    if is_locked(path / ".lock"):
        state = "running"
    elif not faults and spec is not None:
        if is_evaluated and (path / "model.safetensors").exists():
            state = "finished"
        elif any(path.glob("checkpoint/step-*.safetensors")):
            state = "interrupted"
    return RunSummary(
        path=path,
        name=name,
        state=state,
        steps=steps,
        validation=validation,
        metric=evaluation,
        split=split if is_evaluated else "",
        size=size,
        created=_created(path),
        fault="; ".join(faults),
    )


class _Attempt:
    """Reads a file, or adds to the faults why it cannot be read."""

    def __init__(self, faults: list[str], name: str) -> None:
        self.faults, self.name = faults, name

    def __call__(self, read: Any) -> Any:
        try:
            return read()
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            reason = error.strerror if isinstance(error, OSError) else one_line(error)
            self.faults.append(f"{self.name}: {shorten(reason or str(error))}")
        except RecursionError:
            self.faults.append(f"{self.name}: is nested too deep")
            return None


def _created(path: Path) -> float:
    """When a run began, by its name, else by its spec; in seconds since 1970."""
    stamp, changed = age_key(path)
    try:
        return datetime.strptime(stamp, "%Y%m%d-%H%M%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return changed


def _check_text(path: Path) -> bool:
    """Whether a spec is a file with text; its content is checked where it is used."""
    if not read_small(path).decode("utf-8").strip():
        raise ValueError("is empty")
    return True


def _read_evaluation(path: Path) -> tuple[str, float, float | None] | None:
    """The first metric of an evaluation; None if it has none."""
    content, _ = parse_with_digest(read_small(path).decode("utf-8").rstrip("\n"))
    for name, row in content["metrics"].items():
        error = row["standard_error"]
        return name, _number(row["value"]), None if error is None else _number(error)
    return None


def _number(value: Any) -> float:
    """A number of a file; ValueError for other values, and for one that is out of range."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number")
    if not -_MAX_NUMBER <= value <= _MAX_NUMBER:
        raise ValueError("a number is out of range")
    return float(value)


def _read_records(path: Path) -> tuple[int | None, tuple[str, float] | None]:
    """The step of the last record, and the best validation.

    The last validation that was the best so far is looked for from the end, so that most of a long
    file is not read.
    """
    if not exists(path):
        return None, None
    check_regular(path)
    with open(path, "rb") as file:
        size, length = os.fstat(file.fileno()).st_size, _TAIL
        while True:
            file.seek(max(0, size - length))
            tail = file.read()
            best = tail.rfind(b'"best": true')
            if length >= min(size, MAX_BYTES) or (best >= 0 and tail.rfind(b"\n", 0, best) >= 0):
                break
            length *= 8
    lines = [line for line in tail[: tail.rfind(b"\n") + 1].split(b"\n") if line]
    if not lines:
        return None, None
    step = int(_number(json.loads(lines[-1])["step"]))
    if best < 0:
        return step, None
    line = tail[tail.rfind(b"\n", 0, best) + 1 : tail.find(b"\n", best)]
    record = json.loads(line)
    found = next((key for key in _CRITERIA if record.get(key) is not None), None)
    return step, None if found is None else (found, _number(record[found]))


def _sizes(path: Path) -> tuple[int, float]:
    """The bytes of all files below a folder, and when the newest of them changed."""
    total, newest, folders = 0, path.lstat().st_mtime, [path]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    else:
                        about = entry.stat(follow_symlinks=False)
                        total, newest = total + about.st_size, max(newest, about.st_mtime)
        except OSError:  # of a folder that is not readable, or was removed meanwhile
            continue
    return total, newest

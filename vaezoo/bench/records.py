"""The record of a suite, in the form of the files in ``docs/results``."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vaezoo.bench.leaderboard import Row, spread
from vaezoo.bench.suite import Suite
from vaezoo.utils.files import read_json, write_text
from vaezoo.utils.json_text import json_text

_DIGITS = 6
"""The significant digits of a recorded figure."""
_KEPT = ("order", "title", "introduction", "binarization", "machine")
"""What a file keeps when it is written again, because people write it."""
_TRAINING = "training"
_TIME_COLUMN = {
    "figure": _TRAINING,
    "unit": "CPU s",
    "meaning": "Mean over the seeds of what training and its validations took.",
    "samples": None,
    "error": None,
}


def write_record(path: Path, suite: Suite, rows: Sequence[Row], command: str) -> None:
    """Writes the figures of a suite; texts of a file that is there already are kept.

    Args:
        path: a file that ``docs/results`` may hold.
        suite: the suite.
        rows: its table.
        command: what prints the figures.
    """
    record = suite_record(suite, rows, command)
    if path.is_file():
        old = read_json(path)
        record |= {key: old[key] for key in _KEPT if key in old}
    write_text(path, json_text(record, indent=2) + "\n")


def suite_record(suite: Suite, rows: Sequence[Row], command: str) -> dict[str, Any]:
    """The content of a file of ``docs/results``: a row for each case, a column for each metric."""
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    binarizations = {row.binarization for row in rows}
    return {
        "order": 900,
        "title": suite.title or suite.name,
        "introduction": _introduction(suite, rows),
        "data": ", ".join(dict.fromkeys(row.data for row in rows)),
        "split": "test",
        "binarization": binarizations.pop() if len(binarizations) == 1 else None,
        "machine": f"{platform.machine()}, {platform.system()}, CPU",
        "date": datetime.now(UTC).date().isoformat(),
        "columns": [_column(name, rows) for name in names] + [_TIME_COLUMN],
        "records": [_record(row, command) for row in rows],
    }


def _introduction(suite: Suite, rows: Sequence[Row]) -> str:
    budget = suite.budget
    given = {} if budget is None else budget.model_dump(exclude_none=True)
    length = ", ".join(f"{value:g} {name.replace('_', ' ')}" for name, value in given.items())
    seeds = ", ".join(map(str, suite.seeds))
    text = f"Each run trains for {length or 'the length of its spec'}; seeds {seeds}."
    chosen = [f"{row.name} `{row.setting}`" for row in rows if row.setting]
    if chosen:
        choice = suite.choose_by
        text += (
            f" Settings were chosen by `{choice.metric}` of the validation split, seeds "
            f"{', '.join(map(str, choice.seeds))}: {'; '.join(chosen)}."
        )
    return text


def _column(name: str, rows: Sequence[Row]) -> dict[str, Any]:
    row = next(row for row in rows if name in row.values)
    return {
        "figure": name.replace("_", " "),
        "unit": row.units[name],
        "meaning": row.meanings[name],
        "samples": row.samples.get(name),
        "error": "standard deviation over seeds" if len(row.seeds) > 1 else None,
    }


def _record(row: Row, command: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, measured in row.values.items():
        mean, deviation = spread(measured)
        if any(map(math.isnan, measured)):
            continue
        value: dict[str, Any] = {"value": [_rounded(each) for each in measured]}
        if len(measured) > 1:
            value |= {"mean": _rounded(mean), "error": _rounded(deviation)}
        values[name.replace("_", " ")] = value
    if not math.isnan(row.seconds):
        values[_TRAINING] = {"value": round(row.seconds)}
    return {"name": row.name, "command": command, "seeds": [*row.seeds], "values": values}


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")

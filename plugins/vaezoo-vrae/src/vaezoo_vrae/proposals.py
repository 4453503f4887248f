"""Specs for texts, music and series of users."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import vaezoo
from vaezoo_vrae.series_files import is_number, parse_date, read_header
from vaezoo_vrae.sources import TABLE_SUFFIXES

_STEPS = 4000
_LONG = 200
"""The length from which series and pieces are cut into windows of half of it."""
_DATE_FORMATS = ("%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y", "%Y/%m/%d %H:%M:%S")
"""Formats of dates beside those of ISO 8601 that cannot be mistaken for another."""
_TIME_NAMES = frozenset(
    {"time", "timestamp", "date", "datetime", "unix_time", "epoch", "seconds", "t", "ts"}
)
"""What columns of times in numbers are called."""
_REASONS_OF_NAMED = {
    "data.time": "names the steps, and is not modelled",
    "data.columns": "the channels",
    "data.missing": "cells without a value have no influence; vaezoo impute fills them",
    "data.stride": "windows overlap by half",
    "model.latents": "steps depend on z alone, so that gaps are filled from both sides; "
    "{type: chain} has a z at every step",
}


def propose_text(path: str, data: vaezoo.Dataset) -> vaezoo.Proposal:
    """A spec for lines of text."""
    longest, symbols = data.spec.shape
    classes = len(data.spec.classes)
    batch_size, epochs, why = vaezoo.training_length(data.sizes["train"], _STEPS)
    model: dict[str, Any] = {
        "latent_dim": 32,
        "encoder": {"type": "recurrent", "hidden": [64], "units": 128, "direction": "both"},
        "latents": {"type": "recurrent", "units": 256, "word_dropout": 0.3, "dropout": 0.2},
        "decoder": {"type": "steps", "hidden": []},
        "likelihood": "categorical",
    }
    reasons = {
        "data.max_length": "longer lines are left out and counted",
        "model.latents": "word dropout keeps the decoder from ignoring z",
        "regularizers": "the KL sets in slowly, or z stays unused",
        "train.epochs": why,
    }
    found = [f"{symbols:,} symbols, at most {longest:,} in a line", *_counts(data)]
    if classes:
        found.append(f"{classes} labels; condition: {{type: label}} uses them (vaezoo-cvae)")
    source = {"type": "text", "path": path, "max_length": longest, "batch_size": batch_size}
    return _proposal(
        data, found, source, model, epochs, reasons, ["elbo", "reconstruction-accuracy"]
    )


def propose_music(path: str, data: vaezoo.Dataset) -> vaezoo.Proposal:
    """A spec for MIDI files."""
    longest, keys = data.spec.shape
    window = _LONG // 2 if longest > _LONG else 0
    batch_size, epochs, why = vaezoo.training_length(data.sizes["train"], _STEPS)
    model = {
        "latent_dim": 32,
        "encoder": {"type": "recurrent", "hidden": [200], "direction": "backward", "units": 200},
        "latents": {"type": "chain", "units": 200, "hidden": 200, "skip": True, "dropout": 0.3},
        "decoder": {"type": "steps", "hidden": [500], "dropout": 0.4},
        "likelihood": "bernoulli",
    }
    reasons = {
        "data.window": "long pieces are cut for training",
        "model.latents": "a latent variable at every step, given those before it",
        "model.likelihood": "each of the keys sounds or not",
        "regularizers": "the KL sets in slowly, or z stays unused",
        "train.epochs": why,
    }
    source = {
        "type": "midi",
        "path": path,
        "unreadable": "skip",
        "batch_size": min(batch_size, 16),
    }
    source |= {"window": window} if window else {}
    found = [f"{keys} keys, at most {longest:,} steps in a piece", *_counts(data)]
    return _proposal(data, found, source, model, epochs, reasons, [{"type": "steps"}, "next-step"])


def propose_series(
    options: Mapping[str, Any], data: vaezoo.Dataset, *, is_named: bool
) -> vaezoo.Proposal:
    """A spec for series of numbers.

    Args:
        options: those of ``sequences``, with windows if channels have names.
        data: what is read with these options.
        is_named: whether channels have names.
    """
    longest, channels = data.spec.shape
    source = {"type": "sequences", **options}
    if not is_named and longest > _LONG:
        source["window"] = _LONG // 2
    batch_size, epochs, why = vaezoo.training_length(data.sizes["train"], _STEPS)
    model = {
        "latent_dim": min(32, 4 * channels),
        "encoder": {"type": "recurrent", "hidden": [64], "units": 64, "direction": "both"},
        "latents": {"type": "recurrent", "units": 64, "dropout": 0.1},
        "decoder": {"type": "steps", "hidden": [64]},
        "likelihood": {"type": "laplace", "scale": "learned"},
    }
    reasons = {
        "data.unreadable": "files that cannot be read are left out and counted",
        "data.window": "long series are cut into windows",
        "model.latent_dim": "four for each channel, at most 32",
        "model.latents": "one z for a whole series; {type: chain} has one at every step",
        "model.likelihood": "its tails are heavy, so that single spikes do not rule the training",
        "regularizers": "the KL sets in slowly, or z stays unused",
        "train.epochs": why,
    }
    if is_named:
        model["latents"] = {"type": "recurrent", "units": 64, "teacher_forcing": False}
        reasons |= _REASONS_OF_NAMED
    if data.spec.support == "binary":
        model["likelihood"] = "bernoulli"
        reasons["model.likelihood"] = "every cell is 0 or 1"
    source["batch_size"] = batch_size
    what = "channel" if channels == 1 else "channels"
    found = [f"{channels} {what}, at most {longest:,} steps", *_counts(data)]
    return _proposal(data, found, source, model, epochs, reasons, ["elbo", {"type": "steps"}])


def propose_window(longest: int) -> dict[str, int]:
    """Options for windows that overlap by half, if series are long."""
    return {"window": _LONG // 2, "stride": _LONG // 4} if longest > _LONG else {}


def guess_options(path: Path) -> dict[str, Any] | None:
    """The options of ``sequences`` for named channels, from the first csv file.

    Args:
        path: a csv file, or a folder.

    Returns:
        None if there is no csv file, or it has no names of columns.

    Raises:
        vaezoo.DataError: the file cannot be read.
    """
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    files = [file for file in files if file.suffix.lower() in TABLE_SUFFIXES]
    rows = vaezoo.read_rows(files[0]) if files else []
    names = [cell.strip() for cell in rows[0][1]] if rows else []
    if all(is_number(name) or not name for name in names):
        return None
    names, rows = read_header(files[0])
    cells = {name: [row[i].strip() for _, row in rows] for i, name in enumerate(names) if name}
    options: dict[str, Any] = {}
    for name, column in cells.items():
        time_format = _time_format(name, column)
        if time_format is not None:
            options = {"time": name} | ({"time_format": time_format} if time_format else {})
            break
    channels = [
        name
        for name, column in cells.items()
        if name != options.get("time") and _holds_numbers(column)
    ]
    return options | {"columns": channels, "missing": "hide"} if channels else None


def _holds_numbers(column: Sequence[str]) -> bool:
    """Whether all cells of a column are numbers or missing, and some are numbers."""
    try:
        return not all(math.isnan(number) for number in [*map(vaezoo.parse_number, column)])
    except ValueError:
        return False


def _time_format(name: str, column: Sequence[str]) -> str | None:
    """The format of the dates of a column, empty for numbers and ISO dates; None for no times.

    Numbers are times if the column is called so, and they grow.
    """
    if all(map(is_number, column)):
        numbers = [float(cell) for cell in column]
        grows = all(before < after for before, after in pairwise(numbers))
        return "" if grows and name.split()[0].lower() in _TIME_NAMES else None
    for time_format in ("", *_DATE_FORMATS):
        with suppress(ValueError):
            for cell in column:
                parse_date(cell, time_format)
            return time_format
    return None


def _counts(data: vaezoo.Dataset) -> list[str]:
    """The sizes of the splits, what is left out and what to check."""
    sizes = ", ".join(f"{count:,} {name}" for name, count in data.sizes.items())
    return [sizes, *data.left_out, *(f"please check: {note}" for note in data.notes)]


def _proposal(
    data: vaezoo.Dataset,
    found: list[str],
    source: Mapping[str, Any],
    model: Mapping[str, Any],
    epochs: int,
    reasons: Mapping[str, str],
    metrics: list[Any],
) -> vaezoo.Proposal:
    """A spec with a slow start of the KL."""
    steps = epochs * -(-data.sizes["train"] // source["batch_size"])
    weight = {"type": "linear", "start": 0.0, "end": 1.0, "steps": max(1, steps // 4)}
    spec = {
        "requires": ["vaezoo-vrae>=0.1"],
        "data": dict(source),
        "model": dict(model),
        "regularizers": [{"type": "kl", "weight": weight}],
        "train": {
            "epochs": epochs,
            "optimizer": {"type": "adam", "lr": 1e-3},
            "scheduler": "cosine-annealing",
            "clip": 1.0,
            "ema": 0.99,
        },
        "evaluate": metrics,
    }
    steady = {
        "train.scheduler": "smaller steps towards the end",
        "train.ema": "averages weights, which jump from step to step",
    }
    return vaezoo.Proposal(found=found, spec=spec, reasons={**reasons, **steady})

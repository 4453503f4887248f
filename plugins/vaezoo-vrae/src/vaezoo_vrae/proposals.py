"""Specs for texts, music and series of users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import vaezoo

_STEPS = 4000
_LONG = 200
"""The length from which series and pieces are cut into windows of half of it."""


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
    return _proposal(found, source, model, epochs, reasons, ["elbo", "reconstruction-accuracy"])


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
    return _proposal(found, source, model, epochs, reasons, [{"type": "steps"}, "next-step"])


def propose_series(path: str, data: vaezoo.Dataset) -> vaezoo.Proposal:
    """A spec for series of numbers."""
    longest, channels = data.spec.shape
    window = _LONG // 2 if longest > _LONG else 0
    batch_size, epochs, why = vaezoo.training_length(data.sizes["train"], _STEPS)
    model = {
        "latent_dim": min(32, 4 * channels),
        "encoder": {"type": "recurrent", "hidden": [64], "units": 64, "direction": "both"},
        "latents": {"type": "recurrent", "units": 64, "dropout": 0.1},
        "decoder": {"type": "steps", "hidden": [64]},
        "likelihood": {"type": "normal", "scale": "predicted"},
    }
    reasons = {
        "data.window": "long series are cut into windows",
        "model.latent_dim": f"four for each of {channels} channels",
        "model.latents": "one z for a whole series; {type: chain} has one at every step",
        "model.likelihood": "the scale may differ from step to step",
        "regularizers": "the KL sets in slowly, or z stays unused",
        "train.epochs": why,
    }
    source: dict[str, Any] = {"type": "sequences", "path": path, "batch_size": batch_size}
    source |= {"window": window} if window else {}
    found = [f"{channels} channels, at most {longest:,} steps", *_counts(data)]
    return _proposal(found, source, model, epochs, reasons, ["elbo", {"type": "steps"}])


def _counts(data: vaezoo.Dataset) -> list[str]:
    """The sizes of the splits, what is left out and what to check."""
    sizes = ", ".join(f"{count:,} {name}" for name, count in data.sizes.items())
    return [sizes, *data.left_out, *(f"please check: {note}" for note in data.notes)]


def _proposal(
    found: list[str],
    source: Mapping[str, Any],
    model: Mapping[str, Any],
    epochs: int,
    reasons: Mapping[str, str],
    metrics: list[Any],
) -> vaezoo.Proposal:
    """A spec with a slow start of the KL."""
    weight = {"type": "linear", "start": 0.0, "end": 1.0, "steps": _STEPS // 4}
    spec = {
        "requires": ["vaezoo-vrae>=0.1"],
        "data": dict(source),
        "model": dict(model),
        "regularizers": [{"type": "kl", "weight": weight}],
        "train": {"epochs": epochs, "optimizer": {"type": "adam", "lr": 1e-3}, "clip": 5.0},
        "evaluate": metrics,
    }
    return vaezoo.Proposal(found=found, spec=spec, reasons=reasons)

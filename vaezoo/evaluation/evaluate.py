"""Runs metrics and writes down what they found."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from vaezoo.composer import unused
from vaezoo.data.loader import Loader
from vaezoo.model import Model
from vaezoo.seeds import seeded
from vaezoo.spec.options import Bound

SCHEMA_VERSION = 1


def evaluate(model: Model, metrics: Sequence[Bound], data: Loader, split: str, seed: int) -> dict[str, Any]:
    """Every metric on one split, as ``evaluation.json`` holds it; ``undefined`` says why a metric has no value."""
    model.eval()
    found: dict[str, Any] = {}
    undefined: dict[str, str] = {}
    for bound in metrics:
        with model.inference(), seeded(model.device, seed, "evaluation", bound.name):
            try:
                results = bound.build()(model, data)
            except (RuntimeError, ValueError) as error:  # not defined here, out of memory, ...: the others still count
                undefined[unused(bound.name, undefined)] = " ".join(str(error).split())
                continue
        for name, result in results.items():
            row = dataclasses.asdict(result)
            details = row.pop("details") or {}
            row["standard_error"] = row.pop("error")
            found[unused(name, found)] = row | dict(details)
    return {"schema_version": SCHEMA_VERSION, "split": split, "seed": seed, "metrics": found, "undefined": undefined}


def in_words(evaluation: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Each metric's name, value with its standard error, unit, and how it was measured."""
    rows = []
    for name, row in evaluation["metrics"].items():
        error = "" if row["standard_error"] is None else f" ± {row['standard_error']:.3f}"
        known = ("value", "standard_error", "examples", "unit")
        details = [f"{key.replace('_', ' ')} {value:g}" for key, value in row.items() if key not in known]
        how = ", ".join([f"{row['examples']:,} examples", *details])
        rows.append((name.replace("_", " "), f"{row['value']:.3f}{error}", row["unit"], how))
    return rows + [(name, "not defined", "", reason) for name, reason in evaluation["undefined"].items()]

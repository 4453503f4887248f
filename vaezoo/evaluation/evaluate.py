"""Runs metrics and writes down what they found."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from vaezoo.data.loader import Loader
from vaezoo.model.model import Model
from vaezoo.model.task import unique_name
from vaezoo.utils.seeds import seeded

SCHEMA_VERSION = 1


class MetricSpec(Protocol):
    """A metric that a spec names and that is built when its turn comes."""

    @property
    def name(self) -> str:
        """The name in the spec; the metric's random stream is seeded by it."""

    def build(self) -> Any:
        """The metric."""


def evaluate(model: Model, metrics: Sequence[MetricSpec], data: Loader, split: str, seed: int) -> dict[str, Any]:
    """Every metric on one split, as ``evaluation.json`` holds it; ``undefined`` says why a metric has no value.

    Args:
        model: is put into evaluation mode.
        metrics: what is measured.
        data: the split.
        split: its name.
        seed: each metric draws from a stream of this seed and its own name.
    """
    model.eval()
    found: dict[str, Any] = {}
    undefined: dict[str, str] = {}
    for metric in metrics:
        with model.inference(), seeded(model.device, seed, "evaluation", metric.name):
            try:
                results = metric.build()(model, data)
            except (RuntimeError, ValueError) as error:  # not defined here, out of memory, ...: the others still count
                undefined[unique_name(metric.name, undefined)] = " ".join(str(error).split())
                continue
        for name, result in results.items():
            row = dataclasses.asdict(result)
            details = row.pop("details") or {}
            row["standard_error"] = row.pop("error")
            found[unique_name(name, found)] = row | dict(details)
    return {"schema_version": SCHEMA_VERSION, "split": split, "seed": seed, "metrics": found, "undefined": undefined}


def metric_rows(evaluation: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Each metric's name, value with its standard error, unit, and how it was measured."""
    rows = []
    for name, row in evaluation["metrics"].items():
        error = "" if row["standard_error"] is None else f" ± {row['standard_error']:.3f}"
        known = ("value", "standard_error", "examples", "unit")
        details = [f"{key.replace('_', ' ')} {value:g}" for key, value in row.items() if key not in known]
        how = ", ".join([f"{row['examples']:,} examples", *details])
        rows.append((name.replace("_", " "), f"{row['value']:.3f}{error}", row["unit"], how))
    return rows + [(name, "not defined", "", reason) for name, reason in evaluation["undefined"].items()]

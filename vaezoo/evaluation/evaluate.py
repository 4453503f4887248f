"""Runs the metrics of a spec and collects their results in the form of ``evaluation.json``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from vaezoo.data.loader import Loader
from vaezoo.model.model import Model
from vaezoo.model.task import unique_name
from vaezoo.utils.errors import one_line
from vaezoo.utils.seeds import seeded

SCHEMA_VERSION = 1


class MetricSpec(Protocol):
    """A metric that is built right before it runs, such as a ``ComponentSpec``."""

    @property
    def name(self) -> str:
        """The name in the spec, from which the seed of the metric's random draws is derived."""

    def build(self) -> Any:
        """Constructs the metric."""


def evaluate(
    model: Model, metrics: Sequence[MetricSpec], data: Loader, split: str, *, seed: int
) -> dict[str, Any]:
    """Runs metrics on one split.

    Args:
        model: is put into evaluation mode.
        metrics: the metrics to run.
        data: the split.
        split: its name.
        seed: the seed of the run; the random draws of a metric depend only on it and on the
            metric's name.

    Returns:
        The contents of ``evaluation.json``: ``metrics`` maps each number's name to its value,
        standard error and details; ``undefined`` maps each metric that failed to the reason.
    """
    model.eval()
    rows: dict[str, Any] = {}
    undefined: dict[str, str] = {}
    for metric in metrics:
        with model.inference(), seeded(model.device, seed, "evaluation", metric.name):
            try:
                estimates = metric.build()(model, data)
            except (
                RuntimeError,
                ValueError,
            ) as error:  # such as: not defined for this model, out of memory
                undefined[unique_name(metric.name, undefined)] = one_line(error)
                continue
        for name, estimate in estimates.items():
            row = dataclasses.asdict(estimate)
            details = row.pop("details") or {}
            row["standard_error"] = row.pop("error")
            rows[unique_name(name, rows)] = row | dict(details)
    return {
        "schema_version": SCHEMA_VERSION,
        "split": split,
        "seed": seed,
        "metrics": rows,
        "undefined": undefined,
    }


def metric_rows(evaluation: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Rows of a table: name, value with standard error, unit, and how it was measured."""
    rows = []
    for name, row in evaluation["metrics"].items():
        error = "" if row["standard_error"] is None else f" ± {row['standard_error']:.3f}"
        other_columns = ("value", "standard_error", "examples", "unit")
        details = [
            f"{key.replace('_', ' ')} {value:g}"
            for key, value in row.items()
            if key not in other_columns
        ]
        method = ", ".join([f"{row['examples']:,} examples", *details])
        rows.append((name.replace("_", " "), f"{row['value']:.3f}{error}", row["unit"], method))
    return rows + [
        (name, "not defined", "", reason) for name, reason in evaluation["undefined"].items()
    ]

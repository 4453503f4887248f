"""Runs the metrics of a spec and collects their results in the form of ``evaluation.json``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Protocol

import torch
from torch import Tensor

from vaezoo.data.loader import Loader
from vaezoo.evaluation.metric import Estimate, Metric
from vaezoo.model.model import Model
from vaezoo.model.task import unique_name
from vaezoo.utils.errors import VaezooError, one_line
from vaezoo.utils.finite import NotFiniteError, first_fault
from vaezoo.utils.seeds import seeded

SCHEMA_VERSION = 1
_COLUMNS = ("value", "standard_error", "examples", "unit", "note", "bound", "series")
"""The keys of a metric in ``evaluation.json`` that are no details."""
_MAX_PLAIN = 1e9
"""Numbers from this size on are written with an exponent."""


class MetricSpec(Protocol):
    """A metric that is built right before it runs, such as a ``ComponentSpec``."""

    @property
    def name(self) -> str:
        """The name in the spec, from which the seed of the metric's random draws is derived."""

    def build(self) -> Any:
        """Constructs the metric."""


class Evaluation(dict[str, Any]):
    """What was measured, in the format of ``evaluation.json``.

    Attributes:
        per_example: of each metric that is a mean over examples the number of each, ``[n]``.
    """

    def __init__(self, content: Mapping[str, Any], per_example: Mapping[str, Tensor]) -> None:
        super().__init__(content)
        self.per_example = per_example


class EvaluationError(VaezooError):
    """A metric is NaN or infinite.

    Attributes:
        evaluation: all that was measured, in the format of ``evaluation.json``.
    """

    def __init__(self, evaluation: Evaluation, source: str) -> None:
        self.evaluation = evaluation
        faults = "; ".join(f"{name}: {why}" for name, why in evaluation["not_finite"].items())
        super().__init__(f"{source}: {evaluation['split']} split: {faults}")


def evaluate(
    model: Model,
    metrics: Sequence[MetricSpec],
    data: Loader,
    split: str,
    *,
    seed: int,
    training: Callable[[], Loader] | None = None,
) -> Evaluation:
    """Runs metrics on one split.

    Args:
        model: is put into evaluation mode.
        metrics: the metrics to run.
        data: the split.
        split: its name.
        seed: the seed of the run; the random draws of a metric depend only on it and on the
            metric's name.
        training: loads the training split, for metrics that compare with it.

    Returns:
        The contents of ``evaluation.json``: ``metrics`` maps each number's name to its value,
        standard error and details; ``undefined`` maps each metric that failed to the reason;
        ``not_finite`` maps each number, or metric, that is NaN or infinite to the first example at
        fault. The caller must fail if it is not empty: see ``require_all_finite``.
    """
    model.eval()
    rows: dict[str, Any] = {}
    undefined: dict[str, str] = {}
    not_finite: dict[str, str] = {}
    per_example: dict[str, Tensor] = {}
    for spec in metrics:
        with model.inference(), seeded(model.device, seed, "evaluation", spec.name):
            try:
                metric: Metric = spec.build()
                metric.training = training
                estimates = metric(model, data)
            except NotFiniteError as error:
                not_finite[unique_name(spec.name, not_finite)] = str(error)
                continue
            except (
                RuntimeError,
                ValueError,
            ) as error:  # such as: not defined for this model, out of memory
                undefined[unique_name(spec.name, undefined)] = one_line(error)
                continue
            for name, estimate in estimates.items():
                name = unique_name(name, {**rows, **not_finite})
                if fault := _fault(estimate, model, data):
                    not_finite[name] = fault
                else:
                    rows[name] = _row(estimate)
                    if estimate.per_example is not None:
                        per_example[name] = estimate.per_example
    return Evaluation(_document(split, seed, rows, undefined, not_finite), per_example)


def describe_estimates(
    estimates: Mapping[str, Estimate], split: str, *, seed: int
) -> dict[str, Any]:
    """Estimates that are measured already, in the format of ``evaluation.json``.

    Args:
        estimates: by name; all are finite.
        split: where they were measured.
        seed: the seed of their random draws.
    """
    rows = {name: _row(estimate) for name, estimate in estimates.items()}
    return _document(split, seed, rows, {}, {})


def _document(
    split: str,
    seed: int,
    rows: Mapping[str, Any],
    undefined: Mapping[str, str],
    not_finite: Mapping[str, str],
) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "split": split,
        "seed": seed,
        "metrics": rows,
        "undefined": undefined,
        "not_finite": not_finite,
    }


def require_all_finite(evaluation: Evaluation, source: object) -> Evaluation:
    """Returns an evaluation in which every metric is finite.

    Args:
        evaluation: what ``evaluate`` returned.
        source: what was evaluated, for the message.

    Raises:
        EvaluationError: a metric is not; it holds the evaluation, so that the others can be kept.
    """
    if evaluation["not_finite"]:
        raise EvaluationError(evaluation, str(source))
    return evaluation


def _fault(estimate: Estimate, model: Model, data: Loader) -> str:
    """Why an estimate is not finite, with the first example at fault; empty if it is finite."""
    if not math.isfinite(estimate.value):
        reason = f"it is {estimate.value}"
    elif estimate.error is not None and not math.isfinite(estimate.error):
        reason = f"its standard error is {estimate.error}"
    else:
        return ""
    if estimate.note:
        return estimate.note
    example = _find_example(model, data)
    return f"{reason}; {example}" if example else reason


def _find_example(model: Model, data: Loader) -> str:
    """The first example whose ELBO is not finite, in words; empty if none is found."""
    bounds = []
    with suppress(RuntimeError, ValueError):  # of a density that is missing or refuses NaN
        for batch in data.ordered(model.batch_size()):
            trace = model(batch)
            bounds.append(trace.mean_elbo if trace.has_rate else -trace.mean_distortion)
    return first_fault(torch.cat(bounds), "the ELBO of example") if bounds else ""


def _row(estimate: Estimate) -> dict[str, Any]:
    """An estimate in the form of ``evaluation.json``; details that are not finite become null."""
    details = {
        name: value if math.isfinite(value) else None
        for name, value in (estimate.details or {}).items()
    }
    row = {
        "value": estimate.value,
        "standard_error": estimate.error,
        "examples": estimate.examples,
        "unit": estimate.unit,
        **details,
    }
    series = None if estimate.series is None else asdict(estimate.series)
    said = {"note": estimate.note, "bound": estimate.bound, "series": series}
    return row | {name: value for name, value in said.items() if value}


def _format_number(value: float) -> str:
    """A number with three decimals, or, of a diverged run, with an exponent."""
    return f"{value:.3f}" if abs(value) < _MAX_PLAIN else f"{value:.3e}"


def metric_rows(evaluation: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Rows of a table: name, value with standard error, unit, and how it was measured.

    The last one begins with the kind of bound that the number is, if it is one.
    """
    rows = []
    for name, row in evaluation["metrics"].items():
        error = row["standard_error"]
        error = "" if error is None else f" ± {_format_number(error)}"
        details = [
            f"{key.replace('_', ' ')} {'not finite' if value is None else f'{value:g}'}"
            for key, value in row.items()
            if key not in _COLUMNS
        ]
        method = f"{row['bound']}; " if row.get("bound") else ""
        method += ", ".join([f"{row['examples']:,} examples", *details])
        method += f"; {row['note']}" if row.get("note") else ""
        rows.append(
            (name.replace("_", " "), f"{_format_number(row['value'])}{error}", row["unit"], method)
        )
    faults = {
        "not finite": evaluation.get("not_finite", {}),  # which earlier versions did not record
        "not defined": evaluation["undefined"],
    }
    return rows + [
        (name, value, "", reason)
        for value, reasons in faults.items()
        for name, reason in reasons.items()
    ]

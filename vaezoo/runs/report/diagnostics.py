"""Faults of training that the records of a run show: collapse, overfitting, a diverged rate.

The limits are chosen such that a run that was trained as usual has none of them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

_COLLAPSED_RATE = 0.1
"""A rate below this number of nats carries next to nothing of an example."""
_FACTOR = 10.0
"""A value that is this many times its running level has diverged."""
_LEAST_LEVEL = 10.0
"""The running level, in nats, is taken to be at least this much."""
_WINDOW, _WARM_UP = 10, 5
"""The records that the running level is the median of, and those that are not judged."""
_MARGIN = 2.0
"""How many standard errors the validation split must be worse by."""
_LAST = 3
"""How many of the last validations are taken together."""


@dataclass(frozen=True)
class Diagnosis:
    """A fault of a run.

    Attributes:
        kind: its name.
        text: what was seen, and what usually helps, as a sentence.
    """

    kind: Literal["collapse", "overfitting", "diverged"]
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


def diagnose(
    records: Sequence[Mapping[str, Any]], evaluation: Mapping[str, Any]
) -> list[Diagnosis]:
    """The faults of a run.

    Args:
        records: the records of ``metrics.jsonl``.
        evaluation: the content of ``evaluation.json``.
    """
    stages = list(dict.fromkeys(record.get("stage", "") for record in records))
    own = [[r for r in records if r.get("stage", "") == stage] for stage in stages]
    metrics = evaluation["metrics"]
    diverged = next(filter(None, map(_diverged, own)), None)
    last = own[-1] if own else []
    found = (_collapse(last, metrics), _overfitting(last, metrics), diverged)
    return [diagnosis for diagnosis in found if diagnosis is not None]


def _collapse(
    records: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]
) -> Diagnosis | None:
    """A rate close to 0, or no latent dimension that depends on the data."""
    validations = [r for r in records if r["split"] == "validation" and _finite(r, "rate")]
    selected = [record for record in validations if record.get("best")] or validations
    rate = selected[-1]["rate"] if selected else metrics.get("rate", {}).get("value")
    active = metrics.get("active_units", {}).get("value")
    if rate is not None and rate < _COLLAPSED_RATE:
        seen = f"the rate is {rate:.2g} nats per example"
    elif active == 0:
        seen = "no latent dimension is active"
    else:
        return None
    return Diagnosis(
        "collapse",
        f"{seen}: the latent variables say next to nothing of an example; what usually helps: a "
        "smaller or slowly growing weight of kl, free bits, or a weaker decoder",
    )


def _overfitting(
    records: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]
) -> Diagnosis | None:
    """A bound that gets worse on validation examples while it is better on those of training."""
    series = {
        split: [
            (r["step"], r["elbo"]) for r in records if r["split"] == split and _finite(r, "elbo")
        ]
        for split in ("train", "validation")
    }
    validation = [value for _, value in series["validation"]]
    if len(validation) <= 2 * _LAST or not series["train"]:
        return None
    best = max(range(len(validation)), key=lambda i: validation[i])
    after = validation[best + 1 :]
    if len(after) < _LAST:
        return None
    step, end = series["validation"][best][0], statistics.median(after[-_LAST:])
    error = metrics.get("elbo", {}).get("standard_error") or 0.01 * abs(validation[best])
    train = statistics.median([value for _, value in series["train"]][-_LAST:])
    if validation[best] - end <= error or train - end <= _MARGIN * error:
        return None
    return Diagnosis(
        "overfitting",
        f"after step {step:,} the ELBO of the validation split fell from {validation[best]:.1f} "
        f"to {end:.1f} nats per example, while that of training reached {train:.1f}; what usually "
        "helps: early_stopping, more data, weight decay, or a smaller model",
    )


def _diverged(records: Sequence[Mapping[str, Any]]) -> Diagnosis | None:
    """A rate or a distortion that jumped far above its running level."""
    for key in ("rate", "distortion"):
        for split in ("train", "validation"):
            own = [r for r in records if r["split"] == split and key in r]
            for index in range(min(_WARM_UP, len(own)), len(own)):
                before = [r[key] for r in own[max(0, index - _WINDOW) : index] if _finite(r, key)]
                if before and _is_jump(before, own[index][key], key):
                    return _describe_jump(key, split, own[index], statistics.median(before))
    return None


def _is_jump(before: Sequence[float], value: float, key: str) -> bool:
    if not math.isfinite(value):
        return True
    level = statistics.median(before)
    if key == "rate":
        return value > _FACTOR * max(level, _LEAST_LEVEL)
    # a distortion may be negative: its distance from the level counts
    return value - level > _FACTOR * max(max(before) - min(before), abs(level), _LEAST_LEVEL)


def _describe_jump(key: str, split: str, record: Mapping[str, Any], level: float) -> Diagnosis:
    value = record[key]
    jump = f"{value:.4g}" if math.isfinite(value) else "no finite number"
    return Diagnosis(
        "diverged",
        f"the {key} of the {split} split was {jump} at step {record['step']:,}, from about "
        f"{level:.4g} before; what usually helps: a smaller learning rate, train.clip, or a "
        "slower warm-up",
    )


def _finite(record: Mapping[str, Any], key: str) -> bool:
    return key in record and math.isfinite(record[key])

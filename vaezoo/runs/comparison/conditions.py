"""Whether the values of a metric may be ranked: how, and on what, they were measured."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from vaezoo.evaluation.metric import is_higher_better
from vaezoo.runs.comparison.subjects import Subject

_SETTINGS = (
    "samples",
    "particles",
    "temperatures",
    "threshold",
    "bins",
    "neighbours",
    "draws",
    "features",
    "extractor",
)
"""Details of a metric that say how it was measured, and are no results."""
_DENSITY = re.compile(r"(elbo|nll|distortion|iwae|fivo|ais)(_per_step)?(-\d+)?")
"""Metrics of log p(x)."""
_DISCRETE = ("bernoulli", "categorical", "discretized-logistic")
_CONTINUOUS = ("continuous-bernoulli", "normal", "laplace")
_NOT_OF_DATA = ("batch_size", "workers", "class_sampling", "class_weights", "hide_labels")
"""Options of data that change no test example."""


def direction(name: str, subjects: Iterable[Subject]) -> int:
    """1 if higher values of a metric are better, -1 if lower ones are, 0 if none says so."""
    better = is_higher_better(name, (each.cls for s in subjects for each in s.run.spec.evaluate))
    return 0 if better is None else 1 if better else -1


def incomparable(name: str, subjects: Sequence[Subject]) -> str:
    """Why the values of a metric may not be ranked; empty if they may.

    Args:
        name: the metric.
        subjects: all of them have it.
    """
    first = subjects[0]
    checks: tuple[tuple[str, Callable[[Subject], Any]], ...] = (
        ("split", lambda s: s.split),
        ("data set", lambda s: s.run.spec.data.name),
        ("number of examples", lambda s: s.metrics[name]["examples"]),
        ("unit", lambda s: s.metrics[name]["unit"]),
        ("kind of bound", lambda s: s.metrics[name].get("bound")),
        *((key, lambda s, key=key: s.metrics[name].get(key)) for key in _SETTINGS),
    )
    for what, read in checks:
        values = list(dict.fromkeys(read(subject) for subject in subjects))
        if len(values) > 1:
            listed = ", ".join("none" if value is None else f"{value}" for value in values)
            return f"the {what} differs: {listed}"
    reason = next(filter(None, (_other_data(first, other) for other in subjects[1:])), "")
    return reason or (_other_likelihood(name, subjects) if _DENSITY.fullmatch(name) else "")


def _other_data(first: Subject, second: Subject) -> str:
    """Why two subjects were not measured on the same examples; empty if they were."""
    options = [subject.run.spec.resolved()["data"] for subject in (first, second)]
    kinds = [each.get("binarize") for each in options]
    known = first.examples.data is not None and second.examples.data is not None
    is_shown = first.examples.shown == second.examples.shown
    if known and first.examples.data == second.examples.data and is_shown:
        return ""
    if kinds[0] != kinds[1]:
        return f"the binarization differs: {kinds[0]}, {kinds[1]}"
    if known:
        return "the examples differ: their fingerprints are not the same"
    trimmed = [
        {key: value for key, value in each.items() if key not in _NOT_OF_DATA} for each in options
    ]
    return "" if trimmed[0] == trimmed[1] else "the options of the data differ"


def _other_likelihood(name: str, subjects: Sequence[Subject]) -> str:
    """Why values of log p(x) belong to different kinds of densities; empty if they do not."""
    likelihoods = list(dict.fromkeys(_likelihood(subject) for subject in subjects))
    if len(likelihoods) < 2:
        return ""
    listed = ", ".join(likelihoods)
    if any("not normalised" in s.metrics[name].get("note", "") for s in subjects):
        return f"p(x|z) is not normalised, and the likelihood differs: {listed}"
    kinds = {each in _DISCRETE for each in likelihoods if each in _DISCRETE + _CONTINUOUS}
    if len(kinds) > 1:
        return f"log p(x) is a probability of some and a density of others: {listed}"
    return ""


def _likelihood(subject: Subject) -> str:
    chosen = subject.run.spec.resolved()["model"]["likelihood"]
    return chosen if isinstance(chosen, str) else str(chosen.get("type"))

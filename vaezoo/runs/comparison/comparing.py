"""Compares runs and pretrained weights: what differs, and which is better beyond chance."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, Literal

import torch

from vaezoo.runs.comparison.conditions import direction, incomparable
from vaezoo.runs.comparison.statistics import (
    LEVEL,
    Difference,
    holm,
    independent_difference,
    paired_difference,
    spread,
)
from vaezoo.runs.comparison.subjects import Subject
from vaezoo.runs.recorded_spec import spec_leaves

LEAST_SEEDS = 3
"""From this many seeds of every spec on, the claim is about specs."""
_IRRELEVANT = ("name", "seed")
"""Keys of a spec that make no other one."""
_INCIDENTAL = ("device", "log_every", "checkpoint_every", "keep", "callbacks")
"""Options of ``train`` that change no result."""


@dataclass(frozen=True)
class Column:
    """What a claim is about: one subject, or the subjects of one spec with different seeds.

    Attributes:
        label: its name in tables, which no other column has.
        subjects: the subjects.
    """

    label: str
    subjects: tuple[Subject, ...]


@dataclass(frozen=True)
class Pair:
    """The difference between two columns.

    Attributes:
        first, second: their indices.
        difference: the first minus the second.
        adjusted_p: its p-value, corrected for the number of pairs of the metric.
    """

    first: int
    second: int
    difference: Difference
    adjusted_p: float

    @property
    def differs(self) -> bool:
        """Whether the difference is beyond chance: its interval excludes 0, also corrected."""
        is_excluded = self.difference.low > 0 or self.difference.high < 0
        return is_excluded and self.adjusted_p < 1 - LEVEL


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """One metric of all columns.

    Attributes:
        name: the metric.
        unit: its unit; empty where it differs.
        values: the value and the standard error for each column; None where it was not measured.
        direction: 1 if higher values are better, -1 if lower ones are, 0 if none says so.
        best: the column that is better than all others beyond chance; None if there is none.
        pairs: the differences.
        unranked: why the values are not ranked; empty if they are.
    """

    name: str
    unit: str
    values: Sequence[tuple[float, float | None] | None]
    direction: int = 0
    best: int | None = None
    pairs: Sequence[Pair] = ()
    unranked: str = ""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Runs and weights side by side.

    Attributes:
        columns: what is compared.
        claim: whether it is about these ``weights``, over test examples, or about ``specs``, over
            seeds.
        reason: why it is about these weights only; empty if it is about specs.
        options: the options of the specs that differ, by their path, with a value for each column.
        metrics: the metrics.
    """

    columns: Sequence[Column]
    claim: Literal["weights", "specs"]
    reason: str
    options: Mapping[str, Sequence[Any]]
    metrics: Sequence[MetricRow] = field(default_factory=list)

    @property
    def statement(self) -> str:
        """What the marks mean, as a sentence."""
        if self.claim == "specs":
            seeds = ", ".join(f"{c.label}: {len(c.subjects)}" for c in self.columns)
            return (
                f"The claim is about these specs, over seeds ({seeds}): marked is what is better "
                "than every other one where the 95 % interval of the difference (Welch's t, "
                "corrected for the number of pairs by Holm) excludes 0. Other test examples than "
                "these may give other values. After ± stands the standard error over seeds."
            )
        return (
            "The claim is about these weights, over test examples: marked is what is better than "
            "every other one where the 95 % interval of the paired difference (Student's t, "
            "corrected for the number of pairs by Holm) excludes 0. Training again with another "
            f"seed may turn the order around: {self.reason}. After ± stands the standard error "
            "over test examples."
        )


def compare_subjects(subjects: Sequence[Subject]) -> Comparison:
    """Compares at least two subjects."""
    groups = group_by_spec(subjects)
    seeds = [len({subject.seed for subject in group}) for group in groups]
    is_about_specs = len(groups) > 1 and min(seeds) >= LEAST_SEEDS
    reason = ""
    if not is_about_specs:
        few = groups[seeds.index(min(seeds))][0].name
        reason = f"there is {_count(min(seeds))} of {few}, and {LEAST_SEEDS} of each are needed"
        if len(groups) == 1:
            reason = "they have the same spec, and differ in the seed only"
        groups = [[subject] for subject in subjects]
    columns = label_columns(groups)
    claim: Literal["weights", "specs"] = "specs" if is_about_specs else "weights"
    names = dict.fromkeys(name for subject in subjects for name in subject.metrics)
    return Comparison(
        columns=columns,
        claim=claim,
        reason=reason,
        options=differing_options(columns),
        metrics=[compare_metric(name, columns, is_about_specs) for name in names],
    )


def _count(seeds: int) -> str:
    return "one seed" if seeds == 1 else f"a number of {seeds} seeds"


def group_by_spec(subjects: Sequence[Subject]) -> list[list[Subject]]:
    """The subjects with equal resolved specs, but for name, seed and what changes no result."""
    groups: dict[str, list[Subject]] = {}
    for subject in subjects:
        key = json.dumps(_relevant(subject), sort_keys=True, default=str, allow_nan=True)
        groups.setdefault(key, []).append(subject)
    return list(groups.values())


def _relevant(subject: Subject) -> dict[str, Any]:
    resolved = subject.run.spec.resolved()
    spec = {key: value for key, value in resolved.items() if key not in _IRRELEVANT}
    train = {key: value for key, value in spec["train"].items() if key not in _INCIDENTAL}
    return {**spec, "train": train}


def label_columns(groups: Sequence[Sequence[Subject]]) -> list[Column]:
    """Columns with different labels: the name of the spec, with the time or the seeds of the runs
    where there are several of a name."""
    names = [group[0].name for group in groups]
    labels: list[str] = []
    for group, name in zip(groups, names, strict=True):
        label, first = name, group[0]
        if names.count(name) > 1:
            seeds = [s.seed for g in groups for s in g if s.name == name]
            same = len(group) == 1 and len(set(seeds)) == len(seeds)
            label = f"{name}, seed {first.seed}" if same else f"{name} {first.run.path.name}"
        taken = labels.count(label)
        labels.append(f"{label} ({taken + 1})" if taken else label)
    return [Column(label, tuple(group)) for label, group in zip(labels, groups, strict=True)]


def differing_options(columns: Sequence[Column]) -> dict[str, list[Any]]:
    """The values of the options in which specs differ, by their path; None where one is left
    out."""
    leaves = [dict(spec_leaves(_relevant(column.subjects[0]))) for column in columns]
    paths = dict.fromkeys(path for each in leaves for path in each)
    rows = {path: [each.get(path) for each in leaves] for path in paths}
    return {path: values for path, values in rows.items() if any(v != values[0] for v in values)}


def compare_metric(name: str, columns: Sequence[Column], is_about_specs: bool) -> MetricRow:
    """One metric of all columns: values, differences, and the best one if there is one."""
    values = [_value(name, column) for column in columns]
    present = [i for i, value in enumerate(values) if value is not None]
    subjects = [s for i in present for s in columns[i].subjects]
    units = {subject.metrics[name]["unit"] for subject in subjects}
    row = MetricRow(
        name=name,
        unit=units.pop() if len(units) == 1 else "",
        values=values,
        direction=direction(name, subjects),
    )
    if len(present) < 2:
        return replace(row, unranked="only one has it")
    if not row.direction:
        return replace(row, unranked="neither higher nor lower values are said to be better")
    if reason := incomparable(name, subjects):
        return replace(row, unranked=reason)
    if not is_about_specs and (reason := _without_examples(name, subjects)):
        return replace(row, unranked=reason)
    difference = _seed_difference if is_about_specs else _example_difference
    return rank(row, present, lambda i, j: difference(name, columns[i], columns[j]))


def rank(
    row: MetricRow, present: Sequence[int], difference: Callable[[int, int], Difference]
) -> MetricRow:
    """Tests every pair of columns, and finds the one that is better than all others.

    Args:
        row: a metric whose values may be ranked.
        present: the columns that have a value.
        difference: the difference of two columns.
    """
    found = [(i, j, difference(i, j)) for i, j in combinations(present, 2)]
    corrected = holm([each.p for _, _, each in found])
    pairs = [Pair(i, j, each, p) for (i, j, each), p in zip(found, corrected, strict=True)]
    best = max(present, key=lambda i: row.direction * (row.values[i] or (0.0, None))[0])
    is_best = all(pair.differs for pair in pairs if best in (pair.first, pair.second))
    return replace(row, pairs=pairs, best=best if is_best else None)


def _value(name: str, column: Column) -> tuple[float, float | None] | None:
    """The value of a column with its standard error: over examples, or over seeds."""
    rows = [subject.metrics.get(name) for subject in column.subjects]
    known = [row for row in rows if row is not None]
    if len(known) < len(rows):
        return None
    if len(known) == 1:
        return known[0]["value"], known[0]["standard_error"]
    return spread([row["value"] for row in known])


def _without_examples(name: str, subjects: Sequence[Subject]) -> str:
    """Why there are no numbers of single examples; empty if all subjects have them."""
    for subject in subjects:
        if name not in subject.examples.values:
            if not subject.problem:
                return "it is no mean over examples; 3 seeds of each spec would rank it"
            return f"{subject.source}: {subject.problem}; --evaluate measures it"
    return ""


def _example_difference(name: str, first: Column, second: Column) -> Difference:
    values = [column.subjects[0].examples.values[name] for column in (first, second)]
    return paired_difference(*values)


def _seed_difference(name: str, first: Column, second: Column) -> Difference:
    a, b = ([s.metrics[name]["value"] for s in column.subjects] for column in (first, second))
    return independent_difference(
        torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    )

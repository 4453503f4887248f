"""What is compared: a run, or pretrained weights, with all that is known of it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from vaezoo.evaluation.evaluate import EvaluationError
from vaezoo.pretrained.finding import find_entry
from vaezoo.pretrained.registry import RegistryEntry
from vaezoo.runs.example_values import ExampleValues, read_example_values, store_evaluation
from vaezoo.runs.finding import find_run, matching_runs
from vaezoo.runs.opening import open_entry, open_run
from vaezoo.runs.report.diagnostics import Diagnosis, diagnose
from vaezoo.runs.run import Run
from vaezoo.utils.errors import UsageError, VaezooError
from vaezoo.utils.paths import exists


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A run, or pretrained weights, that is compared.

    Attributes:
        name: the name of its spec.
        source: the path of the run, or the name of the weights.
        run: the opened run.
        parameters: how many numbers were trained.
        seconds: of training, with validation, without interruptions; None if not known.
        examples_per_second: the median during training; None if not known.
        split: where it was evaluated.
        metrics: the rows of ``evaluation.json``.
        examples: the numbers of the examples.
        records: of ``metrics.jsonl``.
        diagnoses: what is wrong with it.
        problem: why there are no numbers of examples; empty if there are.
    """

    name: str
    source: str
    run: Run
    parameters: int
    seconds: float | None
    examples_per_second: float | None
    split: str
    metrics: Mapping[str, Mapping[str, Any]]
    examples: ExampleValues
    records: Sequence[dict[str, Any]]
    diagnoses: Sequence[Diagnosis]
    problem: str = ""

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return self.run.spec.seed


def open_subject(which: str | Path | Run, *, evaluate: bool, device: str) -> Subject:
    """Opens a run or pretrained weights.

    Args:
        which: a run, its path as ``find_run`` takes it, or the name of pretrained weights.
        evaluate: whether to evaluate those that lack the numbers of their examples; runs keep
            them.
        device: where to evaluate.

    Raises:
        UsageError: there is no such run, or it was not evaluated.
    """
    entry = None
    if not isinstance(which, Run):
        which, entry = _open(which, device)
    run = which
    if evaluate:
        _evaluate(run)
    is_stored = run.directory.spec.is_file()
    if is_stored and not run.directory.evaluation_of(run.evaluated_split).is_file():
        raise UsageError(
            f"{run.path}: it was not evaluated; vaezoo evaluate {run.path}, or --evaluate"
        )
    if is_stored:
        return _of_run(run)
    return _of_weights(run, entry, evaluate)


def _open(which: str | Path, device: str) -> tuple[Run, RegistryEntry | None]:
    """Opens what a text means: a path, pretrained weights, or a run by its prefix."""
    if not exists(Path(which)):
        try:
            entry = find_entry(str(which))
        except VaezooError as error:
            if not matching_runs(which):
                raise UsageError(f"{which}: not a run, and {error}") from None
        else:
            return open_entry(entry, device), entry
    return open_run(find_run(which), device=device), None


def _evaluate(run: Run) -> None:
    """Evaluates a run on the test split and stores that, unless it has the examples' numbers."""
    directory = run.directory
    if not directory.spec.is_file() or directory.example_values_of(run.evaluated_split).is_file():
        return
    try:
        evaluation = run.evaluate("test")
    except EvaluationError as error:
        evaluation = error.evaluation
    store_evaluation(directory, evaluation, run.data())


def _of_run(run: Run) -> Subject:
    directory, split = run.directory, run.evaluated_split
    evaluation, records = run.stored_evaluation(split), run.records
    examples, problem = ExampleValues(), "it has no values of single examples"
    try:
        examples = read_example_values(directory, split, evaluation)
    except VaezooError as error:
        problem = str(error)
    environment = directory.read_environment()
    speeds = [r["examples_per_second"] for r in records if "examples_per_second" in r]
    return Subject(
        name=run.spec.name,
        source=str(run.path),
        run=run,
        parameters=_count(run),
        seconds=training_seconds(records, environment),
        examples_per_second=statistics.median(speeds) if speeds else None,
        split=split,
        metrics=evaluation["metrics"],
        examples=examples,
        records=records,
        diagnoses=diagnose(records, evaluation),
        problem="" if examples.values else problem,
    )


def _of_weights(run: Run, entry: RegistryEntry | None, evaluate: bool) -> Subject:
    """Weights with what their registry states, or measured now."""
    metrics: dict[str, Any] = {}
    examples, problem = ExampleValues(), "its registry has no values of single examples"
    if evaluate:
        evaluation, problem = run.evaluate("test"), ""
        metrics = evaluation["metrics"]
        examples = ExampleValues.of(evaluation, run.data())
    elif entry is not None:
        stated = [each for each in entry.weights.metrics if each.split == "test"]
        metrics = {each.name: _row(each) for each in stated if each.retracted is None}
    return Subject(
        name=entry.name if entry is not None else run.spec.name,
        source=entry.name if entry is not None else str(run.path),
        run=run,
        parameters=_count(run),
        seconds=None if entry is None else entry.weights.training.seconds,
        examples_per_second=None,
        split="test",
        metrics=metrics,
        examples=examples,
        records=(),
        diagnoses=diagnose((), {"metrics": metrics}),
        problem=problem,
    )


def _row(metric: Any) -> dict[str, Any]:
    """A metric of a registry in the form of ``evaluation.json``."""
    details = {} if metric.samples is None else {"samples": metric.samples}
    return {
        "value": metric.value,
        "standard_error": metric.error,
        "examples": metric.examples,
        "unit": metric.unit,
        **details,
        **({"note": metric.note} if metric.note else {}),
    }


def _count(run: Run) -> int:
    return sum(parameter.numel() for parameter in run.model.parameters())


def training_seconds(
    records: Sequence[Mapping[str, Any]], environment: Mapping[str, Any]
) -> float | None:
    """How long a run was trained, with its validations; the time between a stop and the resume
    that followed does not count.

    Args:
        records: of ``metrics.jsonl``; those of earlier versions have no time.
        environment: the content of ``environment.json``.
    """
    times = [datetime.fromisoformat(record["time"]) for record in records if "time" in record]
    if not times or "created" not in environment:
        return None
    begins = [environment["created"], *(r["created"] for r in environment.get("resumed", []))]
    starts = sorted(datetime.fromisoformat(begin) for begin in begins)
    total, before = 0.0, starts[0]
    for time in times:
        begin = max([before, *(start for start in starts if start <= time)])
        total += max(0.0, (time - begin).total_seconds())
        before = time
    return total

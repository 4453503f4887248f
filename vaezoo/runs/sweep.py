"""Runs one spec many times with different options, as an Optuna study that can be resumed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaezoo.components.callbacks import Callback
from vaezoo.evaluation.evaluate import EvaluationError
from vaezoo.evaluation.metric import Metric, is_higher_better
from vaezoo.runs.in_memory import check_no_data_needed
from vaezoo.runs.log import PrintLine
from vaezoo.runs.opening import open_run
from vaezoo.runs.processes import join_process_group, work_together
from vaezoo.runs.run import Run, write_evaluation
from vaezoo.runs.signals import request_stop
from vaezoo.runs.start import run
from vaezoo.runs.study import (
    CHOOSING_SPLIT,
    Parameter,
    chosen_trial,
    open_study,
    store_trial,
    trial_run,
)
from vaezoo.spec.load import load_spec
from vaezoo.spec.spec import Spec
from vaezoo.utils.errors import Interrupted, TrainingError, UsageError, did_you_mean, one_line
from vaezoo.utils.process_group import ProcessGroup

if TYPE_CHECKING:
    import optuna

_FAILURES = (TrainingError, EvaluationError)
"""What ends a trial, but not the study."""


class _Pruner(Callback):
    """Reports a validation metric to the study, and stops a trial that Optuna prunes.

    Attributes:
        is_pruned: whether Optuna pruned the trial.
    """

    def __init__(self, trial: optuna.Trial, metric: str, sign: int) -> None:
        self.trial, self.metric, self.sign, self.is_pruned = trial, metric, sign, False

    def log(self, record: Mapping[str, Any]) -> None:
        """Reports the records of the validation split."""
        if record["split"] != "validation" or self.metric not in record:
            return
        self.trial.report(self.sign * record[self.metric], record["step"])
        if self.trial.should_prune():
            self.is_pruned = True
            request_stop()  # which all processes that train together agree on


def sweep(
    spec: Path,
    parameters: Sequence[Parameter],
    metric: str,
    trials: int,
    *,
    out: Path,
    overrides: Sequence[str] = (),
    maximize: bool | None = None,
    prune: str | None = None,
    callbacks: Sequence[Callback] = (),
    print_line: PrintLine = lambda line: None,
) -> optuna.Study:
    """Runs a spec ``trials`` times with different options.

    Trials are compared by the metric of their selected weights on the validation split, which each
    run keeps in ``evaluation-validation.json``. The best one is the chosen trial: at the end of
    the call it alone is evaluated on the test split, in ``evaluation.json``, unless it has been.

    Another call with the same ``out`` continues the study, and several processes can share it.
    Processes that train together, which torchrun started, run each trial together.

    Args:
        spec: the path of the spec.
        parameters: the options to vary.
        metric: the metric of the spec's ``evaluate`` to optimize, such as ``mig`` or ``elbo``.
        trials: the number of trials of this call.
        out: the folder of ``study.log`` and of the runs.
        overrides: changes of the spec that apply to every run.
        maximize: whether higher values of the metric are better; by default what the metric says.
        prune: a metric of the validation records, such as ``bound``; trials whose values are worse
            than the median are ended early. None ends no trial.
        callbacks: receive the records of every run, in addition to the callbacks of the spec.
        print_line: is called with one line of text at the end of each trial.

    Returns:
        The study.

    Raises:
        SpecError: the spec, or the option of a parameter, is not valid.
        UsageError: Python must give the data of the spec, the metric does not say which values
            are better, the evaluation does not contain it, or the study in ``out`` compares its
            trials by other values.
        UnavailableError: Optuna is not installed.
    """
    with work_together() as process_group:
        loaded = load_spec(spec, overrides)
        check_no_data_needed(loaded)
        if not process_group.is_main:
            _follow_trials(spec, out=out, process_group=process_group)
        study = open_study(
            loaded.name,
            out,
            metric,
            maximize=_is_maximized(loaded, metric) if maximize is None else maximize,
            does_prune=prune is not None,
            seed=loaded.seed,
        )
        if not process_group.is_main:
            return study
        objective = _build_objective(
            spec,
            parameters,
            metric,
            out=out,
            overrides=overrides,
            prune=prune,
            callbacks=callbacks,
            print_line=print_line,
            process_group=process_group,
        )
        study.optimize(objective, n_trials=trials, catch=_FAILURES)
        _test_chosen(study, out, loaded.train.device, print_line)
        process_group.broadcast_text("")  # there are no more trials
        return study


def _is_maximized(spec: Spec, metric: str) -> bool:
    """Whether higher values of a metric are better.

    Raises:
        UsageError: no metric of the spec says so.
    """
    metrics: list[type[Metric]] = [component.cls for component in spec.evaluate]
    better = is_higher_better(metric, metrics)
    if better is not None:
        return better
    known = {name for each in metrics for name in each.higher_is_better | each.lower_is_better}
    raise UsageError(
        f"no metric of the spec says whether higher or lower values of {metric!r} are better"
        f"{did_you_mean(metric, known)}; give --maximize or --minimize"
    )


def _build_objective(
    spec: Path,
    parameters: Sequence[Parameter],
    metric: str,
    *,
    out: Path,
    overrides: Sequence[str],
    prune: str | None,
    callbacks: Sequence[Callback],
    print_line: PrintLine,
    process_group: ProcessGroup,
) -> Callable[[optuna.Trial], float]:
    """Builds the function that runs one trial and returns its metric."""
    import optuna

    def objective(trial: optuna.Trial) -> float:
        join_process_group()  # fails if the others no longer follow
        try:
            suggestions = [parameter.suggest(trial) for parameter in parameters]
        except ValueError as error:  # earlier trials chose among other values
            reason = one_line(error)
            raise UsageError(f"{out / 'study.log'}: {reason}; choose another --out") from error
        sign = 1 if trial.study.direction.name == "MAXIMIZE" else -1
        pruner = _Pruner(trial, prune, sign) if prune else None
        options = [*overrides, *suggestions]
        process_group.broadcast_text(json.dumps(options, allow_nan=False))
        try:
            finished = _run_trial(
                spec,
                options,
                out=out,
                pruner=pruner,
                callbacks=callbacks,
                process_group=process_group,
            )
        except _FAILURES as error:  # with which the study goes on
            print_line(f"trial {trial.number}: {' '.join(suggestions)}: {error}")
            raise
        if finished is None:
            raise optuna.TrialPruned()
        value = _value(finished, metric)
        store_trial(trial, finished, out)
        measured = f"{CHOOSING_SPLIT} {metric} {value:.4f}"
        print_line(f"trial {trial.number}: {' '.join(suggestions)}: {measured}")
        return value

    return objective


def _value(finished: Run, metric: str) -> float:
    """The value of a metric on the split that decides.

    Raises:
        UsageError: the evaluation does not contain the metric.
    """
    evaluation = finished.stored_evaluation(CHOOSING_SPLIT)
    metrics, undefined = evaluation["metrics"], evaluation["undefined"]
    if metric not in metrics:
        reasons = "; ".join(f"{name} is not defined: {why}" for name, why in undefined.items())
        raise UsageError(
            f"the evaluation of the {CHOOSING_SPLIT} split has no {metric!r}"
            f"{did_you_mean(metric, metrics)}{f' ({reasons})' if reasons else ''}"
        )
    return float(metrics[metric]["value"])


def _follow_trials(spec: Path, *, out: Path, process_group: ProcessGroup) -> None:
    """Takes part in the trials of the main process, which has the study."""
    while options := process_group.broadcast_text(""):
        with contextlib.suppress(TrainingError):  # with which the study of the main one goes on
            _run_trial(
                spec,
                json.loads(options),
                out=out,
                pruner=None,
                callbacks=(),
                process_group=process_group,
            )


def _run_trial(
    spec: Path,
    options: Sequence[str],
    *,
    out: Path,
    pruner: _Pruner | None,
    callbacks: Sequence[Callback],
    process_group: ProcessGroup,
) -> Run | None:
    """Runs one trial; returns None if it was pruned."""
    try:
        return run(
            spec,
            options,
            out=out / "runs",
            evaluation_split=CHOOSING_SPLIT,
            callbacks=[*callbacks, *([pruner] if pruner else [])],
        )
    except Interrupted as error:
        if process_group.any(pruner is not None and pruner.is_pruned):
            return None
        reason = str(error).partition("\n")[0]  # a resumed run would not be one of the study
        raise Interrupted(f"{reason}; the same command goes on with the next trial") from error


def _test_chosen(study: optuna.Study, out: Path, device: str, print_line: PrintLine) -> None:
    """Evaluates the chosen trial on the test split, unless an earlier call has done so."""
    trial = chosen_trial(study)
    if trial is None or trial_run(trial, out).evaluation.is_file():
        return
    print_line(f"evaluating trial {trial.number} on the test split")
    chosen = open_run(trial_run(trial, out).path, device=device)
    write_evaluation(chosen, "test", print_line)

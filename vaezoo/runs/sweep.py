"""Runs one spec many times with different options, as an Optuna study that can be resumed."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaezoo.components.callbacks import Callback
from vaezoo.runs.in_memory import check_no_data_needed
from vaezoo.runs.log import PrintLine
from vaezoo.runs.processes import join_process_group, work_together
from vaezoo.runs.run import Run
from vaezoo.runs.signals import request_stop
from vaezoo.runs.start import run
from vaezoo.spec.load import load_spec
from vaezoo.spec.spec import Spec
from vaezoo.utils.errors import (
    Interrupted,
    TrainingError,
    UnavailableError,
    UsageError,
    did_you_mean,
)
from vaezoo.utils.process_group import ProcessGroup

if TYPE_CHECKING:
    import optuna


_RANGE = re.compile(r"(?P<key>[^=]+)=(?P<low>[^:.]+(?:\.\d+)?)\.\.(?P<high>[^:]+)(?P<log>:log)?")


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """An option of the spec and the values to try: a range or a list of choices.

    Attributes:
        key: the path of the option, such as ``regularizers.0.weight``.
        low, high: the limits of a range.
        log: whether values of the range are sampled on a logarithmic scale.
        choices: the values of a list; empty for a range.
    """

    key: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Parameter:
        """Parses ``key=low..high``, ``key=low..high:log`` or ``key=a,b,c``.

        Raises:
            UsageError: the text has another form.
        """
        try:
            if match := _RANGE.fullmatch(text):
                key, low, high = match["key"].strip(), float(match["low"]), float(match["high"])
                log = bool(match["log"])
                if low < high and (low > 0 or not log):
                    return cls(key=key, low=low, high=high, log=log)
            else:
                key, equals, values = text.partition("=")
                if equals and values:
                    choices = tuple(value.strip() for value in values.split(","))
                    return cls(key=key.strip(), choices=choices)
        except ValueError:
            pass
        raise UsageError(
            f"--param {text!r}: must be KEY=LOW..HIGH, KEY=LOW..HIGH:log (LOW > 0) or KEY=A,B,C"
        )

    def suggest(self, trial: optuna.Trial) -> str:
        """Returns the override of a trial, with a value that Optuna suggests."""
        if self.choices:
            return f"{self.key}={trial.suggest_categorical(self.key, self.choices)}"
        is_integer = self.low == int(self.low) and self.high == int(self.high)
        if is_integer and not self.log and self.high - self.low > 2:
            return f"{self.key}={trial.suggest_int(self.key, int(self.low), int(self.high))}"
        return f"{self.key}={trial.suggest_float(self.key, self.low, self.high, log=self.log)!r}"


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
    maximize: bool = True,
    prune: str | None = None,
    print_line: PrintLine = lambda line: None,
) -> optuna.Study:
    """Runs a spec ``trials`` times with different options.

    Another call with the same ``out`` continues the study, and several processes can share it.
    Processes that train together, which torchrun started, run each trial together.

    Args:
        spec: the path of the spec.
        parameters: the options to vary.
        metric: the metric of ``evaluation.json`` to optimize, such as ``mig`` or ``elbo``.
        trials: the number of trials of this call.
        out: the folder of ``study.log`` and of the runs.
        overrides: changes of the spec that apply to every run.
        maximize: whether higher values of the metric are better.
        prune: a metric of the validation records, such as ``bound``; trials whose values are worse
            than the median are ended early. None ends no trial.
        print_line: is called with one line of text at the end of each trial.

    Returns:
        The study.

    Raises:
        SpecError: the spec, or the option of a parameter, is not valid.
        UsageError: Python must give the data of the spec.
        UnavailableError: Optuna is not installed.
    """
    with work_together() as process_group:
        loaded = load_spec(spec, overrides)
        check_no_data_needed(loaded)

        def open_study() -> optuna.Study:
            return _open_study(loaded, out, maximize=maximize, does_prune=prune is not None)

        if not process_group.is_main:
            _follow_trials(spec, metric, out=out, process_group=process_group)
            return open_study()
        study = open_study()
        objective = _build_objective(
            spec,
            parameters,
            metric,
            out=out,
            overrides=overrides,
            prune=prune,
            print_line=print_line,
            process_group=process_group,
        )
        study.optimize(objective, n_trials=trials, catch=(TrainingError,))
        process_group.broadcast_text("")  # there are no more trials
        return study


def _open_study(loaded: Spec, out: Path, *, maximize: bool, does_prune: bool) -> optuna.Study:
    """Creates or continues the study of a sweep in a folder."""
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise UnavailableError("a sweep needs Optuna; pip install 'vaezoo[sweep]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    out.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(
        study_name=loaded.name,
        storage=JournalStorage(JournalFileBackend(str(out / "study.log"))),
        direction="maximize" if maximize else "minimize",
        sampler=optuna.samplers.TPESampler(
            seed=None if (out / "study.log").exists() else loaded.seed
        ),
        pruner=optuna.pruners.MedianPruner() if does_prune else optuna.pruners.NopPruner(),
        load_if_exists=True,
    )


def _build_objective(
    spec: Path,
    parameters: Sequence[Parameter],
    metric: str,
    *,
    out: Path,
    overrides: Sequence[str],
    prune: str | None,
    print_line: PrintLine,
    process_group: ProcessGroup,
) -> Callable[[optuna.Trial], float]:
    """Builds the function that runs one trial and returns its metric."""
    import optuna

    def objective(trial: optuna.Trial) -> float:
        join_process_group()  # fails if the others no longer follow
        suggestions = [parameter.suggest(trial) for parameter in parameters]
        sign = 1 if trial.study.direction.name == "MAXIMIZE" else -1
        pruner = _Pruner(trial, prune, sign) if prune else None
        options = [*overrides, *suggestions]
        process_group.broadcast_text(json.dumps(options))
        finished = _run_trial(
            spec, options, metric, out=out, pruner=pruner, process_group=process_group
        )
        if finished is None:
            raise optuna.TrialPruned()
        _store_results(trial, finished)
        value = float(finished.evaluation["metrics"][metric]["value"])
        print_line(f"trial {trial.number}: {' '.join(suggestions)}: {metric} {value:.4f}")
        return value

    return objective


def _follow_trials(spec: Path, metric: str, *, out: Path, process_group: ProcessGroup) -> None:
    """Takes part in the trials of the main process, which has the study."""
    while options := process_group.broadcast_text(""):
        with contextlib.suppress(TrainingError):  # with which the study of the main one goes on
            _run_trial(
                spec,
                json.loads(options),
                metric,
                out=out,
                pruner=None,
                process_group=process_group,
            )


def _run_trial(
    spec: Path,
    options: Sequence[str],
    metric: str,
    *,
    out: Path,
    pruner: _Pruner | None,
    process_group: ProcessGroup,
) -> Run | None:
    """Runs one trial; returns None if it was pruned.

    Raises:
        UsageError: the evaluation does not contain the metric.
    """
    try:
        finished = run(spec, options, out=out / "runs", callbacks=[pruner] if pruner else [])
    except Interrupted:
        if process_group.any(pruner is not None and pruner.is_pruned):
            return None
        raise
    metrics = finished.evaluation["metrics"]
    if metric not in metrics:
        raise UsageError(f"evaluation has no {metric!r}{did_you_mean(metric, metrics)}")
    return finished


def _store_results(trial: optuna.Trial, finished: Run) -> None:
    """Stores the run's path, its metrics, and its best rate and distortion in the trial."""
    trial.set_user_attr("run", str(finished.path))
    for name, row in finished.evaluation["metrics"].items():
        trial.set_user_attr(name, row["value"])
    validations = (record for record in finished.records if record["split"] == "validation")
    best = max(validations, key=lambda record: record["best"] * record["step"])
    for name in ("rate", "distortion"):
        if name in best:
            trial.set_user_attr(f"validation_{name}", best[name])


def trial_rows(study: optuna.Study) -> list[tuple[str, ...]]:
    """One row per trial: number, state, parameters, value, validation rate, distortion, run."""
    rows: list[tuple[str, ...]] = []
    for trial in study.trials:
        attributes = trial.user_attrs
        value = "" if trial.value is None or math.isnan(trial.value) else f"{trial.value:.4f}"
        rate, distortion = (
            f"{attributes[key]:.2f}" if key in attributes else ""
            for key in ("validation_rate", "validation_distortion")
        )
        parameters = " ".join(f"{key}={_format(item)}" for key, item in trial.params.items())
        path = str(attributes.get("run", ""))
        state = trial.state.name.lower()
        rows.append((str(trial.number), state, parameters, value, rate, distortion, path))
    return rows


def _format(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

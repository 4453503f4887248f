"""Many runs of one spec under different options, kept as a study that can be resumed and shared by processes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaezoo.components.callbacks import Callback
from vaezoo.runs.log import PrintLine
from vaezoo.runs.start import run
from vaezoo.spec.load import load
from vaezoo.utils.errors import TrainingError, UnavailableError, UsageError, did_you_mean

if TYPE_CHECKING:
    import optuna


_RANGE = re.compile(r"(?P<key>[^=]+)=(?P<low>[^:.]+(?:\.\d+)?)\.\.(?P<high>[^:]+)(?P<log>:log)?")


@dataclass(frozen=True)
class Parameter:
    """An option of the spec and the values it may take: a range, or a choice.

    Attributes:
        key: such as ``regularizers.0.weight``.
        low, high: the ends of a range.
        log: whether the range is searched by its logarithm.
        choices: the values, where it is no range.
    """

    key: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Parameter:
        """``key=low..high``, ``key=low..high:log`` or ``key=a,b,c``.

        Raises:
            UsageError: it is of another form.
        """
        try:
            if found := _RANGE.fullmatch(text):
                low, high = float(found["low"]), float(found["high"])
                if low < high and (low > 0 or not found["log"]):
                    return cls(found["key"].strip(), low, high, bool(found["log"]))
            elif len(parts := text.partition("=")) and parts[1] and parts[2]:
                return cls(parts[0].strip(), choices=tuple(part.strip() for part in parts[2].split(",")))
        except ValueError:
            pass
        raise UsageError(f"--param {text!r}: say KEY=LOW..HIGH, KEY=LOW..HIGH:log (LOW > 0) or KEY=A,B,C")

    def suggest(self, trial: optuna.Trial) -> str:
        """The override that a trial tries."""
        if self.choices:
            return f"{self.key}={trial.suggest_categorical(self.key, self.choices)}"
        if all(value == int(value) for value in (self.low, self.high)) and not self.log and self.high - self.low > 2:
            return f"{self.key}={trial.suggest_int(self.key, int(self.low), int(self.high))}"
        return f"{self.key}={trial.suggest_float(self.key, self.low, self.high, log=self.log)!r}"


class _Prune(Callback):
    """Tells the study how validation goes, and ends a trial that falls behind the others."""

    def __init__(self, trial: optuna.Trial, figure: str, sign: int) -> None:
        self.trial, self.figure, self.sign = trial, figure, sign

    def log(self, record: Mapping[str, Any]) -> None:
        """Hears each record; those of validation are reported."""
        import optuna

        if record["split"] != "validation" or self.figure not in record:
            return
        self.trial.report(self.sign * record[self.figure], record["step"])
        if self.trial.should_prune():
            raise optuna.TrialPruned()


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
    """Runs a spec ``trials`` times; again with the same ``out`` goes on, and several processes may share it.

    Args:
        spec: the spec's path.
        parameters: what is tried.
        metric: the key of ``evaluation.json`` that decides, such as ``mig`` or ``elbo``.
        trials: how many, in this process.
        out: receives ``study.log`` and the runs.
        overrides: of every run.
        maximize: whether more of the metric is better.
        prune: a figure of the validation records, such as ``bound``, by which trials that fall behind are ended.
        say: told in a line how each trial ended.

    Raises:
        SpecError: the spec, or an option that a parameter names, is not valid.
        UnavailableError: Optuna is not installed.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise UnavailableError("a sweep needs pip install 'vaezoo[sweep]'") from error
    loaded = load(spec, overrides)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    out.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name=loaded.name,
        storage=JournalStorage(JournalFileBackend(str(out / "study.log"))),
        direction="maximize" if maximize else "minimize",
        sampler=optuna.samplers.TPESampler(seed=None if (out / "study.log").exists() else loaded.seed),
        pruner=optuna.pruners.MedianPruner() if prune else optuna.pruners.NopPruner(),
        load_if_exists=True,
    )
    attempt = _attempt(spec, parameters, metric, out, overrides, prune, print_line)
    study.optimize(attempt, n_trials=trials, catch=(TrainingError,))
    return study


def _attempt(
    spec: Path,
    parameters: Sequence[Parameter],
    metric: str,
    out: Path,
    overrides: Sequence[str],
    prune: str | None,
    print_line: PrintLine,
) -> Callable[[optuna.Trial], float]:
    def attempt(trial: optuna.Trial) -> float:
        chosen = [parameter.suggest(trial) for parameter in parameters]
        watch = [_Prune(trial, prune, 1 if trial.study.direction.name == "MAXIMIZE" else -1)] if prune else []
        done = run(spec, [*overrides, *chosen], out=out / "runs", callbacks=watch)
        figures = done.evaluation["metrics"]
        trial.set_user_attr("run", str(done.path))
        for name, row in figures.items():
            trial.set_user_attr(name, row["value"])
        best = max((r for r in done.records if r["split"] == "validation"), key=lambda r: r["best"] * r["step"])
        for name in ("rate", "distortion"):
            if name in best:
                trial.set_user_attr(f"validation_{name}", best[name])
        if metric not in figures:
            raise UsageError(f"evaluation has no {metric!r}{did_you_mean(metric, figures)}")
        value = float(figures[metric]["value"])
        print_line(f"trial {trial.number}: {' '.join(chosen)}: {metric} {value:.4f}")
        return value

    return attempt


def rows(study: optuna.Study) -> list[tuple[str, ...]]:
    """Every trial as number, state, parameters, value, validation rate and distortion, and run."""
    found = []
    for trial in study.trials:
        attributes = trial.user_attrs
        value = "" if trial.value is None or math.isnan(trial.value) else f"{trial.value:.4f}"
        parts = [
            f"{attributes[k]:.2f}" if k in attributes else "" for k in ("validation_rate", "validation_distortion")
        ]
        chosen = " ".join(f"{key}={_short(item)}" for key, item in trial.params.items())
        found.append(
            (str(trial.number), trial.state.name.lower(), chosen, value, *parts, str(attributes.get("run", "")))
        )
    return found


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

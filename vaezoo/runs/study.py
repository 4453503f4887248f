"""The study of a sweep: the options that it varies, its trials, and how one is chosen."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaezoo.runs.directory import RunDirectory
from vaezoo.runs.run import Run
from vaezoo.utils.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    import optuna

CHOOSING_SPLIT = "validation"
"""The split whose metric chooses a trial; the test split is measured for the chosen one alone."""
_DECIDES_BY = "decides_by"
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


def open_study(
    name: str, out: Path, metric: str, *, maximize: bool, does_prune: bool, seed: int
) -> optuna.Study:
    """Creates or continues the study of a sweep in a folder.

    Args:
        name: the name of the spec.
        out: the folder of ``study.log``.
        metric: the metric that chooses a trial.
        maximize: whether higher values of the metric are better.
        does_prune: whether trials are ended early.
        seed: of the suggestions of a new study.

    Raises:
        UnavailableError: Optuna is not installed.
        UsageError: the trials in the folder are compared by other values.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise UnavailableError("a sweep needs Optuna; pip install 'vaezoo[sweep]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # a trial's error is one line, without it
    out.mkdir(parents=True, exist_ok=True)
    file = out / "study.log"
    is_new = not file.exists()  # which the storage creates
    study = optuna.create_study(
        study_name=name,
        storage=JournalStorage(JournalFileBackend(str(file))),
        direction="maximize" if maximize else "minimize",
        sampler=optuna.samplers.TPESampler(seed=seed if is_new else None),
        pruner=optuna.pruners.MedianPruner() if does_prune else optuna.pruners.NopPruner(),
        load_if_exists=True,
    )
    extreme = "highest" if maximize else "lowest"
    _check_values(study, f"the {extreme} {metric} on the {CHOOSING_SPLIT} split", file)
    return study


def _check_values(study: optuna.Study, compared_by: str, file: Path) -> None:
    """Refuses to compare the trials of a study by other values than before."""
    # looked up before the attribute, which another process that shares the study may set now
    has_trials = bool(study.trials)
    known = study.user_attrs.get(_DECIDES_BY)
    if known is None and not has_trials:
        study.set_user_attr(_DECIDES_BY, compared_by)
    elif known != compared_by:
        known = known or "their metric on the test split, as in earlier versions of vaezoo"
        raise UsageError(
            f"{file}: its trials are compared by {known}, and not by {compared_by}; "
            "choose another --out"
        )


def decides_by(study: optuna.Study) -> str:
    """What trials are compared by, such as ``the highest elbo on the validation split``."""
    return str(study.user_attrs[_DECIDES_BY])


def store_trial(trial: optuna.Trial, finished: Run, out: Path) -> None:
    """Stores a run's path below ``out``, and its metrics, rate and distortion on validation."""
    validations = (record for record in finished.records if record["split"] == "validation")
    best = max(validations, key=lambda record: record["best"] * record["step"])
    measured = {name: best[name] for name in ("rate", "distortion") if name in best}
    metrics = finished.stored_evaluation(CHOOSING_SPLIT)["metrics"]
    measured |= {name: row["value"] for name, row in metrics.items()}
    trial.set_user_attr("run", str(finished.path.relative_to(out)))
    trial.set_user_attr(CHOOSING_SPLIT, measured)


def chosen_trial(study: optuna.Study) -> optuna.trial.FrozenTrial | None:
    """The trial with the best metric on the validation split; None if none is complete."""
    from optuna.trial import TrialState

    is_complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return study.best_trial if is_complete else None


def trial_run(trial: optuna.trial.FrozenTrial, out: Path) -> RunDirectory:
    """The run of a complete trial of the study in a folder."""
    return RunDirectory(out / trial.user_attrs["run"])


def trial_records(study: optuna.Study, out: Path) -> list[dict[str, Any]]:
    """One record of JSON values per trial of the study in a folder.

    Returns:
        Of each trial its number, state, parameters and run (None if it has not finished), its
        metrics on the validation split, and on the test split if it is the chosen one.
    """
    chosen = chosen_trial(study)
    records = []
    for trial in study.trials:
        directory = trial_run(trial, out) if "run" in trial.user_attrs else None
        is_chosen = chosen is not None and trial.number == chosen.number
        test = {}
        if is_chosen and directory is not None and directory.evaluation.is_file():
            metrics = directory.read_evaluation("test")["metrics"]
            test = {name: row["value"] for name, row in metrics.items()}
        records.append(
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                "parameters": trial.params,
                "chosen": is_chosen,
                "validation": trial.user_attrs.get(CHOOSING_SPLIT, {}),
                "test": test,
                "run": None if directory is None else str(directory.path),
            }
        )
    return records


def trial_table(
    records: list[dict[str, Any]], metric: str
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The headings and rows of the table of ``trial_records``, with the split of each number."""
    measured = tuple(dict.fromkeys((metric, "rate", "distortion")))
    validation = (f"{CHOOSING_SPLIT} {name}" for name in measured)
    headings = ("trial", "state", "parameters", *validation, f"test {metric}", "run")
    rows = [
        (
            str(record["trial"]),
            record["state"],
            " ".join(f"{key}={_format(value)}" for key, value in record["parameters"].items()),
            *(_number(record[CHOOSING_SPLIT], name) for name in measured),
            _number(record["test"], metric),
            record["run"] or "",
        )
        for record in records
    ]
    return headings, rows


def _number(measured: Mapping[str, float], name: str) -> str:
    value = measured.get(name, math.nan)
    return "" if math.isnan(value) else f"{value:.4f}"


def _format(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

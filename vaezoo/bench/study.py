"""The trials of a case whose settings Optuna suggests; a file next to its runs keeps them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vaezoo.bench.cases import Case, Setting
from vaezoo.bench.ranges import Range
from vaezoo.bench.suite import PRUNABLE
from vaezoo.utils.errors import UnavailableError, UsageError, one_line

if TYPE_CHECKING:
    import optuna

Outcome = float | Literal["failed", "pruned"] | None
"""What a trial came to: its value on the validation split; None while it is not known."""
_DECIDES_BY = "decides_by"
_VARIES = "varies"
_MOST_REPEATS, _MOST_LISTED = 3, 100_000
"""Suggestions of settings that were tried before, for each trial; then those left are listed."""
STUDY = "study.log"


def open_trial(path: Path, name: str, number: int) -> optuna.Trial:
    """A trial that has begun, of the study in a file; it is ended early if the median is better.

    Raises:
        UnavailableError: Optuna is not installed.
    """
    optuna, storage = _optuna(), _storage(path)
    pruner = optuna.pruners.MedianPruner()
    study = optuna.load_study(study_name=name, storage=storage, pruner=pruner)
    study_id = storage.get_study_id_from_name(name)
    return optuna.Trial(study, storage.get_trial_id_from_study_id_trial_number(study_id, number))


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise UnavailableError(
            "settings that are suggested need Optuna; pip install 'vaezoo[sweep]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # a trial's error is one line, without it
    return optuna


def _storage(path: Path) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(path)))


class CaseStudy:
    """The settings of a case that were suggested so far, and the next one.

    Every suggestion depends on the seed, its number and the trials that have ended. So a study
    that is continued goes on like one that was not interrupted.

    Args:
        case: the case.
        folder: that of its runs.
        maximize: whether the highest value of the metric is the best.
    """

    def __init__(self, case: Case, folder: Path, *, maximize: bool) -> None:
        self.case, self.maximize = case, maximize
        self.path = folder / STUDY
        self._study: optuna.Study | None = None

    @property
    def decides_by(self) -> str:
        """What trials are compared by, such as ``the highest elbo on the validation split``."""
        extreme = "highest" if self.maximize else "lowest"
        return f"the {extreme} {self.case.suite.choose_by.metric} on the validation split"

    def settings(self) -> list[Setting]:
        """The settings of all trials, each once, in the order in which they were suggested."""
        return list(dict.fromkeys(map(self._setting, self._trials())))

    @property
    def is_complete(self) -> bool:
        """Whether as many settings as wanted were tried, and all trials have ended."""
        has_all = len(self.settings()) >= self.case.number_of_trials
        return has_all and all(trial.state.is_finished() for trial in self._trials())

    def suggest(self) -> Setting | None:
        """The setting of a new trial, which may have been tried before; None if there are enough.

        Raises:
            UsageError: earlier trials chose among other values.
        """
        number, tried = len(self._trials()), len(self.settings())
        if tried >= self.case.number_of_trials:
            return None
        study = self._open()
        study.sampler = _optuna().samplers.TPESampler(seed=self._sampler_seed(number))
        is_listed = self.case.number_of_combinations <= self.case.number_of_trials
        repeats = number - tried > _MOST_REPEATS * self.case.number_of_trials
        if is_listed or (repeats and self.case.number_of_combinations <= _MOST_LISTED):
            self._enqueue_untried(study)
        elif repeats:
            return None
        try:
            trial = study.ask(self._distributions())
        except ValueError as error:
            reason = one_line(error)
            raise UsageError(f"{self.path}: {reason}; choose another --out") from error
        return self._setting(trial)

    def _enqueue_untried(self, study: optuna.Study) -> None:
        """Has the next trial take a combination that none has; a kill can leave one waiting."""
        from optuna.trial import TrialState

        if not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            tried = set(self.settings())
            setting = next(each for each in self.case.combinations() if each not in tried)
            texts = dict(text.split("=", 1) for text in setting)
            choices = self.case.choices
            study.enqueue_trial(
                {
                    key: int(text) if isinstance(choices[key], Range) else text
                    for key, text in texts.items()
                }
            )

    def settle(self, outcome_of: Callable[[Setting], Outcome]) -> None:
        """Tells the study what the trials came to that have ended since the last call."""
        from optuna.trial import TrialState

        states = {"failed": TrialState.FAIL, "pruned": TrialState.PRUNED}
        for trial in self._trials():
            if trial.state.is_finished():
                continue
            outcome = outcome_of(self._setting(trial))
            if isinstance(outcome, str):
                self._open().tell(trial.number, state=states[outcome])
            elif outcome is not None and math.isnan(outcome):
                self._open().tell(trial.number, state=TrialState.FAIL)
            elif outcome is not None:
                self._open().tell(trial.number, outcome)

    def begin(self, setting: Setting) -> dict[str, Any] | None:
        """Has the trial of a setting run, which is a new one if that failed before.

        Returns:
            What a process needs to end the trial early; None if none is ended.
        """
        number, metric = self._open_trial(setting), self.case.suite.choose_by.prune
        if metric is None:
            return None
        return {
            "study": str(self.path),
            "name": self.case.name,
            "trial": number,
            "metric": metric,
            "sign": 1 if PRUNABLE[metric] == self.maximize else -1,
        }

    def _open_trial(self, setting: Setting) -> int:
        """The number of the trial of a setting that has not ended; a new one if it is repeated."""
        trials = [trial for trial in self._trials() if self._setting(trial) == setting]
        for trial in trials:
            if not trial.state.is_finished():
                return trial.number
        study = self._open()
        study.enqueue_trial(trials[-1].params)
        return study.ask(self._distributions()).number

    def _trials(self) -> list[optuna.trial.FrozenTrial]:
        """The trials whose setting is known; a kill can leave one without."""
        if not self.path.is_file():
            return []
        keys = self.case.choices.keys()
        trials = self._open().get_trials(deepcopy=False)
        return [trial for trial in trials if keys <= trial.params.keys()]

    def _setting(self, trial: optuna.trial.BaseTrial) -> Setting:
        return tuple(f"{key}={trial.params[key]}" for key in self.case.choices)

    def _distributions(self) -> dict[str, Any]:
        from optuna.distributions import CategoricalDistribution

        return {
            key: each.distribution() if isinstance(each, Range) else CategoricalDistribution(each)
            for key, each in self.case.choices.items()
        }

    def _sampler_seed(self, number: int) -> int:
        """A seed of Optuna's size for the suggestion with a number."""
        return (self.case.suite.choose_by.seeds[0] * 1_000_003 + number) % 2**32

    def _open(self) -> optuna.Study:
        if self._study is not None:
            return self._study
        optuna = _optuna()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._study = optuna.create_study(
            study_name=self.case.name,
            storage=_storage(self.path),
            direction="maximize" if self.maximize else "minimize",
            load_if_exists=True,
        )
        self._check_values(self._study)
        return self._study

    def _check_values(self, study: optuna.Study) -> None:
        """Refuses to compare the trials of a study by other values than before."""
        compared_by = self.decides_by
        known = study.user_attrs.get(_DECIDES_BY)
        if known is None:
            study.set_user_attr(_DECIDES_BY, compared_by)
        elif known != compared_by:
            raise UsageError(
                f"{self.path}: its trials are compared by {known}, and not by {compared_by}; "
                "choose another --out"
            )
        varies = json.dumps(self.case.definition.choose, sort_keys=True, allow_nan=False)
        if study.user_attrs.get(_VARIES, varies) != varies:
            raise UsageError(f"{self.path}: its trials vary other values; choose another --out")
        if _VARIES not in study.user_attrs:
            study.set_user_attr(_VARIES, varies)

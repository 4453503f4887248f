"""The units of a suite: one run each, whose state is read from its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaezoo.bench.cases import Case, Setting, setting_name
from vaezoo.runs.directory import RunDirectory
from vaezoo.spec.dump import dump
from vaezoo.spec.spec import Spec
from vaezoo.utils.errors import UsageError
from vaezoo.utils.files import read_json

FAILURE, PRUNED = "failure.json", "pruned.json"
USAGE, PROGRESS = "usage.json", "progress.json"


@dataclass(frozen=True)
class Unit:
    """One run of a suite.

    Attributes:
        case: the variant and its data.
        setting: overrides of the setting.
        seed: the seed.
        steps: the length of training; None for that of the spec.
        split: ``validation`` for a run that a setting is chosen by, else ``test``.
        folder: the folder of its run and its records.
    """

    case: Case
    setting: Setting
    seed: int
    steps: int | None
    split: str
    folder: Path

    @classmethod
    def of(cls, case: Case, setting: Setting, seed: int, steps: int | None, *, out: Path) -> Unit:
        """The unit of a setting and a seed; those that choose among settings are validated."""
        chooses = case.is_choosing and seed in case.suite.choose_by.seeds
        folder = out / "runs" / case.name / setting_name(setting) / f"seed-{seed}"
        return cls(case, setting, seed, steps, "validation" if chooses else "test", folder)

    @property
    def name(self) -> str:
        """The unit in messages."""
        setting = f" {setting_name(self.setting)}" if self.setting else ""
        return f"{self.case.name}{setting} seed {self.seed}"

    def load(self) -> Spec:
        """The spec of the run."""
        return self.case.load(self.setting, self.seed, self.steps)

    def directory(self) -> RunDirectory | None:
        """The directory of the run; None before it was started."""
        found = sorted(self.folder.glob("*/*/spec.yaml"))
        return RunDirectory(found[-1].parent) if found else None

    def check_unchanged(self) -> None:
        """Raises UsageError if the run was started with another spec."""
        directory = self.directory()
        if directory is None:
            return
        if directory.spec.read_text("utf-8") != dump(self.load().resolved()):
            raise UsageError(
                f"{directory.path}: was started with another spec than the suite has now; "
                "choose another --out, or remove the folder"
            )

    def evaluation(self, split: str) -> dict[str, Any] | None:
        """What was measured on a split; None before that."""
        directory = self.directory()
        if directory is None or not directory.evaluation_of(split).is_file():
            return None
        return directory.read_evaluation(split)

    @property
    def is_trained(self) -> bool:
        """Whether the run was trained, and evaluated on the split it was trained for."""
        return self.evaluation(self.split) is not None

    @property
    def failure(self) -> str:
        """Why the run failed; empty if it did not."""
        path = self.folder / FAILURE
        return str(read_json(path)["error"]) if path.is_file() else ""

    @property
    def is_pruned(self) -> bool:
        """Whether the run was ended early, because it was worse than others."""
        return (self.folder / PRUNED).is_file()

    @property
    def waits_for_test(self) -> bool:
        """Whether it is trained, and neither measured on the test split nor failed at it."""
        return self.is_trained and self.evaluation("test") is None and not self.failure

    @property
    def has_ended(self) -> bool:
        """Whether nothing is left to train."""
        return self.is_trained or self.is_pruned or bool(self.failure)

    @property
    def usage(self) -> dict[str, float]:
        """The seconds of training and evaluation, by clock and CPU, over all attempts."""
        path = self.folder / USAGE
        return dict(read_json(path)) if path.is_file() else {}


def value_of(unit: Unit, split: str, metric: str) -> float | None:
    """A measured number of a unit; None if it has none."""
    evaluation = unit.evaluation(split)
    row = (evaluation or {}).get("metrics", {}).get(metric)
    return None if row is None else float(row["value"])

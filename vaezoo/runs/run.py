"""A run on disk, with its trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vaezoo.data.dataset import Dataset
from vaezoo.data.loader import Loader
from vaezoo.data.splits import NAMES
from vaezoo.evaluation.evaluate import evaluate
from vaezoo.model.model import Model
from vaezoo.model.objectives import Regularizer
from vaezoo.model.task import Task
from vaezoo.runs.directory import RunDirectory
from vaezoo.runs.example_files import examples
from vaezoo.runs.report.page import RunRecord
from vaezoo.spec.load import load
from vaezoo.spec.spec import Spec
from vaezoo.training.process_group import ProcessGroup
from vaezoo.utils.errors import UsageError
from vaezoo.utils.files import read_json


class Run:
    """A run on disk, with its trained model.

    Attributes:
        directory: where it is.
        spec: what it was made from.
        task: the best model by the validation bound and what its regularizers had learned by then, in evaluation mode.
    """

    def __init__(self, directory: RunDirectory, spec: Spec, task: Task, dataset: Dataset | None = None) -> None:
        self.directory, self.spec, self.task = directory, spec, task
        self._dataset = dataset

    @property
    def model(self) -> Model:
        """The best model, in evaluation mode."""
        return self.task.model

    @property
    def regularizers(self) -> list[Regularizer]:
        """The regularizers with what they had learned when the model was best.

        Raises:
            UsageError: they learn, and what they learned is not in the run's directory.
        """
        path = self.directory.regularizers
        if self.task.has_trainable_regularizers and not path.is_file():
            raise UsageError(f"{path} is missing: it holds what the regularizers learned")
        return [penalty for _, penalty in self.task.penalties()]

    @property
    def path(self) -> Path:
        """The run's directory."""
        return self.directory.path

    @property
    def evaluation(self) -> dict[str, Any]:
        """What was measured: ``evaluation["metrics"]["elbo"]["value"]`` and so on."""
        found: dict[str, Any] = read_json(self.directory.evaluation)
        return found

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records of ``metrics.jsonl``."""
        return self.directory.records()

    def record(self) -> RunRecord:
        """What the report is made from."""
        return RunRecord(
            name=self.spec.name,
            time=self.path.name,
            data_name=self.spec.data.name,
            seed=self.spec.seed,
            spec=self.directory.spec.read_text("utf-8"),
            records=self.records,
            environment=read_json(self.directory.environment),
            evaluation=self.evaluation,
            model=self.model,
            test=self.data("test"),
            pictures=self.directory.pictures,
            page=self.directory.report,
        )

    def data(self, split: str = "test") -> Loader:
        """A split of the data set that the run was trained on: ``train``, ``validation`` or ``test``.

        Raises:
            UsageError: there is no such split.
        """
        if split not in NAMES:
            raise UsageError(f"no split {split!r}; say {', '.join(NAMES)}")
        if self._dataset is None:
            self._dataset = self.spec.data.build()
        return loader(self.spec, self._dataset, split, self.model.device)

    def from_file(self, path: Path) -> Loader:
        """Examples from the array ``x`` of an npz file, and ``condition`` where the model needs one.

        Raises:
            DataError: they are not what the model was trained on.
        """
        return examples(self.model, path)

    def evaluate(self, split: str = "test", metrics: Sequence[str | Mapping[str, Any]] | None = None) -> dict[str, Any]:
        """Measures the model; with ``metrics`` other ones than the spec names.

        Returns:
            The form of ``evaluation.json``; nothing is written.
        """
        chosen = self.spec.evaluate
        if metrics is not None:
            chosen = load({**self.spec.resolved(), "evaluate": list(metrics)}).evaluate
        return evaluate(self.model, chosen, self.data(split), split, self.spec.seed)


def loader(
    spec: Spec, dataset: Dataset, split: str, device: torch.device, process_group: ProcessGroup | None = None
) -> Loader:
    """Batches of one split as the spec asks for them."""
    asked, process_group = spec.data.loader, process_group or ProcessGroup()
    assert asked is not None
    if asked.batch_size < process_group.size:
        raise spec.problem(
            "data.batch_size", f"{asked.batch_size} examples are too few for {process_group.size} processes"
        )
    part = dataset.split(split)
    return Loader(
        part,
        device,
        asked.batch_size,
        workers=asked.workers,
        seed=spec.seed,
        rank=process_group.rank,
        world_size=process_group.size,
    )

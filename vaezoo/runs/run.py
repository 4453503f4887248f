"""The class ``Run``: a run on disk with its trained model, its data and its measurements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vaezoo.data.dataset import Dataset
from vaezoo.data.format import Format
from vaezoo.data.loader import Loader
from vaezoo.data.splits import SPLIT_NAMES
from vaezoo.evaluation.evaluate import (
    Evaluation,
    EvaluationError,
    evaluate,
    require_all_finite,
)
from vaezoo.model.latent_variable_model import OWN_PRIOR
from vaezoo.model.model import Model
from vaezoo.model.objectives import Regularizer
from vaezoo.model.task import Task
from vaezoo.runs.directory import RunDirectory
from vaezoo.runs.example_files import read_examples
from vaezoo.runs.example_values import store_evaluation
from vaezoo.runs.file_formats import reading_format
from vaezoo.runs.in_memory import build_dataset, data_caption
from vaezoo.runs.loaders import build_loader, require_known_labels, require_same_kind
from vaezoo.runs.log import PrintLine
from vaezoo.runs.report.data import ReportData
from vaezoo.spec.load import load_spec
from vaezoo.spec.spec import Spec
from vaezoo.utils.errors import UsageError


class Run:
    """A run on disk with its trained model, as ``run``, ``resume`` and ``open_run`` return it.

    Attributes:
        directory: the files of the run.
        spec: the spec that was trained.
        task: the model and its regularizers at the step that ``train.select`` selects (by default
            the one with the best bound on the validation split), in evaluation mode.
        locate_data: returns the spec with the places where its data and metrics read files.

    Example:
        >>> import vaezoo
        >>> mlp = {"type": "mlp", "hidden": [16]}
        >>> run = vaezoo.run(
        ...     {
        ...         "spec": "vaezoo/v2",
        ...         "name": "tiny",
        ...         "data": {"type": "digits", "batch_size": 128},
        ...         "model": {
        ...             "latent_dim": 2, "encoder": mlp, "decoder": mlp, "likelihood": "bernoulli"
        ...         },
        ...         "train": {"steps": 5},
        ...         "evaluate": ["elbo"],
        ...     }
        ... )
        >>> run.path.parent.as_posix()
        'runs/tiny'
        >>> run.model.sample(3).shape
        torch.Size([3, 1, 8, 8])
        >>> sorted(run.evaluation["metrics"])
        ['elbo']
        >>> run.evaluated_split, run.stored_evaluation("test") == run.evaluation
        ('test', True)
        >>> [(record["split"], record["step"]) for record in run.records]
        [('train', 5), ('validation', 5)]
        >>> len(run.data("validation"))
        269
        >>> run.evaluate("validation", ["rate", "distortion"])["metrics"]["rate"]["unit"]
        'nats per example'
        >>> [type(regularizer).__name__ for regularizer in run.regularizers]
        ['KL']

        Examples from a file are used in the same way as a split:

        >>> from pathlib import Path
        >>> import numpy as np
        >>> np.savez("images.npz", x=np.zeros((10, 1, 8, 8), np.float32))
        >>> len(run.from_file("images.npz"))
        10
        >>> type(run.file_format(Path("images.npz"))).__name__
        'NpzFormat'
        >>> run.skips_unreadable
        False
    """

    def __init__(
        self,
        directory: RunDirectory,
        spec: Spec,
        task: Task,
        dataset: Dataset | None = None,
        *,
        locate_data: Callable[[Spec], Spec] = lambda spec: spec,
    ) -> None:
        self.directory, self.spec, self.task = directory, spec, task
        self.locate_data = locate_data
        self._dataset = dataset
        self._reader: Dataset | None = None  # with the options of the data set, perhaps no data

    def __repr__(self) -> str:
        return f"<vaezoo.Run {self.path}>"

    @property
    def model(self) -> Model:
        """The trained model at the selected step, in evaluation mode."""
        return self.task.model

    @property
    def regularizers(self) -> list[Regularizer]:
        """The regularizers with their state at the selected step.

        Raises:
            UsageError: they have trainable parameters, and the run's directory lacks their file.
        """
        path = self.directory.regularizers
        if self.task.has_trainable_regularizers and not path.is_file():
            raise UsageError(f"{path} is missing: it contains the weights of the regularizers")
        return [regularizer for _, regularizer in self.task.named_regularizers()]

    @property
    def path(self) -> Path:
        """The run's directory."""
        return self.directory.path

    @property
    def evaluation(self) -> dict[str, Any]:
        """The content of ``evaluation.json``, such as ``["metrics"]["elbo"]["value"]``.

        Raises:
            UsageError: the run was not evaluated on the test split.
        """
        return self.stored_evaluation("test")

    @property
    def evaluated_split(self) -> str:
        """The split of the evaluation in the report: ``test``, if there is an evaluation of it.

        Trials of a sweep are evaluated on ``validation``, and on ``test`` if they are chosen.
        """
        return "test" if self.directory.evaluation.is_file() else "validation"

    def stored_evaluation(self, split: str) -> dict[str, Any]:
        """The evaluation of a split that training wrote, in the format of ``evaluation.json``.

        Raises:
            UsageError: there is none.
            IntegrityError: it is damaged.
        """
        path = self.directory.evaluation_of(split)
        if not path.is_file():
            raise UsageError(
                f"{self.path}: it has no {path.name}; "
                f"vaezoo evaluate {self.path} {split} measures the {split} split"
            )
        return self.directory.read_evaluation(split)

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records of ``metrics.jsonl``."""
        return self.directory.records()

    def data(self, split: str = "test") -> Loader:
        """Loads a split of the run's data set: ``train``, ``validation`` or ``test``.

        Raises:
            UsageError: there is no such split, or the data was given in Python; open the run with
                ``vaezoo.open_run(path, data=...)`` then.
            DataError: the data set cannot be read, or its examples are no longer such as the model
                was trained on.
        """
        if split not in SPLIT_NAMES:
            raise UsageError(f"no split {split!r}; use one of {', '.join(SPLIT_NAMES)}")
        if self._dataset is None:
            self._dataset = build_dataset(self.locate_data(self.spec), run=self.path)
            require_same_kind(self.model, self._dataset, self.spec.data.name)
        loader = build_loader(self.spec, self._dataset, split, self.model.device)
        return require_known_labels(self.model, loader, split)

    def from_file(self, path: str | Path) -> Loader:
        """Loads examples from a file.

        Args:
            path: an ``.npz`` file with an array ``x``, and an array ``condition`` if the model
                needs one; a ``.csv`` file; an image; or a file in the format of a plugin. It is
                read with the options of the data set, such as the size of images.

        Raises:
            DataError: the examples do not have the shape or the range of the training data.
        """
        return read_examples(self.model, Path(path), self.file_format(Path(path)))

    def file_format(self, path: Path) -> Format:
        """The format that reads a file as the data set of the run reads its source.

        Raises:
            UsageError: no plugin provides such a format, or it cannot store such data.
        """
        return reading_format(self._reading_dataset(), self.model.data, path)

    @property
    def skips_unreadable(self) -> bool:
        """Whether the data set of the run leaves out files that cannot be read."""
        return self._reading_dataset().unreadable == "skip"

    def _reading_dataset(self) -> Dataset:
        """The data set of the run, from whose options it follows how files are read."""
        if self._reader is None:
            self._reader = self._dataset or self.spec.data.build()
        return self._reader

    def evaluate(
        self,
        split: str = "test",
        metrics: Sequence[str | Mapping[str, Any]] | None = None,
        *,
        sampler: str | None = None,
        examples: Loader | None = None,
    ) -> Evaluation:
        """Evaluates the model; writes nothing.

        Args:
            split: ``train``, ``validation`` or ``test``; with ``examples``, what to call them.
            metrics: names of metrics, or mappings with ``type`` and options; by default those of
                the spec.
            sampler: the name of a sampler of the spec, which replaces the prior; None uses the
                prior of the latents.
            examples: other examples than those of a split, such as ``run.from_file("new.csv")``.

        Returns:
            The results in the format of ``evaluation.json``. Their attribute ``per_example`` has
            the number of each example, of metrics that are means over examples.

        Raises:
            SpecError: a metric does not exist or has invalid options.
            EvaluationError: a metric is NaN or infinite; names the first example at fault. Its
                attribute ``evaluation`` has all that was measured.
            ValueError: there is no such sampler.
        """
        if sampler is not None:
            self.model.check_sampler(sampler)
        if metrics is None:
            specs = self.locate_data(self.spec).evaluate
        else:
            specs = load_spec({**self.spec.resolved(), "evaluate": list(metrics)}).evaluate
        with self.model.use_prior(sampler or OWN_PRIOR):
            evaluation = evaluate(
                self.model,
                specs,
                self.data(split) if examples is None else examples,
                split,
                seed=self.spec.seed,
                training=partial(self.data, "train"),
            )
        if sampler is not None:
            evaluation["sampler"] = sampler
        return require_all_finite(evaluation, self.path)


def write_evaluation(run: Run, split: str, print_line: PrintLine) -> None:
    """Evaluates a run on a split; writes the evaluation, and the report with examples of it.

    A report that cannot be drawn does not end the run.

    Raises:
        EvaluationError: a metric is NaN or infinite; all else is written before.
    """
    from vaezoo.runs.report.attempts import Attempts
    from vaezoo.runs.report.page import write_report

    failure = None
    try:
        evaluation = run.evaluate(split)
    except EvaluationError as error:
        evaluation, failure = error.evaluation, error
    store_evaluation(run.directory, evaluation, run.data(split))
    print_line("drawing the report")
    what = "the report; vaezoo resume draws it again"
    Attempts(run.directory.report).draw(what, lambda: write_report(report_data(run)))
    if failure is not None:
        raise failure


def report_data(run: Run) -> ReportData:
    """Collects the data from which the report is drawn."""
    split = run.evaluated_split
    environment = run.directory.read_environment()
    return ReportData(
        name=run.spec.name,
        time=run.path.name,
        data_name=data_caption(run.spec.data.name, environment.get("data")),
        seed=run.spec.seed,
        spec=run.directory.spec.read_text("utf-8"),
        records=run.records,
        environment=environment,
        evaluation=run.stored_evaluation(split),
        model=run.model,
        examples=run.data(split),
        metrics=run.locate_data(run.spec).evaluate,
        training=partial(run.data, "train"),
        pictures=run.directory.pictures,
        page=run.directory.report,
    )

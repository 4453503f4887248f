"""Runs as their users know them: start one, take it up again, open it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from vaezoo.composer import compose
from vaezoo.data.loader import Loader
from vaezoo.data.splits import NAMES
from vaezoo.environment import describe, pick_device, pick_precision
from vaezoo.errors import UsageError
from vaezoo.evaluation.bounds import validate
from vaezoo.evaluation.evaluate import evaluate
from vaezoo.files import read_json, read_tensors, write_json, write_tensors, write_text
from vaezoo.given import examples
from vaezoo.interfaces import Callback, Dataset, Regularizer
from vaezoo.model import Model
from vaezoo.rundir import Journal, RunDirectory, Stop, heeding_signals
from vaezoo.spec.dump import dump
from vaezoo.spec.load import Spec, load
from vaezoo.task import Task
from vaezoo.trainer.loop import Trainer
from vaezoo.trainer.world import World
from vaezoo.weights import described, fill

Say = Callable[[str], None]
_MODEL_FORMAT, _PLAYERS_FORMAT = "model/v1", "players/v1"


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
        path = self.directory.players
        if self.task.has_players and not path.is_file():
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


def loader(spec: Spec, dataset: Dataset, split: str, device: torch.device, world: World | None = None) -> Loader:
    """Batches of one split as the spec asks for them."""
    asked, world = spec.data.loader, world or World()
    assert asked is not None
    if asked.batch_size < world.size:
        raise spec.problem("data.batch_size", f"{asked.batch_size} examples are too few for {world.size} processes")
    part = dataset.split(split)
    return Loader(
        part, device, asked.batch_size, workers=asked.workers, seed=spec.seed, rank=world.rank, world=world.size
    )


def prepare(spec: Spec, device: torch.device, world: World | None = None) -> tuple[Dataset, Loader, Task]:
    """The data set, its training split and the composed task on a device."""
    dataset = spec.data.build()
    train = loader(spec, dataset, "train", device, world)
    task = compose(spec, dataset.spec, len(train)).to(device)
    task.model.count_classes(train.condition)
    task.model.precision = pick_precision(spec.train.precision, device)
    return dataset, train, task


def run(
    spec: str | Path | Mapping[str, Any] | Spec,
    overrides: Sequence[str] = (),
    *,
    out: str | Path = "runs",
    callbacks: Sequence[Callback] = (),
    say: Say = lambda line: None,
) -> Run:
    """Trains, evaluates and shows what a spec describes.

    Args:
        spec: a path, a mapping, or a loaded Spec, which takes no more overrides.
        overrides: ``key.path=value``, such as ``train.epochs=3``.
        out: the folder that receives ``<name>/<time>``.
        callbacks: told of every record, beside those of the spec.
        say: told in a line what happens next.

    Raises:
        VaezooError: one of its kinds, for anything a user can mend.
    """
    if isinstance(spec, Spec) and overrides:
        raise UsageError("overrides change a spec before it is checked: give them to load_spec")
    loaded = spec if isinstance(spec, Spec) else load(spec, overrides)
    prepared = _prepare(loaded)  # what is wrong with data or composition shows before anything is written
    directory = None
    if World.current().is_main:
        directory = RunDirectory.create(Path(out), loaded.name)
        write_text(directory.spec, dump(loaded.resolved()))
    return _train(loaded, prepared, directory, callbacks, say)


def resume(path: str | Path, *, callbacks: Sequence[Callback] = (), say: Say = lambda line: None) -> Run:
    """Takes a run up from its last checkpoint; on the CPU it ends with the very bits it would have had.

    Raises:
        UsageError: there is no run at ``path``, or another process is at work on it.
        IntegrityError: every checkpoint is damaged.
    """
    directory = RunDirectory.open(path)
    spec = load(directory.spec)
    return _train(spec, _prepare(spec), directory, callbacks, say)


def _prepare(spec: Spec) -> tuple[Dataset, Loader, Task]:
    """What this process trains, on its device."""
    device, world = pick_device(spec.train.device), World.current()
    if device.type == "cuda" and world.size > 1:
        torch.cuda.set_device(device)  # messages between processes go through the current one
    return prepare(spec, device, world)


def _train(
    spec: Spec,
    prepared: tuple[Dataset, Loader, Task],
    directory: RunDirectory | None,
    callbacks: Sequence[Callback],
    say: Say,
) -> Run:
    """Trains from where the directory stands, then finishes. Only the main process of several writes."""
    dataset, train, task = prepared
    device, world = train.device, World.current()
    with ExitStack() as stack:
        if directory is not None and world.is_main:
            stack.enter_context(directory.lock())
            directory.sweep()
        state = None if directory is None else directory.load_checkpoint()
        if state is not None:
            task.model.precision = state["precision"]  # auto may choose otherwise now
        held_out = loader(spec, dataset, "validation", device)
        with ExitStack() as training:
            stop = training.enter_context(heeding_signals())
            journal: Journal | _Silent = _Silent(stop)
            if directory is not None and world.is_main:
                journal = _journal(directory, spec, callbacks, training, stop)
                _note_environment(directory, describe(device, task.model.precision))
            trainer = Trainer(task, train, spec, lambda t: validate(t, held_out), journal, world)
            if state is not None:
                trainer.restore(state)
            journal.start(trainer.step)
            say(f"{directory.path if directory else spec.name}: step {trainer.step} of {trainer.total} on {device}")
            trainer.fit()
        run_ = Run(directory or RunDirectory(Path()), spec, _best(trainer), dataset)
        if directory is not None and world.is_main:
            _finish(run_, trainer, len(train), say)
        return run_


def _note_environment(directory: RunDirectory, found: dict[str, Any]) -> None:
    """Writes down what the run is made with; where it is taken up again, beside what it was begun with."""
    if directory.environment.is_file():
        begun = read_json(directory.environment)
        found = {**begun, "resumed": [*begun.get("resumed", []), found]}
    write_json(directory.environment, found)


def _journal(
    directory: RunDirectory, spec: Spec, callbacks: Sequence[Callback], stack: ExitStack, stop: Stop
) -> Journal:
    """What writes the run down while training lasts."""
    own = [bound.build(directory.path) for bound in spec.train.callbacks]
    for callback in own:
        stack.enter_context(closing(callback))
    return Journal(directory, spec.train.keep, (*own, *callbacks), stop)


class _Silent:
    """The journal of a process that writes nothing."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop

    def start(self, step: int) -> None:
        return

    def record(self, record: Mapping[str, Any]) -> None:
        return

    def checkpoint(self, step: int, state: Mapping[str, Any]) -> None:
        return

    def last_good(self) -> str:
        return "see the main process"

    def stopping(self) -> bool:
        return self.stop.requested


def _best(trainer: Trainer) -> Task:
    """The task with the weights that did best on validation."""
    task = trainer.evaluated
    task.model.load_state_dict(trainer.best["tensors"])
    task.regularizers.load_state_dict(trainer.best["players"])
    task.model.precision = "fp32"
    return task.eval()


def _finish(run_: Run, trainer: Trainer, train_size: int, say: Say) -> None:
    """Writes the best weights, measures them and draws the report."""
    from vaezoo.report.page import write_report

    step = trainer.best["step"]
    about = {"data": asdict(run_.model.data), "train_size": train_size, "step": step}
    metadata = {"vaezoo": _MODEL_FORMAT, "about": json.dumps(about)}
    write_tensors(run_.directory.model, trainer.best["tensors"], metadata)
    if run_.task.has_players:
        write_tensors(run_.directory.players, trainer.best["players"], {"vaezoo": _PLAYERS_FORMAT})
    say(f"evaluating step {step}, the best on validation")
    write_json(run_.directory.evaluation, run_.evaluate())
    say("drawing the report")
    write_report(run_)


def open_run(path: str | Path, *, device: str = "auto", precision: str = "fp32") -> Run:
    """Opens a finished run; its data set is only looked for when it is used.

    Args:
        path: the run's directory.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: what networks compute in: ``fp32``, ``bf16`` or ``fp16``.

    Raises:
        UsageError: there is no finished run at ``path``.
        IntegrityError: the weights are damaged or are not this spec's.
    """
    directory = RunDirectory.open(path)
    if not directory.model.is_file():
        raise UsageError(f"{path}: the run is not finished; vaezoo resume {path}")
    spec = load(directory.spec)
    tensors, metadata = read_tensors(directory.model)
    data, train_size = described(metadata, str(directory.model))
    task = compose(spec, data, train_size)
    fill(task.model, tensors, str(directory.model))
    if directory.players.is_file():
        fill(task.regularizers, read_tensors(directory.players)[0], str(directory.players))
    task.model.precision = precision
    return Run(directory, spec, task.to(pick_device(device)).eval())

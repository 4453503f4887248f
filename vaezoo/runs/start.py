"""Runs as their users know them: start one, take it up again, open it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vaezoo.components.callbacks import Callback
from vaezoo.data.dataset import Dataset
from vaezoo.data.loader import Loader
from vaezoo.evaluation.validation import validate
from vaezoo.model.task import Task
from vaezoo.runs.directory import RunDirectory
from vaezoo.runs.environment import describe
from vaezoo.runs.log import NullRunLog, PrintLine, FileRunLog
from vaezoo.runs.run import Run, loader
from vaezoo.runs.setup import _prepare
from vaezoo.runs.signals import StopSignal, stop_on_signals
from vaezoo.spec.dump import dump
from vaezoo.spec.load import load
from vaezoo.spec.spec import Spec
from vaezoo.training.process_group import ProcessGroup
from vaezoo.training.trainer import Trainer
from vaezoo.utils.errors import UsageError
from vaezoo.utils.files import read_json, write_json, write_tensors, write_text

_MODEL_FORMAT, _REGULARIZERS_FORMAT = "model/v1", "regularizers/v1"


def run(
    spec: str | Path | Mapping[str, Any] | Spec,
    overrides: Sequence[str] = (),
    *,
    out: str | Path = "runs",
    callbacks: Sequence[Callback] = (),
    print_line: PrintLine = lambda line: None,
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
    if ProcessGroup.current().is_main:
        directory = RunDirectory.create(Path(out), loaded.name)
        write_text(directory.spec, dump(loaded.resolved()))
    return _train(loaded, prepared, directory, callbacks, print_line)


def resume(path: str | Path, *, callbacks: Sequence[Callback] = (), print_line: PrintLine = lambda line: None) -> Run:
    """Takes a run up from its last checkpoint; on the CPU it ends with the very bits it would have had.

    Raises:
        UsageError: there is no run at ``path``, or another process is at work on it.
        IntegrityError: every checkpoint is damaged.
    """
    directory = RunDirectory.open(path)
    spec = load(directory.spec)
    return _train(spec, _prepare(spec), directory, callbacks, print_line)


def _train(
    spec: Spec,
    prepared: tuple[Dataset, Loader, Task],
    directory: RunDirectory | None,
    callbacks: Sequence[Callback],
    print_line: PrintLine,
) -> Run:
    """Trains from where the directory stands, then finishes. Only the main process of several writes."""
    dataset, train, task = prepared
    device, process_group = train.device, ProcessGroup.current()
    with ExitStack() as stack:
        if directory is not None and process_group.is_main:
            stack.enter_context(directory.lock())
            directory.sweep()
        state = None if directory is None else directory.load_checkpoint()
        if state is not None:
            task.model.precision = state["precision"]  # auto may choose otherwise now
        held_out = loader(spec, dataset, "validation", device)
        with ExitStack() as training:
            stop = training.enter_context(stop_on_signals())
            run_log: FileRunLog | NullRunLog = NullRunLog(stop)
            if directory is not None and process_group.is_main:
                run_log = _journal(directory, spec, callbacks, training, stop)
                _note_environment(directory, describe(device, task.model.precision))
            trainer = Trainer(task, train, spec, lambda t: validate(t, held_out), run_log, process_group)
            if state is not None:
                trainer.restore(state)
            run_log.start(trainer.step)
            print_line(
                f"{directory.path if directory else spec.name}: step {trainer.step} of {trainer.total_steps} on {device}"
            )
            trainer.fit()
        run_ = Run(directory or RunDirectory(Path()), spec, _best(trainer), dataset)
        if directory is not None and process_group.is_main:
            _finish(run_, trainer, len(train), print_line)
        return run_


def _note_environment(directory: RunDirectory, found: dict[str, Any]) -> None:
    """Writes down what the run is made with; where it is taken up again, beside what it was begun with."""
    if directory.environment.is_file():
        begun = read_json(directory.environment)
        found = {**begun, "resumed": [*begun.get("resumed", []), found]}
    write_json(directory.environment, found)


def _journal(
    directory: RunDirectory, spec: Spec, callbacks: Sequence[Callback], stack: ExitStack, stop: StopSignal
) -> FileRunLog:
    """What writes the run down while training lasts."""
    own = [bound.build(directory.path) for bound in spec.train.callbacks]
    for callback in own:
        stack.enter_context(closing(callback))
    return FileRunLog(directory, spec.train.keep, (*own, *callbacks), stop)


def _best(trainer: Trainer) -> Task:
    """The task with the weights that did best on validation."""
    task = trainer.evaluated
    task.model.load_state_dict(trainer.best["model"])
    task.regularizers.load_state_dict(trainer.best["regularizers"])
    task.model.precision = "fp32"
    return task.eval()


def _finish(run_: Run, trainer: Trainer, train_size: int, print_line: PrintLine) -> None:
    """Writes the best weights, measures them and draws the report."""
    from vaezoo.runs.report.page import write_report

    step = trainer.best["step"]
    about = {"data": asdict(run_.model.data), "train_size": train_size, "step": step}
    metadata = {"vaezoo": _MODEL_FORMAT, "about": json.dumps(about)}
    write_tensors(run_.directory.model, trainer.best["model"], metadata)
    if run_.task.has_trainable_regularizers:
        write_tensors(run_.directory.regularizers, trainer.best["regularizers"], {"vaezoo": _REGULARIZERS_FORMAT})
    print_line(f"evaluating step {step}, the best on validation")
    write_json(run_.directory.evaluation, run_.evaluate())
    print_line("drawing the report")
    write_report(run_.record())

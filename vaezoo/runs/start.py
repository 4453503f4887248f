"""Starts and resumes runs: training, evaluation and the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from vaezoo.components.callbacks import Callback
from vaezoo.data.dataset import Dataset
from vaezoo.data.loader import Loader
from vaezoo.evaluation.validation import validate
from vaezoo.model.task import Task
from vaezoo.runs.directory import RunDirectory
from vaezoo.runs.environment import describe_environment
from vaezoo.runs.log import FileRunLog, NullRunLog, PrintLine
from vaezoo.runs.run import Run, build_loader, report_data
from vaezoo.runs.setup import prepare_current_process
from vaezoo.runs.signals import StopSignal, stop_on_signals
from vaezoo.spec.dump import dump
from vaezoo.spec.load import load_spec
from vaezoo.spec.spec import Spec
from vaezoo.training.process_group import ProcessGroup
from vaezoo.training.state import TrainerState
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
    """Trains and evaluates the model that a spec describes, and writes a report.

    Args:
        spec: the path of a spec file, a mapping, or a loaded Spec (then without ``overrides``).
        overrides: changes of the spec as ``key.path=value``, such as ``train.epochs=3``.
        out: the folder in which the run's directory ``<name>/<time>`` is created.
        callbacks: receive every record, in addition to the callbacks of the spec.
        print_line: is called with one line of text at each stage of the run.

    Returns:
        The finished run with its trained model.

    Raises:
        VaezooError: the spec, the data or the training is faulty; a subclass names the kind.

    Example:
        >>> import vaezoo
        >>> mlp = {"type": "mlp", "hidden": [16]}
        >>> run = vaezoo.run(
        ...     {
        ...         "spec": "vaezoo/v1",
        ...         "name": "tiny",
        ...         "data": {"type": "digits", "batch_size": 128},
        ...         "model": {
        ...             "latent_dim": 2, "encoder": mlp, "decoder": mlp, "likelihood": "bernoulli"
        ...         },
        ...         "train": {"steps": 5},
        ...         "evaluate": ["elbo"],
        ...     }
        ... )
        >>> run.model.sample(16).shape
        torch.Size([16, 1, 8, 8])
        >>> run.evaluation["metrics"]["elbo"]["examples"]
        270
        >>> (run.path / "report.html").is_file()
        True
    """
    if isinstance(spec, Spec) and overrides:
        raise UsageError(
            "overrides need a spec that is a path or a mapping: a loaded Spec cannot be changed"
        )
    loaded = spec if isinstance(spec, Spec) else load_spec(spec, overrides)
    prepared = prepare_current_process(loaded)  # finds faults before anything is written
    directory = None
    if ProcessGroup.current().is_main:
        directory = RunDirectory.create(Path(out), loaded.name)
        write_text(directory.spec, dump(loaded.resolved()))
    return _train(loaded, prepared, directory, callbacks=callbacks, print_line=print_line)


def resume(
    path: str | Path,
    *,
    callbacks: Sequence[Callback] = (),
    print_line: PrintLine = lambda line: None,
) -> Run:
    """Resumes a run from its last checkpoint.

    On the CPU the result is bit-identical to that of a run that was not interrupted.

    Args:
        path: the run's directory.
        callbacks: receive every record, in addition to the callbacks of the spec.
        print_line: is called with one line of text at each stage of the run.

    Raises:
        UsageError: there is no run at ``path``, or another process is using it.
        IntegrityError: every checkpoint is damaged.

    Example:
        >>> import vaezoo
        >>> mlp = {"type": "mlp", "hidden": [16]}
        >>> run = vaezoo.run(
        ...     {
        ...         "spec": "vaezoo/v1",
        ...         "name": "tiny",
        ...         "data": {"type": "digits", "batch_size": 128},
        ...         "model": {
        ...             "latent_dim": 2, "encoder": mlp, "decoder": mlp, "likelihood": "bernoulli"
        ...         },
        ...         "train": {"steps": 5},
        ...         "evaluate": ["elbo"],
        ...     }
        ... )
        >>> resumed = vaezoo.resume(run.path)
        >>> resumed.evaluation == run.evaluation
        True
    """
    directory = RunDirectory.open(path)
    spec = load_spec(directory.spec)
    prepared = prepare_current_process(spec)
    return _train(spec, prepared, directory, callbacks=callbacks, print_line=print_line)


def _train(
    spec: Spec,
    prepared: tuple[Dataset, Loader, Task],
    directory: RunDirectory | None,
    *,
    callbacks: Sequence[Callback],
    print_line: PrintLine,
) -> Run:
    """Trains from the last checkpoint, or from the start, and writes the results.

    Only the main process writes; ``directory`` may be None in the others.
    """
    dataset, train, task = prepared
    device, process_group = train.device, ProcessGroup.current()
    with ExitStack() as stack:
        if directory is not None and process_group.is_main:
            stack.enter_context(directory.lock())
            directory.remove_temporary_files()
        state = None if directory is None else directory.load_checkpoint()
        if state is not None:  # `auto` could now select another precision
            task.model.precision = state["precision"]
        validation = build_loader(spec, dataset, "validation", device)
        with ExitStack() as training:
            stop = training.enter_context(stop_on_signals())
            run_log: FileRunLog | NullRunLog = NullRunLog(stop)
            if directory is not None and process_group.is_main:
                run_log = _build_run_log(spec, directory, callbacks, stop=stop, stack=training)
                environment = describe_environment(device, task.model.precision)
                _write_environment(directory, environment)
            trainer = Trainer(
                task,
                train,
                spec,
                validate=lambda t: validate(t, validation),
                run_log=run_log,
                process_group=process_group,
            )
            if state is not None:
                trainer.restore(cast(TrainerState, state))
            run_log.start(trainer.step)
            place = directory.path if directory else spec.name
            print_line(f"{place}: step {trainer.step} of {trainer.total_steps} on {device}")
            trainer.fit()
        selected_task = _load_selected_weights(trainer)
        finished = Run(directory or RunDirectory(Path()), spec, selected_task, dataset)
        if directory is not None and process_group.is_main:
            _write_results(finished, trainer, len(train), print_line)
        return finished


def _write_environment(directory: RunDirectory, environment: dict[str, Any]) -> None:
    """Writes ``environment.json``; a resumed run adds to its list ``resumed``."""
    if directory.environment.is_file():
        first = read_json(directory.environment)
        environment = {**first, "resumed": [*first.get("resumed", []), environment]}
    write_json(directory.environment, environment)


def _build_run_log(
    spec: Spec,
    directory: RunDirectory,
    callbacks: Sequence[Callback],
    *,
    stop: StopSignal,
    stack: ExitStack,
) -> FileRunLog:
    """Builds the log of the main process; ``stack`` closes the callbacks of the spec."""
    spec_callbacks = [component.build(directory.path) for component in spec.train.callbacks]
    for callback in spec_callbacks:
        stack.enter_context(closing(callback))
    return FileRunLog(directory, spec.train.keep, (*spec_callbacks, *callbacks), stop)


def _load_selected_weights(trainer: Trainer) -> Task:
    """Loads the weights that ``train.select`` selects into the task."""
    task = trainer.evaluation_task
    task.model.load_state_dict(trainer.best["model"])
    task.regularizers.load_state_dict(trainer.best["regularizers"])
    task.model.precision = "fp32"
    return task.eval()


def _write_results(
    finished: Run, trainer: Trainer, train_size: int, print_line: PrintLine
) -> None:
    """Writes the selected weights, their evaluation and the report."""
    from vaezoo.runs.report.page import write_report

    directory, step = finished.directory, trainer.best["step"]
    about = {"data": asdict(finished.model.data), "train_size": train_size, "step": step}
    metadata = {"vaezoo": _MODEL_FORMAT, "about": json.dumps(about)}
    write_tensors(directory.model, trainer.best["model"], metadata)
    if finished.task.has_trainable_regularizers:
        metadata = {"vaezoo": _REGULARIZERS_FORMAT}
        write_tensors(directory.regularizers, trainer.best["regularizers"], metadata)
    print_line(f"evaluating the weights of step {step}")
    write_json(directory.evaluation, finished.evaluate())
    print_line("drawing the report")
    write_report(report_data(finished))

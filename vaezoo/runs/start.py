"""Starts and resumes runs: training, evaluation and the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

from vaezoo.components.callbacks import Callback
from vaezoo.data.dataset import Dataset
from vaezoo.data.loader import Loader
from vaezoo.data.sizes import count_examples, describe_examples
from vaezoo.evaluation.evaluate import EvaluationError
from vaezoo.model.task import Task
from vaezoo.pretrained.model_header import write_model_header
from vaezoo.runs.data_record import check_same_splits, split_records
from vaezoo.runs.directory import RunDirectory
from vaezoo.runs.environment import describe_environment
from vaezoo.runs.finding import find_run
from vaezoo.runs.in_memory import data_caption, data_record, reading_note
from vaezoo.runs.init import describe_init, load_init
from vaezoo.runs.loaders import build_loader, require_known_labels
from vaezoo.runs.log import FileRunLog, NullRunLog, PrintLine
from vaezoo.runs.process_classes import check_registered, class_record
from vaezoo.runs.processes import set_resume_hint, work_together
from vaezoo.runs.recorded_spec import (
    NO_CHANGES,
    Changes,
    load_recorded_spec,
    run_identity,
    spec_changes,
    write_environment,
)
from vaezoo.runs.resume_hint import name_resume_command, resume_command
from vaezoo.runs.run import Run, write_evaluation
from vaezoo.runs.setup import prepare_current_process
from vaezoo.runs.signals import StopSignal, stop_on_signals
from vaezoo.runs.stages import fit_samplers, train_stages
from vaezoo.spec.dump import dump
from vaezoo.spec.load import load_spec, load_spec_for_data
from vaezoo.spec.spec import Spec
from vaezoo.training.state import TrainerState
from vaezoo.utils.errors import IntegrityError, Interrupted, UsageError
from vaezoo.utils.files import write_tensors, write_text
from vaezoo.utils.process_group import ProcessGroup

_REGULARIZERS_FORMAT, _OBJECTIVE_FORMAT = "regularizers/v1", "objective/v1"


def run(
    spec: str | Path | Mapping[str, Any] | Spec,
    overrides: Sequence[str] = (),
    *,
    data: Any = None,
    out: str | Path = "runs",
    evaluation_split: str = "test",
    callbacks: Sequence[Callback] = (),
    print_line: PrintLine = lambda line: None,
) -> Run:
    """Trains and evaluates the model that a spec describes, and writes a report.

    Args:
        spec: the path of a spec file, a mapping, or a loaded Spec (then without ``overrides``).
        overrides: changes of the spec as ``key.path=value``, such as ``train.epochs=3``.
        data: the examples, in place of a data set that the spec names: a numpy array ``[n, ...]``
            or a torch tensor, a pair ``(x, y)`` of these, a ``vaezoo.Batch``, a data frame, or a
            map-style data set of torch with the items ``x`` or ``(x, y)``. The block ``data`` of
            the spec may then be left out, or be of the type ``memory``; ``vaezoo show dataset
            memory`` lists its options.
        out: the folder in which the run's directory ``<name>/<time>`` is created.
        evaluation_split: ``test``, or ``validation`` for a run that a setting is chosen by: it is
            evaluated on the validation split, in ``evaluation-validation.json``, and test examples
            are neither measured nor drawn.
        callbacks: receive every record, in addition to the callbacks of the spec, and are closed
            when training ends, successfully or not.
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
        >>> run.model.sample(16).shape
        torch.Size([16, 1, 8, 8])
        >>> run.evaluation["metrics"]["elbo"]["examples"]
        270
        >>> (run.path / "report.html").is_file()
        True

        Data may be given in place of a data set that the spec names:

        >>> import numpy as np
        >>> images = np.random.default_rng(0).integers(0, 256, (500, 1, 8, 8))
        >>> labels = np.arange(500) % 10
        >>> run = vaezoo.run(
        ...     {
        ...         "spec": "vaezoo/v2",
        ...         "name": "tiny",
        ...         "model": {
        ...             "latent_dim": 2, "encoder": mlp, "decoder": mlp, "likelihood": "bernoulli"
        ...         },
        ...         "train": {"steps": 5},
        ...     },
        ...     data=(images, labels),
        ... )
        >>> len(run.data("train")), run.model.data.support, run.model.data.classes[:2]
        (400, 'unit', ('0', '1'))
    """
    if isinstance(spec, Spec) and overrides:
        raise UsageError(
            "overrides need a spec that is a path or a mapping: a loaded Spec cannot be changed"
        )
    if evaluation_split not in ("test", "validation"):
        raise UsageError(f"evaluation_split {evaluation_split!r}: must be test or validation")
    with work_together() as process_group:
        if not isinstance(spec, Spec):
            spec = (load_spec if data is None else load_spec_for_data)(spec, overrides)
        prepared = prepare_current_process(spec, data)  # finds faults before anything is written
        init = load_init(spec, prepared[2][0].model)  # so does this
        with ExitStack() as stack:
            return _train(
                spec,
                prepared,
                _create_directory(Path(out), spec, process_group, stack),
                process_group,
                init=init,
                evaluation_split=evaluation_split,
                callbacks=callbacks,
                print_line=print_line,
            )


def resume(
    path: str | Path,
    overrides: Sequence[str] = (),
    *,
    data: Any = None,
    callbacks: Sequence[Callback] = (),
    print_line: PrintLine = lambda line: None,
) -> Run:
    """Resumes a run from its last checkpoint.

    On the CPU the result is bit-identical to that of a run that was not interrupted.

    Args:
        path: the run's directory; or ``latest``, ``NAME/latest``, or the beginning of the path or
            the time of one run below ``runs``.
        overrides: changes of the spec as ``key.path=value``, such as ``train.epochs=40``. The run
            records them. They may concern what no past training step depends on: the length of
            training, paths of the data, the device, and others that the error message lists.
        data: the data that the run is trained on, if ``vaezoo.run`` was given it as ``data=``.
        callbacks: receive every record, in addition to the callbacks of the spec, and are closed
            when training ends, successfully or not.
        print_line: is called with one line of text at each stage of the run.

    Raises:
        UsageError: there is no run at ``path``, another process is using it, its data was given
            in Python, and now is not, or training depends on what an override changes.
        PluginError: it uses classes that the process that trained it had registered.
        IntegrityError: every checkpoint is damaged, the data is not that of the run, or
            ``spec.yaml`` was changed.

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
        >>> resumed = vaezoo.resume(run.path)
        >>> resumed.evaluation == run.evaluation
        True
    """
    with work_together() as process_group:
        directory = RunDirectory.open(find_run(path))
        check_registered(directory)
        spec = load_recorded_spec(directory, overrides)
        changes = spec_changes(directory, spec) if overrides else NO_CHANGES
        with name_resume_command(directory, spec):
            prepared = prepare_current_process(spec, data, directory.path)
            return _train(
                spec,
                prepared,
                directory,
                process_group,
                changes=changes,
                evaluation_split=directory.read_environment().get("evaluation_split", "test"),
                callbacks=callbacks,
                print_line=print_line,
            )


def _create_directory(
    out: Path, spec: Spec, process_group: ProcessGroup, stack: ExitStack
) -> RunDirectory:
    """Creates the run's directory in the main process, and names it to the others.

    From then on, until ``stack`` ends, an interruption says how to resume the run.
    """
    path = ""
    if process_group.is_main:
        directory = RunDirectory.create(out, spec.name)
        stack.enter_context(name_resume_command(directory, spec))
        write_text(directory.spec, dump(spec.resolved()))
        path = str(directory.path)
    directory = RunDirectory(Path(process_group.broadcast_text(path)))
    if not process_group.is_main:
        stack.enter_context(name_resume_command(directory, spec))
    return directory


def _train(
    spec: Spec,
    prepared: tuple[Dataset, Loader, tuple[Task, ...]],
    directory: RunDirectory,
    process_group: ProcessGroup,
    *,
    evaluation_split: str,
    callbacks: Sequence[Callback],
    print_line: PrintLine,
    init: list[dict[str, Any]] | None = None,
    changes: Changes = NO_CHANGES,
) -> Run:
    """Trains from the last checkpoint, or from the start, and writes the results.

    Only the main process writes and prints. ``init`` is what ``load_init`` returned; None calls it
    if there is no checkpoint. ``changes`` are those of the spec since the run was started.
    """
    dataset, train, tasks = prepared
    model = tasks[0].model
    device, is_main = train.device, process_group.is_main
    set_resume_hint(directory.path, resume_command(directory.path, spec))

    def print_stage(line: str) -> None:
        if is_main:
            print_line(line)

    print_stage(f"run {directory.path}")
    with ExitStack() as stack:
        if is_main:
            stack.enter_context(directory.lock())
            directory.remove_temporary_files()
        state = _load_checkpoint(directory, process_group)
        if state is not None:
            model.precision = state["precision"]  # `auto` could now select another one
            changes.check(state["stage"])
        if init is None:
            init = load_init(spec, model) if state is None else []
        validation = build_loader(spec, dataset, "validation", device)
        require_known_labels(model, validation, "validation")
        with ExitStack() as training:
            stop = training.enter_context(stop_on_signals())
            run_log: FileRunLog | NullRunLog = NullRunLog(directory, stop)
            if is_main:
                recorded, caption = _describe_data(spec, dataset, train, validation)
                if state is not None and "splits" in recorded:
                    check_same_splits(directory, recorded["splits"])
                for line in (*describe_init(init), caption):
                    print_stage(line)
                environment = describe_environment(device, model.precision)
                environment |= recorded | class_record(spec) | ({"init": init} if init else {})
                # that of the first version which trained the run: a later one may have new options
                identity = directory.read_environment().get("identity", "")
                environment["identity"] = identity or run_identity(
                    spec, recorded.get("splits", {})
                )
                if evaluation_split != "test":  # which `resume` evaluates on, too
                    environment["evaluation_split"] = evaluation_split
                run_log = _build_run_log(
                    spec,
                    directory,
                    callbacks,
                    stop=stop,
                    stack=training,
                    begin=partial(write_environment, directory, spec, environment, changes),
                    identity=environment["identity"],
                )
            step = train_stages(
                spec,
                tasks,
                state,
                train=train,
                validation=validation,
                run_log=run_log,
                process_group=process_group,
                print_line=print_stage,
            )
        if process_group.any(stop.requested):  # after the last step
            raise Interrupted("stopped at the end of training")
        fit_samplers(spec, model, train, process_group)
        finished = Run(directory, spec, tasks[-1], dataset)
        failure = None
        if is_main:
            try:
                _write_results(finished, step, len(train), evaluation_split, print_line)
            except EvaluationError as error:  # all else is written
                failure = error
        process_group.barrier()  # the files of the results are there, for every process
        if failure is not None:
            raise failure
        return finished


def _describe_data(
    spec: Spec, dataset: Dataset, train: Loader, validation: Loader
) -> tuple[dict[str, Any], str]:
    """What ``environment.json`` says of the data, and a line that describes it."""
    recorded = data_record(dataset)
    recorded["examples"] = count_examples(dataset, train, validation)
    note = reading_note(dataset.spec) if "data" in recorded else ""
    caption = data_caption(spec.data.name, recorded.get("data"))
    if "data" not in recorded:
        recorded["splits"] = split_records(train, validation)
    return recorded, f"data: {caption}: {describe_examples(recorded['examples'])}{note}"


def _load_checkpoint(directory: RunDirectory, process_group: ProcessGroup) -> TrainerState | None:
    """Loads the last checkpoint, the same one in every process.

    The main process, which has locked the run, reads it before the others do.

    Raises:
        IntegrityError: every checkpoint is damaged, or the processes find different ones.
    """
    state = directory.load_checkpoint() if process_group.is_main else None
    step = process_group.broadcast_text(_step_of(state))
    if not process_group.is_main:
        state = directory.load_checkpoint()
    if process_group.any(_step_of(state) != step):
        raise IntegrityError(
            f"{directory.checkpoints}: not every process finds the checkpoint of step {step}; "
            "all need the same file system"
        )
    return state


def _step_of(state: TrainerState | None) -> str:
    """The step of a checkpoint, counted over all stages, as in its file name."""
    return "none" if state is None else str(state["steps_before"] + state["step"])


def _build_run_log(
    spec: Spec,
    directory: RunDirectory,
    callbacks: Sequence[Callback],
    *,
    stop: StopSignal,
    stack: ExitStack,
    begin: Callable[[], None],
    identity: str,
) -> FileRunLog:
    """Builds the log of the main process; ``stack`` closes the callbacks."""
    all_callbacks = [*callbacks]
    for callback in callbacks:
        stack.enter_context(closing(callback))
    for component in spec.train.callbacks:
        all_callbacks.append(component.build(directory.path))
        stack.enter_context(closing(all_callbacks[-1]))
    return FileRunLog(directory, spec.train.keep, all_callbacks, stop, begin, identity)


def _write_results(
    finished: Run, step: int, train_size: int, evaluation_split: str, print_line: PrintLine
) -> None:
    """Writes the selected weights, their evaluation and the report."""
    directory = finished.directory
    header = write_model_header(finished.model.data, train_size, step)
    write_tensors(directory.model, finished.model.state_dict(), header)
    for path, module, file_format in (
        (directory.regularizers, finished.task.regularizers, _REGULARIZERS_FORMAT),
        (directory.objective, finished.task.objective, _OBJECTIVE_FORMAT),
    ):
        if any(True for _ in module.parameters()):
            write_tensors(path, module.state_dict(), {"vaezoo": file_format})
    print_line(f"evaluating the weights of step {step}")
    write_evaluation(finished, evaluation_split, print_line)

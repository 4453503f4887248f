"""Trains in the directory of a run: from its checkpoint to the weights, evaluation and report."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
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
from vaezoo.runs.in_memory import data_caption, data_record, reading_note
from vaezoo.runs.init import describe_init, load_init
from vaezoo.runs.loaders import build_loader, require_known_labels
from vaezoo.runs.log import FileRunLog, NullRunLog, PrintLine
from vaezoo.runs.process_classes import class_record
from vaezoo.runs.processes import set_resume_hint
from vaezoo.runs.recorded_spec import NO_CHANGES, Changes, run_identity, write_environment
from vaezoo.runs.resume_hint import resume_command
from vaezoo.runs.run import Run, write_evaluation
from vaezoo.runs.signals import stop_on_signals
from vaezoo.runs.stages import fit_samplers, train_stages
from vaezoo.spec.spec import Spec
from vaezoo.training.state import TrainerState
from vaezoo.utils.errors import IntegrityError, Interrupted
from vaezoo.utils.files import write_tensors
from vaezoo.utils.process_group import ProcessGroup

_REGULARIZERS_FORMAT, _OBJECTIVE_FORMAT = "regularizers/v1", "objective/v1"


@dataclass(frozen=True)
class Training:
    """The training of a run by some processes, of which only the main one writes and prints.

    Attributes:
        directory: of the run.
        spec: its spec.
        dataset, train, tasks: what ``prepare_current_process`` returned.
        process_group: the processes.
        evaluation_split: the split that the run is evaluated on.
        callbacks: receive every record, in addition to the callbacks of the spec.
        print_line: is called with one line of text at each stage of the run.
    """

    directory: RunDirectory
    spec: Spec
    dataset: Dataset
    train: Loader
    tasks: tuple[Task, ...]
    process_group: ProcessGroup
    evaluation_split: str
    callbacks: Sequence[Callback]
    print_line: PrintLine

    def run(self, init: list[dict[str, Any]] | None = None, changes: Changes = NO_CHANGES) -> Run:
        """Trains from the last checkpoint, or from the start, and writes the results.

        Args:
            init: what ``load_init`` returned; None calls it if there is no checkpoint.
            changes: of the spec, since the run was started.
        """
        directory, model = self.directory, self.tasks[0].model
        set_resume_hint(directory.path, resume_command(directory.path, self.spec))
        self._print(f"run {directory.path}")
        with ExitStack() as stack:
            if self.process_group.is_main:
                stack.enter_context(directory.lock())
                directory.remove_temporary_files()
            state = _load_checkpoint(directory, self.process_group)
            if state is not None:
                model.precision = state["precision"]  # `auto` could now select another one
                changes.check(state["stage"])
            if init is None:
                init = load_init(self.spec, model) if state is None else []
            step = self._train(state, init, changes)
            fit_samplers(self.spec, model, self.train, self.process_group)
            finished = Run(directory, self.spec, self.tasks[-1], self.dataset)
            self._write(finished, step)
            return finished

    def _train(
        self, state: TrainerState | None, init: list[dict[str, Any]], changes: Changes
    ) -> int:
        """Trains all stages from a checkpoint; returns the step of the selected weights."""
        validation = build_loader(self.spec, self.dataset, "validation", self.train.device)
        require_known_labels(self.tasks[0].model, validation, "validation")
        with ExitStack() as stack:
            stop = stack.enter_context(stop_on_signals())
            run_log: FileRunLog | NullRunLog = NullRunLog(self.directory, stop)
            if self.process_group.is_main:
                environment = self._describe(validation, state, init)
                run_log = FileRunLog(
                    directory=self.directory,
                    keep=self.spec.train.keep,
                    callbacks=self._open_callbacks(stack),
                    stop=stop,
                    begin=partial(
                        write_environment, self.directory, self.spec, environment, changes
                    ),
                    identity=environment["identity"],
                )
            step = train_stages(
                self.spec,
                self.tasks,
                state,
                train=self.train,
                validation=validation,
                run_log=run_log,
                process_group=self.process_group,
                print_line=self._print,
            )
        if self.process_group.any(stop.requested):  # after the last step
            raise Interrupted("stopped at the end of training")
        return step

    def _print(self, line: str) -> None:
        if self.process_group.is_main:
            self.print_line(line)

    def _describe(
        self, validation: Loader, state: TrainerState | None, init: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """What ``environment.json`` says of this process; prints what training begins with.

        Raises:
            IntegrityError: the data is not that which the run was trained on.
        """
        recorded, caption = self._describe_data(validation)
        if state is not None and "splits" in recorded:
            check_same_splits(self.directory, recorded["splits"])
        for line in (*describe_init(init), caption):
            self._print(line)
        environment = describe_environment(self.train.device, self.tasks[0].model.precision)
        environment |= recorded | class_record(self.spec) | ({"init": init} if init else {})
        # that of the first version which trained the run: a later one may have new options
        identity = self.directory.read_environment().get("identity", "")
        environment["identity"] = identity or run_identity(self.spec, recorded.get("splits", {}))
        if self.evaluation_split != "test":  # which `resume` evaluates on, too
            environment["evaluation_split"] = self.evaluation_split
        return environment

    def _describe_data(self, validation: Loader) -> tuple[dict[str, Any], str]:
        """What ``environment.json`` says of the data, and a line that describes it."""
        recorded = data_record(self.dataset)
        recorded["examples"] = count_examples(self.dataset, self.train, validation)
        note = reading_note(self.dataset.spec) if "data" in recorded else ""
        caption = data_caption(self.spec.data.name, recorded.get("data"))
        if "data" not in recorded:
            recorded["splits"] = split_records(self.train, validation)
        return recorded, f"data: {caption}: {describe_examples(recorded['examples'])}{note}"

    def _open_callbacks(self, stack: ExitStack) -> list[Callback]:
        """All callbacks, which ``stack`` closes."""
        callbacks = [*self.callbacks]
        for callback in self.callbacks:
            stack.enter_context(closing(callback))
        for component in self.spec.train.callbacks:
            callbacks.append(component.build(self.directory.path))
            stack.enter_context(closing(callbacks[-1]))
        return callbacks

    def _write(self, finished: Run, step: int) -> None:
        """Writes the results in the main process, which the others wait for."""
        failure = None
        if self.process_group.is_main:
            _write_weights(finished, step, len(self.train))
            self.print_line(f"evaluating the weights of step {step}")
            try:
                write_evaluation(finished, self.evaluation_split, self.print_line)
            except EvaluationError as error:  # all else is written
                failure = error
        self.process_group.barrier()  # the files of the results are there, for every process
        if failure is not None:
            raise failure


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


def _write_weights(finished: Run, step: int, train_size: int) -> None:
    """Writes the selected weights."""
    directory = finished.directory
    header = write_model_header(finished.model.data, train_size, step)
    write_tensors(directory.model, finished.model.state_dict(), header)
    for path, module, file_format in (
        (directory.regularizers, finished.task.regularizers, _REGULARIZERS_FORMAT),
        (directory.objective, finished.task.objective, _OBJECTIVE_FORMAT),
    ):
        if any(True for _ in module.parameters()):
            write_tensors(path, module.state_dict(), {"vaezoo": file_format})

"""The training loop: optimizer steps of each phase, logging, validation and checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vaezoo.data.batch import Batch
from vaezoo.data.loader import Loader
from vaezoo.model.component import StepResult, is_eager
from vaezoo.model.task import Task
from vaezoo.model.trace import elbo
from vaezoo.nn.loading import load_strict
from vaezoo.spec.stage import Stage
from vaezoo.training.batch_parts import describe_step_error
from vaezoo.training.divergence import describe_divergence
from vaezoo.training.metric_logger import MetricLogger, NonFiniteError
from vaezoo.training.phase_optimizer import Loss, PhaseOptimizer
from vaezoo.training.run_log import RunLog
from vaezoo.training.selection import Selection
from vaezoo.training.state import TrainerState
from vaezoo.utils.errors import (
    IntegrityError,
    Interrupted,
    TrainingError,
    VaezooError,
    one_line,
)
from vaezoo.utils.process_group import ProcessGroup
from vaezoo.utils.seeds import restored_generators, seed_device

Validate = Callable[[Task], dict[str, float]]
"""Measures a task on the validation split: what of ``distortion`` and ``bound`` is defined."""


class Trainer:
    """Trains the task of one stage.

    Args:
        task: on its device.
        loader: the training split.
        stage: defines the training.
        validate: measures a task on the validation split.
        run_log: writes records and checkpoints.
        process_group: the processes that train together.
        steps_before: the number of training steps that earlier stages took.
        steps_after: the number of training steps of later stages.
    """

    def __init__(
        self,
        task: Task,
        loader: Loader,
        stage: Stage,
        *,
        validate: Validate,
        run_log: RunLog,
        process_group: ProcessGroup,
        steps_before: int = 0,
        steps_after: int = 0,
    ) -> None:
        self.task, self.loader, self.stage, self.config = task, loader, stage, stage.train
        self.validate, self.run_log, self.process_group = validate, run_log, process_group
        self.steps_before, self.steps_after = steps_before, steps_after
        self.total_steps = stage.count_steps(loader.steps_per_epoch)
        self.device = task.model.device
        self.phase_optimizers = self._build_phase_optimizers()
        self.ema: AveragedModel | None = None
        if self.config.ema:
            self.ema = AveragedModel(task, multi_avg_fn=get_ema_multi_avg_fn(self.config.ema))
        self.metric_logger = MetricLogger(process_group)
        self.step = 0
        self.selection = Selection(self.config)
        self.saved_at = time.monotonic()

    def _build_phase_optimizers(self) -> list[PhaseOptimizer]:
        """One for each phase; the first, the model's, computes the task's loss, maybe compiled."""
        phases = self.task.phases()
        losses: list[Loss | None] = [self.task, *[None] * (len(phases) - 1)]
        is_auto_compiled = self.config.compile == "auto" and self.device.type == "cuda"
        # gradients within a pass cannot be compiled
        if (self.config.compile is True or is_auto_compiled) and not is_eager(self.task):
            losses[0] = torch.compile(self.task)
        return [
            PhaseOptimizer(
                phase,
                loss=loss,
                task=self.task,
                config=self.config,
                total_steps=self.total_steps,
                process_group=self.process_group,
                fewest_examples=self.loader.fewest_examples,
            )
            for phase, loss in zip(phases, losses, strict=True)
        ]

    @property
    def run_step(self) -> int:
        """The number of training steps taken, counted over all stages."""
        return self.steps_before + self.step

    @property
    def evaluation_task(self) -> Task:
        """The task with the weights to evaluate: the averaged ones with ``train.ema``."""
        if self.ema is None:
            return self.task
        assert isinstance(self.ema.module, Task)
        return self.ema.module

    def fit(self) -> None:
        """Trains until the last step of the stage or early stopping.

        Raises:
            TrainingError: a term is no longer finite, or a step failed.
            Interrupted: the run was requested to stop; its checkpoint is written.
        """
        self.task.train()
        self.metric_logger.restart_clock()
        with restored_generators(self.device), self.task.active(), self._averaged_task_active():
            if self.step == 0:
                self._initialise()
            while self.step < self.total_steps and not self.selection.should_stop_early:
                self._train_epoch()
            self._save()

    def _averaged_task_active(self) -> AbstractContextManager[None]:
        return nullcontext() if self.ema is None else self.evaluation_task.active()

    def _initialise(self) -> None:
        """Lets components set weights from the first batch: in one process, for all."""
        if not self.task.initialised_parts:
            return
        self.task.set_step(0)
        seed_device(self.device, self.stage.seed, "initialise")
        if self.process_group.is_main:
            least = max(part.initial_examples for part in self.task.initialised_parts)
            batch = self.loader.first_training_batch(least)
            try:
                self.task.initialise(batch)
            except Exception as error:
                raise self._step_error(error, "initialise") from error
        self.process_group.broadcast_module(self.task)

    def _train_epoch(self) -> None:
        """Trains to the end of the epoch or of the run, and validates."""
        steps_per_epoch = self.loader.steps_per_epoch
        epoch, start = divmod(self.step, steps_per_epoch)
        self._seed_step()
        for index, batch in enumerate(self.loader.epoch(epoch, start), start):
            remaining = len(self.loader) - index * self.loader.batch_size
            is_logged = self._train_step(batch, min(self.loader.batch_size, remaining))
            if self._is_epoch_end(self.step):
                break  # checkpoints follow validation, because a resumed run would skip it
            # several processes agree on stopping, which waits for the device, at records only
            if is_logged or self.process_group.size == 1:
                self._save_or_stop(may_save=is_logged)
        if (epoch + 1) % self.config.validate_every == 0 or self.step >= self.total_steps:
            self._log()
            self._validate()
            self.metric_logger.restart_clock()
        self._save_or_stop(may_save=True)

    def _is_epoch_end(self, step: int) -> bool:
        """Whether an epoch or the run ends after a step; a record may follow then."""
        return step % self.loader.steps_per_epoch == 0 or step >= self.total_steps

    def _train_step(self, batch: Batch, total_examples: int) -> bool:
        """Takes one training step: the optimizer steps of every phase that is due.

        Args:
            batch: this process's examples.
            total_examples: the number of examples of all processes.

        Returns:
            Whether a record was due after the step.
        """
        is_logged = (self.step + 1) % self.config.log_every == 0
        measure_norm = is_logged or self._is_epoch_end(self.step + 1)
        metrics: dict[str, Tensor] = {}
        self.task.set_step(self.step)
        for phase_optimizer in self.phase_optimizers:
            if not phase_optimizer.phase.is_due(self.step):
                continue
            try:
                terms = phase_optimizer.step(batch, total_examples, measure_norm)
            except Exception as error:
                raise self._step_error(error, f"phase {phase_optimizer.name!r}") from error
            if metrics:  # only the terms of the model's phase have no prefix
                terms = {f"{phase_optimizer.name}/{name}": terms[name] for name in terms}
            metrics |= terms
        self.metric_logger.add(self.run_step, metrics, total_examples)
        if self.task.adapting_parts:
            result = StepResult(
                step=self.step,
                model=self.task.model,
                processes=self.process_group,
                read_terms=self.metric_logger.latest,
            )
            try:
                self.task.after_step(result)
            except Exception as error:
                raise self._step_error(error, "after_step") from error
        if self.ema is not None:
            self.ema.update_parameters(self.task)
        self.step += 1
        self._seed_step()
        if is_logged:
            self._log()
        return is_logged

    def _step_error(self, error: Exception, what: str) -> VaezooError:
        """An error of a component, such as out of memory, with the step in which it occurred."""
        if isinstance(error, VaezooError):
            return error
        return TrainingError(
            f"step {self.run_step + 1}{self._in_stage()}, {what}: {describe_step_error(error)}; "
            f"{self.run_log.describe_last_checkpoint()}"
        )

    def _seed_step(self) -> None:
        """Seeds the next step, so that it does not depend on the numbers drawn before it."""
        seed_device(self.device, self.stage.seed, "step", self.step, self.process_group.rank)

    def _save_or_stop(self, may_save: bool) -> None:
        """Writes a checkpoint if a stop is requested, or if it is time and ``may_save``.

        Raises:
            Interrupted: a stop was requested in any process.
        """
        stop = self.process_group.any(self.run_log.is_stop_requested())
        if stop or (may_save and self.process_group.any(self._is_checkpoint_due())):
            self._save()
        if stop:
            raise Interrupted(
                f"stopped at step {self.run_step} of {self.steps_before + self.total_steps}"
                f"{self._in_stage()}; "
                f"{self.run_log.describe_last_checkpoint()}"
            )

    def _is_checkpoint_due(self) -> bool:
        return time.monotonic() - self.saved_at >= self.config.checkpoint_every

    def _log(self) -> None:
        """Reads the metric logger once and writes a record."""
        means = self._call_checked(self.metric_logger.read)
        self.metric_logger.restart_clock()
        if not means or not self.process_group.is_main:
            return
        weights = {**self.task.weights, **self.task.objective.weights()}
        model_optimizer = self.phase_optimizers[0]
        norm = model_optimizer.gradient_norm
        record: dict[str, Any] = {
            **self._position("train"),
            **{key: value for key, value in means.items() if key != "examples_per_second"},
        }
        if {"rate", "distortion"} <= means.keys():
            record["elbo"] = elbo(-means["distortion"], means["rate"])
        record |= {f"{name}_weight": float(weight) for name, weight in weights.items()}
        if norm is not None:
            record["gradient_norm"] = float(norm)
        record["lr"] = float(model_optimizer.optimizer.param_groups[0]["lr"])
        record["examples_per_second"] = means["examples_per_second"]
        self.run_log.record(record)

    def _call_checked(self, read: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Reads means; turns a term that is not finite into an error that names the checkpoint."""
        try:
            return read()
        except NonFiniteError as error:
            raise self._divergence(str(error), step=error.step, term=error.term) from error

    def _divergence(self, what: str, *, step: int, term: str = "") -> TrainingError:
        """An error about a value that is not finite, as ``describe_divergence`` describes it."""
        description = describe_divergence(
            what,
            self.phase_optimizers,
            self.stage,
            precision=self.task.model.precision,
            epoch=-(-step // self.loader.steps_per_epoch),
            step=step,
            term=term,
        )
        return TrainingError(f"{description}; {self.run_log.describe_last_checkpoint()}")

    def _position(self, split: str) -> dict[str, Any]:
        """The first keys of a record: the position in the run, and in the stage."""
        stage = {"stage": self.stage.name, "stage_step": self.step} if self.stage.name else {}
        return {
            "step": self.run_step,
            "steps": self.steps_before + self.total_steps + self.steps_after,
            "epoch": round(self.run_step / self.loader.steps_per_epoch, 4),
            "split": split,
            **stage,
        }

    def _in_stage(self) -> str:
        return f", stage {self.stage.name!r}" if self.stage.name else ""

    def _validate(self) -> None:
        """Measures the validation split, stores the best weights and writes a record."""
        # the same noise in every process and every epoch
        seed_device(self.device, self.stage.seed, "validation")
        self._broadcast_buffers()
        try:
            metrics = self.validate(self.evaluation_task)
        except (RuntimeError, ValueError) as error:
            raise TrainingError(
                f"validation after step {self.run_step}{self._in_stage()}: {one_line(error)}; "
                f"{self.run_log.describe_last_checkpoint()}"
            ) from error
        self.task.train()
        score = self.selection.score(metrics, self.step)
        if not math.isfinite(score):
            name = next(name for name, value in metrics.items() if not math.isfinite(value))
            what = f"validation {name} is {metrics[name]} after step {self.run_step}"
            raise self._divergence(what, step=self.run_step)
        for phase_optimizer in self.phase_optimizers:
            phase_optimizer.step_plateau_schedulers(self.selection.plateau_loss(metrics, score))
        is_best = self.selection.consider(score, self.step, self.evaluation_task)
        if self.process_group.is_main:
            self.run_log.record({**self._position("validation"), **metrics, "best": is_best})

    def _save(self) -> None:
        """Writes a checkpoint, after checking that metrics and weights are finite."""
        self._call_checked(self.metric_logger.peek)
        for name, weight in self.task.named_parameters():
            if not bool(weight.isfinite().all()):
                what = f"{name} is not finite after step {self.run_step}"
                raise self._divergence(what, step=self.run_step)
        self._broadcast_buffers()
        state = self.state()  # in every process, because it exchanges the metrics
        if self.process_group.is_main:
            self.run_log.checkpoint(self.run_step, state)
        # a launcher may kill all processes when one ends, so all wait until the file is written
        self.process_group.barrier()
        self.saved_at = time.monotonic()
        if self.metric_logger.is_empty:
            self.metric_logger.restart_clock()

    def _broadcast_buffers(self) -> None:
        """Makes statistics of layers equal in all processes, also those of averaged weights."""
        averaged = [] if self.ema is None else [self.evaluation_task]
        self.process_group.broadcast_buffers(self.task, *averaged)

    def load_weights(self, *, best: bool) -> None:
        """Loads weights of the stage into the task, which ends its training.

        Args:
            best: whether to load those that ``train.select`` selects, or the last ones.
        """
        chosen, last = self.selection.best, self.evaluation_task
        task = self.task
        task.model.load_state_dict(chosen["model"] if best else last.model.state_dict())
        task.regularizers.load_state_dict(
            chosen["regularizers"] if best else last.regularizers.state_dict()
        )
        task.objective.load_state_dict(
            chosen["objective"] if best else last.objective.state_dict()
        )
        self.task.eval()

    def state(self) -> TrainerState:
        """The state that the remaining run depends on.

        Random streams and the order of examples follow from the step.
        """
        return {
            "stage": self.stage.index,
            "steps_before": self.steps_before,
            "step": self.step,
            "precision": self.task.model.precision,
            "task": self.task.state_dict(),
            "phase_optimizers": [optimizer.state() for optimizer in self.phase_optimizers],
            "ema": None if self.ema is None else self.ema.state_dict(),
            "best": self.selection.best,
            "validations_without_improvement": self.selection.validations_without_improvement,
            "metric_logger": self.metric_logger.state(),
        }

    def restore(self, state: TrainerState) -> None:
        """Restores a state that ``state`` returned.

        Raises:
            IntegrityError: it belongs to another task or another training configuration.
        """
        self.step, self.selection.best = state["step"], state["best"]
        self.selection.validations_without_improvement = state["validations_without_improvement"]
        saved_phases, saved_ema = state["phase_optimizers"], state["ema"]
        has_same_phases = len(saved_phases) == len(self.phase_optimizers)
        if not has_same_phases or (saved_ema is None) != (self.ema is None):
            raise IntegrityError(
                "checkpoint: its phases or averaged weights do not match the spec"
            )
        self.metric_logger.restore(state["metric_logger"], self.device)
        load_strict(self.task, state["task"], "checkpoint")
        for phase_optimizer, saved_phase in zip(self.phase_optimizers, saved_phases, strict=True):
            phase_optimizer.restore(saved_phase)
        if self.ema is not None and saved_ema is not None:
            load_strict(self.ema, saved_ema, "checkpoint, averaged weights")

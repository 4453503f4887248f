"""The training loop: optimizer steps of each phase, logging, validation and checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vaezoo.data.batch import Batch
from vaezoo.data.loader import Loader
from vaezoo.model.component import is_eager
from vaezoo.model.task import Task
from vaezoo.model.trace import elbo
from vaezoo.nn.loading import load_strict
from vaezoo.spec.spec import Spec
from vaezoo.training.metric_logger import MetricLogger, NonFiniteError
from vaezoo.training.phase_optimizer import Loss, PhaseOptimizer
from vaezoo.training.process_group import ProcessGroup
from vaezoo.training.run_log import RunLog
from vaezoo.training.state import BestWeights, TrainerState
from vaezoo.utils.errors import IntegrityError, Interrupted, TrainingError, one_line
from vaezoo.utils.seeds import seed_device, seeded

Validate = Callable[[Task], dict[str, float]]
"""Measures a task on the validation split: at least ``distortion`` and, if defined, ``bound``."""


class Trainer:
    """Trains a task.

    Args:
        task: on its device.
        loader: the training split.
        spec: defines the training.
        validate: measures a task on the validation split.
        run_log: writes records and checkpoints.
        process_group: the processes that train together.
    """

    def __init__(
        self,
        task: Task,
        loader: Loader,
        spec: Spec,
        *,
        validate: Validate,
        run_log: RunLog,
        process_group: ProcessGroup,
    ) -> None:
        self.task, self.loader, self.spec, self.config = task, loader, spec, spec.train
        self.validate, self.run_log, self.process_group = validate, run_log, process_group
        self.total_steps = self.config.steps or loader.steps_per_epoch * (self.config.epochs or 1)
        self.device = task.model.device
        self.phase_optimizers = self._build_phase_optimizers()
        self.ema: AveragedModel | None = None
        if self.config.ema:
            self.ema = AveragedModel(task, multi_avg_fn=get_ema_multi_avg_fn(self.config.ema))
        self.has_self_tuning = bool(task.self_tuning_parts)
        self.metric_logger = MetricLogger(process_group)
        self.step = 0
        self.best: BestWeights = {"value": -math.inf, "step": 0, "model": {}, "regularizers": {}}
        self.validations_without_improvement = 0
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
                spec=self.spec,
                total_steps=self.total_steps,
                process_group=self.process_group,
            )
            for phase, loss in zip(phases, losses, strict=True)
        ]

    @property
    def evaluation_task(self) -> Task:
        """The task with the weights to evaluate: the averaged ones with ``train.ema``."""
        if self.ema is None:
            return self.task
        assert isinstance(self.ema.module, Task)
        return self.ema.module

    def fit(self) -> None:
        """Trains until the last step or early stopping.

        Raises:
            TrainingError: a term is no longer finite, or a step failed.
            Interrupted: the run was requested to stop; its checkpoint is written.
        """
        self.task.train()
        self.metric_logger.restart_clock()
        with seeded(self.device):
            while self.step < self.total_steps and not self._should_stop_early():
                self._train_epoch()
            self._save()

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
            self._validate(self.step / steps_per_epoch)
            self.metric_logger.restart_clock()
        self._save_or_stop(may_save=True)

    def _is_epoch_end(self, step: int) -> bool:
        """Whether an epoch or the run ends after a step; a record may follow then."""
        return step % self.loader.steps_per_epoch == 0 or step >= self.total_steps

    def _train_step(self, batch: Batch, total_examples: int) -> bool:
        """Takes one optimizer step of every phase.

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
            terms = self._step_phase(phase_optimizer, batch, total_examples, measure_norm)
            if metrics:  # only the terms of the model's phase have no prefix
                terms = {f"{phase_optimizer.name}/{name}": terms[name] for name in terms}
            metrics |= terms
        if self.ema is not None:
            self.ema.update_parameters(self.task)
        self.metric_logger.add(self.step, metrics, total_examples)
        if self.has_self_tuning:
            self.task.update(self.metric_logger.latest())
        self.step += 1
        self._seed_step()
        if is_logged:
            self._log()
        return is_logged

    def _step_phase(
        self,
        phase_optimizer: PhaseOptimizer,
        batch: Batch,
        total_examples: int,
        measure_norm: bool,
    ) -> dict[str, Tensor]:
        try:
            return phase_optimizer.step(batch, total_examples, measure_norm)
        except (RuntimeError, ValueError) as error:  # such as out of memory
            reason = one_line(error)
            if "aot_autograd" in reason:
                reason += "; a component that differentiates within a pass must set eager = True"
            raise TrainingError(
                f"step {self.step + 1}, phase {phase_optimizer.name!r}: {reason}; "
                f"{self.run_log.describe_last_checkpoint()}"
            ) from error

    def _seed_step(self) -> None:
        """Seeds the next step, so that it does not depend on the numbers drawn before it."""
        seed_device(self.device, self.spec.seed, "step", self.step, self.process_group.rank)

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
                f"stopped at step {self.step} of {self.total_steps}; "
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
            "step": self.step,
            "steps": self.total_steps,
            "epoch": round(self.step / self.loader.steps_per_epoch, 4),
            "split": "train",
            **{key: value for key, value in means.items() if key != "examples_per_second"},
        }
        if "rate" in means:
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
            raise TrainingError(f"{error}; {self.run_log.describe_last_checkpoint()}") from error

    def _validate(self, epoch: float) -> None:
        """Measures the validation split, stores the best weights and writes a record."""
        # the same noise in every process and every epoch
        seed_device(self.device, self.spec.seed, "validation")
        self.process_group.broadcast_buffers(self.evaluation_task, self.task)
        try:
            metrics = self.validate(self.evaluation_task)
        except (RuntimeError, ValueError) as error:
            raise TrainingError(
                f"validation after step {self.step}: {one_line(error)}; "
                f"{self.run_log.describe_last_checkpoint()}"
            ) from error
        self.task.train()
        score = self._selection_score(metrics)
        if not math.isfinite(score):
            raise TrainingError(
                f"validation {self.config.select} is {score}; "
                f"{self.run_log.describe_last_checkpoint()}"
            )
        plateau_loss = metrics["distortion"] if self.config.select == "last" else -score
        for phase_optimizer in self.phase_optimizers:
            phase_optimizer.step_plateau_schedulers(plateau_loss)
        is_best = score > self.best["value"]
        self.validations_without_improvement += 1
        if is_best:
            self.validations_without_improvement = 0
            self.best = {
                "value": score,
                "step": self.step,
                "model": _copy_weights(self.evaluation_task.model),
                "regularizers": _copy_weights(self.evaluation_task.regularizers),
            }
        if self.process_group.is_main:
            self.run_log.record(
                {
                    "step": self.step,
                    "steps": self.total_steps,
                    "epoch": round(epoch, 4),
                    "split": "validation",
                    **metrics,
                    "best": is_best,
                }
            )

    def _selection_score(self, metrics: Mapping[str, float]) -> float:
        """The score by which the best weights are selected; larger is better."""
        select = self.config.select
        if select == "last":
            return float(self.step)
        return -metrics["distortion"] if select == "distortion" else metrics[select]

    def _should_stop_early(self) -> bool:
        patience = self.config.early_stopping
        return patience is not None and self.validations_without_improvement >= patience

    def _save(self) -> None:
        """Writes a checkpoint, after checking that metrics and weights are finite."""
        self._call_checked(self.metric_logger.peek)
        for name, weight in self.task.named_parameters():
            if not bool(weight.isfinite().all()):
                raise TrainingError(
                    f"{name} is not finite after step {self.step}; "
                    f"{self.run_log.describe_last_checkpoint()}"
                )
        self.process_group.broadcast_buffers(self.evaluation_task, self.task)
        if self.process_group.is_main:
            self.run_log.checkpoint(self.step, self.state())
        # a launcher may kill all processes when one ends, so all wait until the file is written
        self.process_group.barrier()
        self.saved_at = time.monotonic()
        if self.metric_logger.is_empty:
            self.metric_logger.restart_clock()

    def state(self) -> TrainerState:
        """The state that the remaining run depends on.

        Random streams and the order of examples follow from the step.
        """
        return {
            "step": self.step,
            "precision": self.task.model.precision,
            "task": self.task.state_dict(),
            "phase_optimizers": [optimizer.state() for optimizer in self.phase_optimizers],
            "ema": None if self.ema is None else self.ema.state_dict(),
            "best": self.best,
            "validations_without_improvement": self.validations_without_improvement,
            "metric_logger": self.metric_logger.state(),
        }

    def restore(self, state: TrainerState) -> None:
        """Restores a state that ``state`` returned.

        Raises:
            IntegrityError: it belongs to another task or another training configuration.
        """
        self.step, self.best = state["step"], state["best"]
        self.validations_without_improvement = state["validations_without_improvement"]
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


def _copy_weights(module: nn.Module) -> dict[str, Tensor]:
    """A copy of the parameters and buffers of a module."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

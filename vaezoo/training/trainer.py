"""The training loop: for each phase a move, then what follows from it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vaezoo.data.batch import Batch
from vaezoo.data.loader import Loader
from vaezoo.model.task import Task
from vaezoo.nn.loading import load_strict
from vaezoo.spec.spec import Spec
from vaezoo.training.metric_logger import MetricLogger, NonFiniteError
from vaezoo.training.phase_optimizer import PhaseOptimizer
from vaezoo.training.process_group import ProcessGroup
from vaezoo.utils.errors import IntegrityError, Interrupted, TrainingError
from vaezoo.utils.seeds import seed_device, seeded

Validate = Callable[[Task], dict[str, float]]


class RunLog(Protocol):
    """Where a run is written down; called by the main process only, but for ``stopping`` and ``last_checkpoint``."""

    def record(self, record: Mapping[str, Any]) -> None:
        """One line of metrics."""

    def checkpoint(self, step: int, state: Mapping[str, Any]) -> None:
        """Everything that training needs to go on from ``step``."""

    def last_checkpoint(self) -> str:
        """Names the last checkpoint, for error messages."""

    def stopping(self) -> bool:
        """Whether somebody asked the run to stop."""


class Trainer:
    """Trains a task.

    Args:
        task: on its device.
        loader: the training split.
        spec: how.
        validate: measures a task on the validation split; must hold ``bound``.
        journal: where the run is written down.
        world: the processes that train together.
    """

    def __init__(
        self, task: Task, loader: Loader, spec: Spec, validate: Validate, run_log: RunLog, process_group: ProcessGroup
    ) -> None:
        self.task, self.loader, self.spec, self.config = task, loader, spec, spec.train
        self.validate, self.run_log, self.process_group = validate, run_log, process_group
        per_epoch = loader.steps_per_epoch
        self.total_steps = self.config.steps or per_epoch * (self.config.epochs or 1)
        self.device = task.model.device
        compiled = self.config.compile is True or (self.config.compile == "auto" and self.device.type == "cuda")
        phases = task.phases()
        losses = [phase.loss for phase in phases]
        if compiled:
            losses[0] = torch.compile(task)
        self.phase_optimizers = [
            PhaseOptimizer(phase, loss, task, spec, self.total_steps, process_group)
            for phase, loss in zip(phases, losses, strict=True)
        ]
        self.ema = AveragedModel(task, multi_avg_fn=get_ema_multi_avg_fn(self.config.ema)) if self.config.ema else None
        self.has_self_tuning = bool(task.self_tuning_parts)
        self.metric_logger = MetricLogger(process_group)
        self.step = 0
        self.best: dict[str, Any] = {"value": -math.inf, "step": 0, "model": {}, "regularizers": {}}
        self.validations_without_improvement = 0
        self.saved_at = time.monotonic()

    @property
    def evaluated(self) -> Task:
        """The task whose weights are evaluated and kept: the averaged ones where there are any."""
        if self.ema is None:
            return self.task
        assert isinstance(self.ema.module, Task)
        return self.ema.module

    def fit(self) -> None:
        """Trains to the end.

        Raises:
            TrainingError: a term is no longer finite.
            Interrupted: the run was asked to stop; its checkpoint is written.
        """
        self.task.train()
        self.metric_logger.restart_clock()
        with seeded(self.device):
            while self.step < self.total_steps and not self._should_stop_early():
                self._epoch()
            self._save()

    def _epoch(self) -> None:
        """Trains to the end of the epoch, or of the run, and validates."""
        per_epoch = self.loader.steps_per_epoch
        epoch, start = divmod(self.step, per_epoch)
        self._seed()
        for index, batch in enumerate(self.loader.epoch(epoch, start), start):
            size = min(self.loader.batch_size, len(self.loader) - index * self.loader.batch_size)
            due = self._advance(batch, size)
            if self._epoch_ends(self.step):
                break  # a checkpoint here comes after validation, or a resumed run would leave it out
            if due or self.process_group.size == 1:
                self._save_or_stop(due)
        if (epoch + 1) % self.config.validate_every == 0 or self.step >= self.total_steps:
            self._log()
            self._validate(self.step / per_epoch)
            self.metric_logger.restart_clock()
        self._save_or_stop(due=True)

    def _epoch_ends(self, step: int) -> bool:
        """Whether an epoch, or the run, ends after a step; what was measured is then logged."""
        return step % self.loader.steps_per_epoch == 0 or step >= self.total_steps

    def _advance(self, batch: Batch, size: int) -> bool:
        """One optimizer step of every phase_optimizer; whether a record was due after it."""
        due = (self.step + 1) % self.config.log_every == 0
        told: dict[str, Tensor] = {}
        self.task.set_step(self.step)
        for phase_optimizer in self.phase_optimizers:
            terms = self._move(phase_optimizer, batch, size, due or self._epoch_ends(self.step + 1))
            told |= terms if not told else {f"{phase_optimizer.name}/{name}": value for name, value in terms.items()}
        if self.ema is not None:
            self.ema.update_parameters(self.task)
        self.metric_logger.add(self.step, told, size)
        if self.has_self_tuning:
            self.task.update(self.metric_logger.latest())
        self.step += 1
        self._seed()
        if due:
            self._log()
        return due

    def _move(self, phase_optimizer: PhaseOptimizer, batch: Batch, size: int, due: bool) -> dict[str, Tensor]:
        try:
            return phase_optimizer.move(batch, size, due)
        except (RuntimeError, ValueError) as error:  # out of memory, a batch norm given one example, ...
            reason = " ".join(str(error).split())
            where = f"step {self.step + 1}, phase {phase_optimizer.name!r}"
            raise TrainingError(f"{where}: {reason}; {self.run_log.last_checkpoint()}") from error

    def _seed(self) -> None:
        """Every step has a random stream of its own, whatever was drawn before it."""
        seed_device(self.device, self.spec.seed, "step", self.step, self.process_group.rank)

    def _save_or_stop(self, due: bool) -> None:
        """Stops when asked to; saves then, and when it is time."""
        stop = self.process_group.any(self.run_log.stopping())
        if stop or (due and self.process_group.any(time.monotonic() - self.saved_at >= self.config.checkpoint_every)):
            self._save()
        if stop:
            raise Interrupted(f"stopped at step {self.step} of {self.total_steps}; {self.run_log.last_checkpoint()}")

    def _log(self) -> None:
        """Reads the meter once and writes a record."""
        means = self._finite(self.metric_logger.read)
        self.metric_logger.restart_clock()
        if not means or not self.process_group.is_main:
            return
        moving = {**self.task.weights, **self.task.objective.weights()}
        weights = {f"{name}_weight": float(weight) for name, weight in moving.items()}
        phase_optimizer = self.phase_optimizers[0]
        norm = {} if phase_optimizer.norm is None else {"gradient_norm": float(phase_optimizer.norm)}
        self.run_log.record(
            {
                "step": self.step,
                "steps": self.total_steps,
                "epoch": round(self.step / self.loader.steps_per_epoch, 4),
                "split": "train",
                **{key: value for key, value in means.items() if key != "examples_per_second"},
                **({"elbo": -(means["distortion"] + means["rate"])} if "rate" in means else {}),
                **weights,
                **norm,
                "lr": float(phase_optimizer.optimizer.param_groups[0]["lr"]),
                "examples_per_second": means["examples_per_second"],
            }
        )

    def _finite(self, reading: Callable[[], dict[str, float]]) -> dict[str, float]:
        try:
            return reading()
        except NonFiniteError as error:
            raise TrainingError(f"{error}; {self.run_log.last_checkpoint()}") from error

    def _validate(self, epoch: float) -> None:
        """Measures the validation split, remembers the best weights, and counts validations without progress."""
        seed_device(self.device, self.spec.seed, "validation")  # the same noise in every process and every epoch
        self.process_group.share_buffers(self.evaluated, self.task)
        measured = self.validate(self.evaluated)
        self.task.train()
        value = self._selection_score(measured)
        if not math.isfinite(value):
            raise TrainingError(f"validation {self.config.select} is {value}; {self.run_log.last_checkpoint()}")
        for phase_optimizer in self.phase_optimizers:
            phase_optimizer.validated(measured["distortion"] if self.config.select == "last" else -value)
        better = value > self.best["value"]
        self.validations_without_improvement = 0 if better else self.validations_without_improvement + 1
        if better:
            kept = {"model": _copy(self.evaluated.model), "regularizers": _copy(self.evaluated.regularizers)}
            self.best = {"value": value, "step": self.step, **kept}
        if self.process_group.is_main:
            where = {"step": self.step, "steps": self.total_steps, "epoch": round(epoch, 4), "split": "validation"}
            self.run_log.record({**where, **measured, "best": better})

    def _selection_score(self, measured: Mapping[str, float]) -> float:
        """What the best weights are best at; larger is better."""
        chosen = self.config.select
        if chosen == "last":
            return float(self.step)
        if chosen not in measured:
            reason = f"{chosen!r} is not defined for a posterior without density; say distortion or last"
            raise self.spec.problem("train.select", reason)
        return -measured["distortion"] if chosen == "distortion" else measured[chosen]

    def _should_stop_early(self) -> bool:
        return (
            self.config.early_stopping is not None
            and self.validations_without_improvement >= self.config.early_stopping
        )

    def _save(self) -> None:
        """Writes a checkpoint, once nothing unread could be wrong with it."""
        self._finite(self.metric_logger.peek)
        broken = [name for name, weight in self.task.named_parameters() if not bool(weight.isfinite().all())]
        if broken:
            raise TrainingError(f"{broken[0]} is not finite after step {self.step}; {self.run_log.last_checkpoint()}")
        self.process_group.share_buffers(self.evaluated, self.task)
        if self.process_group.is_main:
            self.run_log.checkpoint(self.step, self.state())
        self.process_group.wait()  # a process that ends before the file is written may take this one with it
        self.saved_at = time.monotonic()
        if self.metric_logger.is_read:
            self.metric_logger.restart_clock()

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on; random streams and the data order follow from the step."""
        return {
            "step": self.step,
            "precision": self.task.model.precision,
            "task": self.task.state_dict(),
            "phase_optimizers": [phase_optimizer.state() for phase_optimizer in self.phase_optimizers],
            "ema": None if self.ema is None else self.ema.state_dict(),
            "best": self.best,
            "validations_without_improvement": self.validations_without_improvement,
            "metric_logger": self.metric_logger.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes back to a state that ``state`` gave.

        Raises:
            IntegrityError: it is not that of this task and its training.
        """
        self.step, self.best, self.validations_without_improvement = (
            state["step"],
            state["best"],
            state["validations_without_improvement"],
        )
        if len(state["phase_optimizers"]) != len(self.phase_optimizers) or (state["ema"] is None) != (self.ema is None):
            raise IntegrityError("checkpoint: it has other players or averaged weights than the spec says")
        self.metric_logger.restore(state["metric_logger"], self.device)
        load_strict(self.task, state["task"], "checkpoint")
        for phase_optimizer, saved in zip(self.phase_optimizers, state["phase_optimizers"], strict=True):
            phase_optimizer.restore(saved)
        if self.ema is not None:
            load_strict(self.ema, state["ema"], "checkpoint, averaged weights")


def _copy(module: nn.Module) -> dict[str, Tensor]:
    """A module's weights as they are now."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

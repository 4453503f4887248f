"""The optimizer, the schedulers and the parameters of one training phase."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from vaezoo.data.batch import Batch
from vaezoo.model.phase import Phase
from vaezoo.model.task import Task
from vaezoo.model.trace import Terms
from vaezoo.spec.schema import TrainSpec
from vaezoo.spec.torch_names import TOTAL_STEP_OPTIONS
from vaezoo.training.batch_parts import part_sizes
from vaezoo.training.optimizers import build_optimizer, build_schedulers, gradient_norm
from vaezoo.training.state import PhaseOptimizerState
from vaezoo.utils.batch_share import BatchShare
from vaezoo.utils.errors import IntegrityError
from vaezoo.utils.process_group import ProcessGroup

Loss = Callable[[Batch], tuple[Tensor, Terms]]


class PhaseOptimizer:
    """Optimises the parameters of one phase and no others.

    Args:
        phase: the phase.
        task: determines the parameters of the phase.
        config: the training options of the stage, for what the phase does not define itself.
        total_steps: the number of training steps of the stage.
        loss: computes the loss of a batch, such as the compiled task; None is ``phase.loss`` of
            the task's model.
        process_group: the processes that train together; None is this process alone.
        fewest_examples: the fewest examples of a part of a batch.
    """

    def __init__(
        self,
        phase: Phase,
        *,
        task: Task,
        config: TrainSpec,
        total_steps: int,
        loss: Loss | None = None,
        process_group: ProcessGroup | None = None,
        fewest_examples: int = 1,
    ) -> None:
        self.phase, self.name = phase, phase.name
        self.fewest_examples = fewest_examples
        self.loss = partial(phase.loss, task.model) if loss is None else loss
        self.process_group = process_group or ProcessGroup()
        optimization = config if phase.optimization is None else phase.optimization
        self.accumulate, self.clip = config.accumulate, optimization.clip
        self.parameters = task.parameters_of(phase)
        trainable = sum(parameter.requires_grad for parameter in task.parameters())
        # restricts the backward pass to this phase's parameters; None if there are no others
        self.backward_inputs = None if trainable == len(self.parameters) else self.parameters
        self.optimizer = build_optimizer(optimization, self.parameters, task)
        moves = max(1, phase.count_moves(total_steps))
        schedulers = build_schedulers(optimization, self.optimizer, moves)
        self.plateau_schedulers = [s for s in schedulers if isinstance(s, ReduceLROnPlateau)]
        self.schedulers = [s for s in schedulers if not isinstance(s, ReduceLROnPlateau)]
        device = self.parameters[0].device.type
        self.on_cpu = device == "cpu"
        self.scaler = torch.amp.GradScaler(device) if task.model.precision == "fp16" else None
        self.gradient_norm: Tensor | None = None
        """The norm of the gradient before clipping, at the last step that measured it."""

    def step(self, batch: Batch, total_examples: int, measure_norm: bool) -> dict[str, Tensor]:
        """Takes the optimizer steps of one training step: one, or ``Phase.moves`` on this batch.

        Args:
            batch: this process's examples.
            total_examples: the number of examples of all processes.
            measure_norm: whether to measure the norm of the gradient even if it is not clipped.

        Returns:
            ``loss`` and each term by name, for each of this process's examples ``[B]``, detached;
            of the last optimizer step.
        """
        for _ in range(self.phase.moves - 1):
            self._move(batch, total_examples, measure_norm=False)
        return self._move(batch, total_examples, measure_norm)

    def _move(self, batch: Batch, total_examples: int, measure_norm: bool) -> dict[str, Tensor]:
        """Takes one optimizer step, with the gradient of the whole batch of all processes."""
        for parameter in self.parameters:  # like Optimizer.zero_grad, without its overhead
            parameter.grad = None
        share: AbstractContextManager[None] = nullcontext()
        if self.accumulate > 1 or self.process_group.size > 1:  # else a pass has the whole batch
            whole = BatchShare(self.process_group, total_examples, batch, self.accumulate)
            share = whole.active()
        with share:
            parts = self._backward_parts(batch, total_examples)
        self.process_group.sum_gradients(self.parameters)
        self._step_optimizer(measure_norm)
        if self.accumulate == 1:
            return parts[0]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _backward_parts(self, batch: Batch, total_examples: int) -> list[dict[str, Tensor]]:
        """Adds the gradient of each part of the batch; returns ``loss`` and terms of each."""
        parts: list[dict[str, Tensor]] = []
        start = 0
        for size in part_sizes(len(batch), self.accumulate, self.fewest_examples):
            part = batch
            if self.accumulate > 1:
                part = batch.select(slice(start, start + size))
                start += size
            loss, terms = self.loss(part)
            if part.weight is not None:
                loss = self._weighted(loss, part.weight)
            mean = loss.mean()
            self._backward(
                mean if len(part) == total_examples else mean * (len(part) / total_examples)
            )
            values = {"loss": loss, **terms}
            parts.append(
                {name: _per_example(name, value, len(part)) for name, value in values.items()}
            )
        return parts

    def _weighted(self, loss: Tensor, weight: Tensor) -> Tensor:
        """The loss of each example times its weight, ``[B]``.

        Raises:
            ValueError: the phase has one loss for all examples.
        """
        if loss.shape != weight.shape:
            raise ValueError(
                f"data.class_weights need a loss for each example, and phase {self.name!r} has "
                "one for all; use class_sampling"
            )
        return loss * weight

    def _backward(self, loss: Tensor) -> None:
        scaled = loss if self.scaler is None else self.scaler.scale(loss)
        torch.autograd.backward(scaled, inputs=self.backward_inputs)

    def _step_optimizer(self, measure_norm: bool) -> None:
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        if self.clip is not None or measure_norm:
            self.gradient_norm = gradient_norm(self.parameters)
        # On the CPU, comparing the norm is cheap and most steps need no scaling. On other devices
        # it would wait for the device.
        if (
            self.clip is not None
            and self.gradient_norm is not None
            and not (self.on_cpu and self.gradient_norm <= self.clip)
        ):
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.clip, self.gradient_norm)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        for scheduler in self.schedulers:
            scheduler.step()

    def step_plateau_schedulers(self, loss: float) -> None:
        """Steps the schedulers that react to a plateau of a validation loss; smaller is better."""
        for scheduler in self.plateau_schedulers:
            scheduler.step(loss)

    def state(self) -> PhaseOptimizerState:
        """The state that the next step depends on, without the parameters."""
        schedulers = (*self.schedulers, *self.plateau_schedulers)
        return {
            "classes": self._class_names(),
            "optimizer": self.optimizer.state_dict(),
            "schedulers": [scheduler.state_dict() for scheduler in schedulers],
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
        }

    def _class_names(self) -> list[str]:
        """The class names of the optimizer, the schedulers and the gradient scaler."""
        parts: list[Any] = [self.optimizer, *self.schedulers, *self.plateau_schedulers]
        if self.scaler is not None:
            parts.append(self.scaler)
        return [type(part).__name__ for part in parts]

    def restore(self, state: PhaseOptimizerState) -> None:
        """Restores a state that ``state`` returned.

        Raises:
            IntegrityError: it belongs to another optimizer or other schedulers.
        """
        if state["classes"] != self._class_names():
            saved_names = " and ".join(state["classes"])
            current_names = " and ".join(self._class_names())
            raise IntegrityError(
                f"checkpoint: phase {self.name!r} was trained with {saved_names}, "
                f"but the spec configures {current_names}"
            )
        options = [group.keys() for group in self.optimizer.param_groups]
        if [group.keys() for group in state["optimizer"]["param_groups"]] != options:
            raise IntegrityError(
                f"checkpoint: phase {self.name!r} was trained with other options of its optimizer"
            )
        self.optimizer.load_state_dict(state["optimizer"])
        schedulers = (*self.schedulers, *self.plateau_schedulers)
        for scheduler, saved in zip(schedulers, state["schedulers"], strict=True):
            for option in TOTAL_STEP_OPTIONS:
                if (planned := saved.get(option)) != getattr(scheduler, option, None):
                    raise IntegrityError(
                        f"checkpoint: phase {self.name!r}: {type(scheduler).__name__} was planned "
                        f"for {planned} steps, so that training cannot become longer or shorter"
                    )
            scheduler.load_state_dict(saved)
        if self.scaler is not None and state["scaler"] is not None:
            self.scaler.load_state_dict(state["scaler"])


def _per_example(name: str, value: Tensor, examples: int) -> Tensor:
    """A term for each example, ``[examples]``, detached; a scalar is expanded.

    Raises:
        ValueError: the term is neither a scalar nor ``[examples]``.
    """
    if value.shape == (examples,):
        return value.detach()
    if value.dim():
        raise ValueError(
            f"{name} has shape {tuple(value.shape)}, expected ({examples},), one for each "
            "example, or ()"
        )
    # a copy, because the scalar may be a buffer that changes before it is logged
    return value.detach().clone().expand(examples)  # [examples]

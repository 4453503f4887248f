"""One phase of training with the weights, optimizer and schedules that belong to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from vaezoo.data.batch import Batch
from vaezoo.model.objectives import Phase
from vaezoo.model.task import Task
from vaezoo.model.trace import Terms
from vaezoo.spec.spec import Spec
from vaezoo.training.optimizers import build_optimizer, build_schedulers, gradient_norm
from vaezoo.training.process_group import ProcessGroup
from vaezoo.utils.errors import IntegrityError

Loss = Callable[[Batch], tuple[Tensor, Terms]]


class PhaseOptimizer:
    """Moves the weights of one phase, and no others.

    Args:
        phase: the loss and whose weights it moves.
        loss: the phase's loss, compiled or not.
        task: decides which weights are the phase's.
        spec: optimizer, schedule, clipping and accumulation.
        total: the steps of the whole run.
        world: the processes that train together.
    """

    def __init__(
        self, phase: Phase, loss: Loss, task: Task, spec: Spec, total: int, process_group: ProcessGroup
    ) -> None:
        self.name, self.loss, self.process_group = phase.name, loss, process_group
        self.parts, self.clip = spec.train.accumulate, spec.train.clip
        self.parameters = task.parameters_of(phase)
        weights = sum(parameter.requires_grad for parameter in task.parameters())
        self.inputs = None if weights == len(self.parameters) else self.parameters
        self.optimizer = build_optimizer(spec, self.parameters)
        schedulers = build_schedulers(spec, self.optimizer, total)
        self.plateau = [s for s in schedulers if isinstance(s, ReduceLROnPlateau)]
        self.schedulers = [s for s in schedulers if not isinstance(s, ReduceLROnPlateau)]
        device = self.parameters[0].device.type
        self.on_cpu = device == "cpu"
        self.scaler = torch.amp.GradScaler(device) if task.model.precision == "fp16" else None
        self.norm: Tensor | None = None

    def move(self, batch: Batch, total: int, want_norm: bool) -> dict[str, Tensor]:
        """One optimizer step.

        Args:
            batch: this process's examples.
            total: how many examples all processes have together.
            want_norm: whether to measure the gradient's norm even where it is not clipped.

        Returns:
            ``loss`` and each term by name, for each of this process's examples, ``[B]``, without gradients.
        """
        for parameter in self.parameters:  # what Optimizer.zero_grad does, without its bookkeeping
            parameter.grad = None
        measured: list[dict[str, Tensor]] = []
        size = -(-len(batch) // self.parts)
        for start in range(0, len(batch), size):
            part = batch if self.parts == 1 else batch.part(start, min(start + size, len(batch)))
            loss, terms = self.loss(part)
            mean = loss.mean()
            self._backward(mean if len(part) == total else mean * (len(part) / total))
            told = {"loss": loss, **terms}
            measured.append({name: _of_each(name, value, len(part)) for name, value in told.items()})
        self.process_group.sum_gradients(self.parameters)
        self._step(want_norm)
        if self.parts == 1:
            return measured[0]
        return {name: torch.cat([told[name] for told in measured]) for name in measured[0]}

    def _backward(self, loss: Tensor) -> None:
        scaled = loss if self.scaler is None else self.scaler.scale(loss)
        torch.autograd.backward(scaled, inputs=self.inputs)  # no gradient reaches another player's weights

    def _step(self, want_norm: bool) -> None:
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        if self.clip is not None or want_norm:
            self.norm = gradient_norm(self.parameters)
        if self.clip is not None and self.norm is not None and not (self.on_cpu and self.norm <= self.clip):
            # on the CPU reading the norm is free, and most steps need no scaling; elsewhere it would be a wait
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.clip, self.norm)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        for scheduler in self.schedulers:
            scheduler.step()

    def validated(self, loss: float) -> None:
        """Tells schedulers that wait for a plateau how validation went; smaller is better."""
        for scheduler in self.plateau:
            scheduler.step(loss)

    def state(self) -> dict[str, Any]:
        """Everything but the weights that the next step depends on."""
        return {
            "classes": self._classes(),
            "optimizer": self.optimizer.state_dict(),
            "schedulers": [scheduler.state_dict() for scheduler in (*self.schedulers, *self.plateau)],
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
        }

    def _classes(self) -> list[str]:
        """What the state belongs to."""
        parts = (self.optimizer, *self.schedulers, *self.plateau, *([self.scaler] if self.scaler else []))
        return [type(part).__name__ for part in parts]

    def restore(self, state: dict[str, Any]) -> None:
        """Takes up a state that ``state`` gave.

        Raises:
            IntegrityError: it is that of other optimizers or schedulers.
        """
        if state["classes"] != self._classes():
            found, wanted = " and ".join(state["classes"]), " and ".join(self._classes())
            raise IntegrityError(f"checkpoint: player {self.name!r} was trained by {found}, the spec says {wanted}")
        options = [group.keys() for group in self.optimizer.param_groups]
        if [group.keys() for group in state["optimizer"]["param_groups"]] != options:
            raise IntegrityError(f"checkpoint: player {self.name!r} had other options of its optimizer")
        self.optimizer.load_state_dict(state["optimizer"])
        for scheduler, saved in zip((*self.schedulers, *self.plateau), state["schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])


def _of_each(name: str, value: Tensor, examples: int) -> Tensor:
    """A term for each example, ``[examples]``, whether it came so or as a scalar of the whole batch.

    Raises:
        ValueError: it has another shape.
    """
    if value.shape == (examples,):
        return value.detach()
    if value.dim():
        raise ValueError(f"{name} has shape {tuple(value.shape)}, expected ({examples},), one for each example, or ()")
    return value.detach().clone().expand(examples)  # a buffer that is logged may move before it is read

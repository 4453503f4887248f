"""The base class of the components that take part in passes through a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from vaezoo.data.batch import Batch
from vaezoo.model.phase import Phase
from vaezoo.model.protocol import GenerativeModel
from vaezoo.utils.memo import memoised
from vaezoo.utils.process_group import ProcessGroup


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """A training step whose phases have all been stepped.

    Attributes:
        step: the step that was taken, counted from 0 in each stage.
        model: the model.
        processes: the processes that train together. ``sum``, ``mean`` and ``broadcast`` exchange
            tensors; every process must call them in the same order.
        read_terms: computes ``terms``.
    """

    step: int
    model: GenerativeModel
    processes: ProcessGroup
    read_terms: Callable[[], Mapping[str, Tensor]]

    @memoised
    def terms(self) -> Mapping[str, Tensor]:
        """The means of ``loss`` and of every logged term over the batch of all processes.

        They are scalars on the device of the model; reading them as Python numbers would wait for
        the device.
        """
        return self.read_terms()


class Component(nn.Module):
    """A part of a model or of its training objective.

    The composer passes its wiring as one positional-only argument; its keyword-only parameters
    are its options in a spec. A component is passed the model in every pass and does not keep it,
    so that averaged weights, export and several processes need no special case.

    Components that are themselves options of a component are its submodules, also in an
    ``nn.ModuleList`` or ``nn.ModuleDict``. Buffers change in passes with gradients in training
    only (``if self.training and torch.is_grad_enabled()``), because other phases make passes too.
    """

    eager: ClassVar[bool] = False
    """Whether it calls ``torch.autograd.grad`` within a pass. A model or a task with such a
    component is not compiled, and is evaluated under ``torch.no_grad`` and not under
    ``torch.inference_mode``: the component enables gradients where it needs them."""

    pools_examples: bool = False
    """Whether a loss or a density that it computes for one example depends on the others of the
    batch. The composer then refuses ``train.accumulate`` above 1, which would compute it from
    parts of the batch; and the likelihood of data that may lack parts. Where several processes
    share a batch, it computes the value of the whole batch with ``vaezoo.BatchShare``."""

    initial_examples: int = 0
    """How many training examples ``initialise`` needs where a batch may have fewer, such as one
    for each of several centres. It is at most the number of training examples."""

    def initialise(self, model: GenerativeModel, batch: Batch) -> None:
        """Sets weights and buffers from data, before the first step of each stage that trains it.

        It is called in the main process only, without gradients, and the result is copied to all
        others.

        Args:
            model: the model.
            batch: the first batch of the stage, with the examples of all processes; longer if a
                component has more ``initial_examples``.
        """

    def after_step(self, result: StepResult) -> None:
        """Changes weights and buffers after a training step, before weights are averaged.

        It is called once per training step, in every process, without gradients, whatever
        ``train.accumulate`` is. What the processes compute from different examples must be
        exchanged by ``result.processes``, so that they stay equal.

        Args:
            result: the step.
        """

    def phases(self) -> Sequence[Phase]:
        """Optimizer steps of its own, such as a critic's, which follow the model's.

        The loss of such a phase must not train the rest of the model. Take latents from
        ``model.infer_detached``, which infers without gradients, skips the decoder and changes no
        buffer; a loss that needs other passes makes them within ``model.detached()``.
        """
        return ()


def is_eager(module: nn.Module) -> bool:
    """Whether a module contains a component that differentiates within a pass."""
    return any(isinstance(part, Component) and part.eager for part in module.modules())


def overrides(part: Component, method: str) -> bool:
    """Whether a component defines a method that ``Component`` has only as a default."""
    return getattr(type(part), method) is not getattr(Component, method)

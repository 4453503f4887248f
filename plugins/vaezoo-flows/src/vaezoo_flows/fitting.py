"""Training a density on codes after the model is trained: a loop that repeats to the last bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import vaezoo

_BATCH = 256
_LEAST_SCALE = 1e-4
"""The smallest scale that a dimension of codes is divided by."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How long and how fast a density is fitted.

    Attributes:
        steps: the number of training steps of Adam, each with 256 codes.
        lr: the first learning rate, which falls to 0 along a cosine.
        seed: of the order of codes and of the noise.
    """

    steps: int
    lr: float
    seed: int

    def __call__(
        self,
        module: nn.Module,
        loss: Callable[[Tensor, Tensor | None], Tensor],
        codes: Tensor,
        context: Tensor | None,
    ) -> None:
        """Minimises a loss over codes.

        Args:
            module: whose weights are trained.
            loss: from a batch of codes ``[b, D]`` and contexts ``[b, E]`` to nats per code.
            codes: ``[n, D]``.
            context: ``[n, E]``, or None.

        Raises:
            ValueError: the loss is no longer finite.
        """
        optimizer = torch.optim.Adam(module.parameters(), lr=self.lr)
        module.train()
        with vaezoo.seeded(codes.device, self.seed, "fit"), torch.enable_grad():
            order = torch.empty(0, dtype=torch.long)
            for step in range(self.steps):
                if len(order) < min(_BATCH, len(codes)):
                    order = torch.randperm(len(codes))
                rows, order = order[:_BATCH].to(codes.device), order[_BATCH:]
                for group in optimizer.param_groups:
                    group["lr"] = self.lr * (1 + math.cos(math.pi * step / self.steps)) / 2
                value = loss(codes[rows], None if context is None else context[rows]).mean()
                if not bool(value.isfinite()):
                    raise ValueError(f"the loss is {value.item()} at step {step}; lower fit_lr")
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
        module.eval()


def standardise(codes: Tensor, shift: Tensor, scale: Tensor) -> None:
    """Sets ``shift`` and ``scale``, ``[D]``, to the mean and the spread of codes ``[n, D]``.

    Raises:
        ValueError: the codes are fewer than two, or not finite.
    """
    if len(codes) < 2:
        raise ValueError(f"needs at least 2 codes, not {len(codes)}")
    if not bool(codes.isfinite().all()):
        raise ValueError("the codes are not finite, so no density can be fitted to them")
    shift.copy_(codes.mean(0))
    scale.copy_(codes.std(0).clamp_min(_LEAST_SCALE))

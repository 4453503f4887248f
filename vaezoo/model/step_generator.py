"""Generates sequences step by step and feeds each sampled step back to the model."""

from __future__ import annotations

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.distributions import draw
from vaezoo.model.latent_variable_model import LatentVariableModel


class StepGenerator:
    """Samples the data of each step from its code, stores it and returns its features.

    Args:
        model: its likelihood samples the data and its encoder computes the features.
        context: the contexts of the examples ``[n, ...]``, or None.
        temperature: of p(x|z); 0 takes the likeliest value of each step.
    """

    def __init__(
        self, model: LatentVariableModel, context: Tensor | None, temperature: float
    ) -> None:
        self.model, self.context, self.temperature = model, context, temperature
        self.steps: list[Tensor] = []

    def __call__(self, code: Tensor) -> tuple[Tensor, ...]:
        """From the code of one step ``[n, 1, ...]`` to the features of the data sampled for it."""
        x = self.sample(code)
        self.steps.append(x)
        return tuple(feature.float() for feature in self.model.features(Batch(x), self.context))

    def sample(self, code: Tensor) -> Tensor:
        """Samples data ``[n, T, ...]`` for codes ``[n, T, ...]``."""
        return draw(self.model.likelihood_of(code, self.context), self.temperature)

    def sequence(self, code: Tensor) -> Tensor:
        """The generated sequences, ``[n, T, ...]``.

        Args:
            code: the codes of all steps; used only if the latents did not request any features.
        """
        return torch.cat(self.steps, 1) if self.steps else self.sample(code)

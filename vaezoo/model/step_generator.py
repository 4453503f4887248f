"""The loop in which a model hears what it has just drawn."""

from __future__ import annotations

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.distributions import draw
from vaezoo.model.latent_variable_model import LatentVariableModel


class StepGenerator:
    """Draws the data of each step's code and gives back its features; keeps what it drew.

    Args:
        model: whose likelihood draws and whose encoder self_tuning.
        context: of the examples, or None.
        temperature: of the draws; 0 takes the likeliest value of each step.
    """

    def __init__(self, model: LatentVariableModel, context: Tensor | None, temperature: float) -> None:
        self.model, self.context, self.temperature = model, context, temperature
        self.steps: list[Tensor] = []

    def __call__(self, code: Tensor) -> tuple[Tensor, ...]:
        """From the code of one step ``[n, 1, ...]`` to the features of the data drawn for it."""
        x = self.data(code)
        self.steps.append(x)
        return tuple(feature.float() for feature in self.model.features(Batch(x), self.context))

    def data(self, code: Tensor) -> Tensor:
        """Data drawn for codes ``[n, T, ...]``."""
        return draw(self.model.likelihood_of(code, self.context), self.temperature)

    def result(self, code: Tensor) -> Tensor:
        """What was drawn step by step; or, where latents asked for nothing, data for all of the code."""
        return torch.cat(self.steps, 1) if self.steps else self.data(code)

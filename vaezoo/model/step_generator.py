"""Generates data from codes: at once, or step by step with each sampled step fed back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.distributions import draw
from vaezoo.model.passes import Generation, Inference


class StepGenerator:
    """Samples the data of each step from its code, stores it and returns its features.

    Args:
        generation: the model, whose likelihood samples the data and whose encoder computes the
            features, with the contexts and extras of the examples.
        temperature: of p(x|z); 0 takes the likeliest value of each step.
    """

    def __init__(self, generation: Generation, temperature: float) -> None:
        self.model, self.context = generation.model, generation.context
        self.extras, self.temperature = generation.extras, temperature
        self.steps: list[Tensor] = []

    def __call__(self, code: Tensor) -> tuple[Tensor, ...]:
        """From the code of one step ``[n, 1, ...]`` to the features of the data sampled for it."""
        x = self.sample(code)
        self.steps.append(x)
        return tuple(feature.float() for feature in self.model.features(Batch(x), self.context))

    def sample(self, code: Tensor) -> Tensor:
        """Samples data ``[n, T, ...]`` for codes ``[n, T, ...]``."""
        return draw(self.model.likelihood_of(code, self.context, self.extras), self.temperature)

    def sequence(self, code: Tensor) -> Tensor:
        """The generated sequences, ``[n, T, ...]``.

        Args:
            code: the codes of all steps; used only if the latents did not request any features.
        """
        return torch.cat(self.steps, 1) if self.steps else self.sample(code)


def generate_data(
    make_code: Callable[[Generation], Tensor],
    generation: Generation,
    *,
    mean: bool,
    steps: int | None,
    temperature: float,
    prefix: Tensor | None = None,
) -> Any:
    """The data for codes of the latents, ``[n, *shape]``; step by step if these are stepwise.

    For data of several parts it is a mapping.

    Args:
        make_code: makes the codes.
        generation: the number of codes and their contexts.
        mean: whether to return the mean of p(x|z); the steps of sequences are always sampled.
        steps: the number of steps of a sequence; None takes the longest in the data.
        temperature: of p(x|z).
        prefix: the steps to continue, ``[n, T, ...]``, or None.

    Raises:
        ValueError: ``steps`` or ``prefix`` is given, but the latents are not stepwise.
    """
    model, context = generation.model, generation.context
    if not model.latents.stepwise:
        if steps is not None or prefix is not None:
            raise ValueError(
                "steps and prefix are only for models that generate sequences step by step"
            )
        px = model.likelihood_of(make_code(generation), context, generation.extras)
        return px.mean if mean and temperature in (0, 1) else draw(px, temperature)
    if steps is not None and steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    generator = StepGenerator(generation, temperature)
    inferred_prefix = None
    if prefix is not None:
        batch = Batch(prefix)
        features = model.features(batch, context)
        inferred_prefix = Inference(
            model=model,
            batch=batch,
            features=features,
            context=context,
            prior_context=generation.prior_context,
            sampler=generation.sampler,
        )
    stepwise = replace(
        generation,
        steps=model.data.shape[0] if steps is None else steps,
        prefix=inferred_prefix,
        next_features=generator,
    )
    return generator.sequence(make_code(stepwise))

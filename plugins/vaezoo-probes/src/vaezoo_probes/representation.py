"""Posterior means of labelled examples as numpy arrays.

Shapes: n examples, D scalars of all latent variables, I scalars of an example.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import vaezoo

CHEAP_INPUTS = 2 * 10**7
"""The most scalars of labelled training examples that a probe on the data itself is fitted to."""


@dataclass(frozen=True)
class Labelled:
    """The labelled examples of a split.

    Attributes:
        means: the posterior means, float64 ``[n, D]``.
        labels: int64 ``[n]``.
        inputs: the examples themselves, flattened, float32 ``[n, I]``; None if they are no tensors
            of one shape, or too many for what they are needed for.
        unlabelled: how many other examples were left out.
    """

    means: np.ndarray
    labels: np.ndarray
    inputs: np.ndarray | None
    unlabelled: int

    def __len__(self) -> int:
        return len(self.labels)


def represent(model: vaezoo.Model, data: vaezoo.Loader, most_inputs: int = 0) -> Labelled:
    """The posterior means of all examples of a split whose label is known.

    Those of several latent variables, of maps and of sequences are flattened and concatenated, as
    by ``Model.encode``.

    Args:
        model: the model.
        data: the split.
        most_inputs: how many scalars of examples to keep at most.

    Raises:
        NotImplementedError: no label is known, or a latent variable is a symbol.
        NotFiniteError: a mean is NaN or infinite.
    """
    if symbols := [space.name for space in model.spaces if space.support == "symbols"]:
        raise NotImplementedError(f"latent variable {symbols[0]!r} is a symbol, which has no mean")
    labels = data.labels()
    if labels is None or not bool((labels >= 0).any()):
        raise NotImplementedError("needs examples with labels")
    known = labels >= 0
    size = model.data.dimensions * int(known.sum())
    keep = not (model.data.parts or model.data.is_sequence) and size <= most_inputs
    means, inputs = [], []
    for batch in data.ordered(model.batch_size()):
        means.append(model.posterior_mean(batch).cpu())
        if keep:
            inputs.append(batch.x.flatten(1).float().cpu())
    all_means = vaezoo.require_finite(torch.cat(means), "the posterior mean of example")
    return Labelled(
        all_means[known].double().numpy(),
        labels[known].numpy(),
        _select(inputs, known),
        int((~known).sum()),
    )


def _select(inputs: list[Tensor], known: Tensor) -> np.ndarray | None:
    """The inputs of some examples; None if none were kept or they have no single shape."""
    if len({part.shape[1] for part in inputs}) != 1:
        return None
    return torch.cat(inputs)[known].numpy()


def note_if_told(model: vaezoo.Model) -> str:
    """A note that the posterior means of a model were computed from the labels themselves."""
    by_prior_context = model.into_prior and model.latents.conditional
    told = model.into_encoder is not None or by_prior_context
    if model.conditioner is None or not model.data.classes or not told:
        return ""
    return "the posterior q(z|x, y) is given the label that is looked for in its mean"


def unlabelled_detail(*splits: Labelled) -> dict[str, float]:
    """How many examples of splits were left out for lack of a label; empty if none was."""
    count = sum(split.unlabelled for split in splits)
    return {"unlabelled": float(count)} if count else {}


def fresh_rng() -> np.random.Generator:
    """A generator seeded from torch, which the evaluation seeds for each metric."""
    return np.random.default_rng(int(torch.randint(2**31, ())))

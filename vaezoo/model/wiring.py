"""The facts about a model that the composer passes to regularizers."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from vaezoo.data.dataspec import DataSpec


@dataclass(frozen=True)
class TaskWiring:
    """Describes the model to the regularizers composed with it.

    Attributes:
        data: describes one example.
        latent_dim: the number D of latent dimensions.
        context_dim: the number of scalars in one example's context; 0 without a conditioner.
        train_size: the number of training examples.
        site_dims: the number of scalars of each latent variable, in the order of generation; for
            a sequence of latents, of one step.
    """

    data: DataSpec
    _: KW_ONLY
    latent_dim: int
    context_dim: int
    train_size: int
    site_dims: tuple[int, ...]

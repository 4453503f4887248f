"""What the composer tells regularizers about the model."""

from __future__ import annotations

from dataclasses import dataclass

from vaezoo.data.dataspec import DataSpec


@dataclass(frozen=True)
class TaskWiring:
    """What a regularizer may know about the model it is composed into.

    Attributes:
        data: one example.
        latent_dim: the dimensions D of a latent vector.
        context_dim: how many numbers the conditioner gives for an example; 0 where there is none.
        train_size: the number of training examples.
        site_dims: how many numbers each latent variable of an example has, in the order of generation.
    """

    data: DataSpec
    latent_dim: int
    context_dim: int
    train_size: int
    site_dims: tuple[int, ...]

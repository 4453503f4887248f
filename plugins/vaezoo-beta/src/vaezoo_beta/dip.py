"""Disentangled inferred priors: the covariance of the aggregate posterior is drawn to the identity."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor

import vaezoo
from vaezoo_beta.kl import by_dimension, one_vector

Weight = Annotated[float, Ge(0)]


class Dip(vaezoo.Regularizer):
    """λ_od Σ_{i≠j} C_ij² + λ_d Σ_i (C_ii - 1)², C a covariance over the batch (Kumar et al. 2018, eq. 6 and 7).

    It stands beside ``kl``. C is estimated, unbiased, from the examples of one forward pass of each process.

    Args:
        kind: what C is: ``i``, the covariance of the posterior means, or ``ii``, the covariance of z itself, which is
            that of the means plus the mean of the posterior variances.
        lambda_od: weight of the entries off the diagonal.
        lambda_d: weight of the diagonal; by default 10 times ``lambda_od`` for kind ``i``, and equal to it for ``ii``.
        weight: of both together.
    """

    def __init__(
        self,
        wiring: vaezoo.TaskWiring,
        /,
        *,
        kind: Literal["i", "ii"] = "i",
        lambda_od: Weight = 10.0,
        lambda_d: Weight | None = None,
        weight: float | vaezoo.Schedule = 1.0,
    ) -> None:
        super().__init__(weight)
        self.kind, self.lambda_od = kind, lambda_od
        self.lambda_d = lambda_od * (10 if kind == "i" else 1) if lambda_d is None else lambda_d

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """The penalty, the same for each example, ``[B]``.

        Raises:
            ValueError: there is not one latent vector; or for kind ``ii``, its dimensions are not independent given x.
        """
        covariance = self.covariance(one_vector(trace))
        diagonal = covariance.diagonal()
        off_diagonal = covariance.square().sum() - diagonal.square().sum()
        penalty = self.lambda_od * off_diagonal + self.lambda_d * (diagonal - 1).square().sum()
        return penalty.expand(len(trace.batch))

    def covariance(self, site: vaezoo.Site) -> Tensor:
        """C over the batch, ``[D, D]``."""
        covariance = batch_covariance(site.q.mean)
        if self.kind == "i":
            return covariance
        q = by_dimension(site.q)
        if q is None:
            raise ValueError(f"kind: ii needs a diagonal posterior (diagonal-normal); {type(site.q).__name__} is none")
        return covariance + torch.diag(q.variance.mean(0))


def batch_covariance(values: Tensor) -> Tensor:
    """The unbiased covariance ``[D, D]`` of vectors ``[B, D]``; that of a single one is 0."""
    centred = values - values.mean(0)
    return centred.T @ centred / max(1, len(values) - 1)

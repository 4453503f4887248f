"""DIP-VAE (disentangled inferred prior): a penalty on the aggregate posterior's covariance."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from annotated_types import Ge
from torch import Tensor

import vaezoo
from vaezoo_beta.kl import marginals, posterior_name, single_site

Weight = Annotated[float, Ge(0)]


class Dip(vaezoo.Regularizer):
    """λ_od Σ_{i≠j} C_ij² + λ_d Σ_i (C_ii - 1)², where C is a covariance over the batch.

    From Kumar et al. 2018, eq. 6 and 7. Use it together with ``kl``. The estimate of C is
    unbiased; it is computed from the examples of a batch.

    Args:
        kind: how C is defined: ``i``, the covariance of the posterior means; or ``ii``, the
            covariance of z, which is that of the means plus the mean of the posterior variances.
        lambda_od: the weight of the off-diagonal entries.
        lambda_d: the weight of the diagonal entries; by default 10 times ``lambda_od`` for kind
            ``i``, and equal to it for ``ii``.
        weight: the weight of the sum of both terms.
    """

    pools_examples = True

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
            ValueError: the model has more than one latent vector; or for kind ``ii``, its
                dimensions are not independent given x.
        """
        covariance = self.covariance(single_site(trace))
        diagonal = covariance.diagonal()
        off_diagonal = covariance.square().sum() - diagonal.square().sum()
        penalty = self.lambda_od * off_diagonal + self.lambda_d * (diagonal - 1).square().sum()
        return penalty.expand(len(trace.batch))  # [B]

    def covariance(self, site: vaezoo.Site) -> Tensor:
        """C over the batch, ``[D, D]``.

        Raises:
            ValueError: the mean of the posterior is not known; or for kind ``ii``, its dimensions
                are not independent given x.
        """
        if site.log_q is not None:
            raise ValueError(f"the mean of the posterior {posterior_name(site)} is not known")
        share = vaezoo.BatchShare.current()
        covariance = batch_covariance(share.gather(site.q.mean))
        if self.kind == "i":
            return covariance
        q = marginals(site.q)
        if q is None:
            needed = "kind: ii needs a diagonal posterior (diagonal-normal)"
            raise ValueError(f"{needed}; {posterior_name(site)} is not diagonal")
        return covariance + torch.diag(share.mean(q.variance.mean(0)))


def batch_covariance(values: Tensor) -> Tensor:
    """The unbiased covariance ``[D, D]`` of vectors ``[B, D]``; 0 for a single vector."""
    centred = values - values.mean(0)
    return centred.T @ centred / max(1, len(values) - 1)  # [D, D]

"""The decomposed KL of beta-TCVAE: mutual information, total correlation, dimension-wise KL.

Shapes: K samples, M examples of a batch, B of them in this process (M in a single process), D
latent dimensions, N training examples.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, NamedTuple

import torch
from annotated_types import Ge
from torch import Tensor

import vaezoo
from vaezoo_beta.kl import posterior_name, single_site, site_marginals

Estimator = Literal["stratified", "weighted"]
Weight = Annotated[float, Ge(0)]


class Decomposition(NamedTuple):
    """The terms of the KL of each example in nats, ``[B]`` each.

    Their sum is log q(z|x) - log p(z) at the samples.

    Attributes:
        index_code: log q(z|x) - log q(z), whose mean is the mutual information of example and z.
        total_correlation: log q(z) - Σ_d log q(z_d).
        dimension_kl: Σ_d log q(z_d) - log p(z).
    """

    index_code: Tensor
    total_correlation: Tensor
    dimension_kl: Tensor


class BetaTC(vaezoo.Regularizer):
    """α I(x; z) + β TC(z) + γ Σ_d KL(q(z_d) || p(z_d)) (Chen et al. 2018, eq. 4).

    As the terms add up to the KL, this is computed as γ KL + (α - γ) I + (β - γ) TC. That has the
    same expectation but less noise, as the KL has a closed form; with α = β = γ = 1 it is exactly
    the KL.

    q(z) is estimated from the examples of a batch. That takes memory for M² D numbers, or M B D in
    each of several processes.

    Args:
        alpha: the weight of the mutual information of example and z.
        beta: the weight of the total correlation.
        gamma: the weight of the dimension-wise KL.
        estimator: the estimator of q(z): ``stratified``, which is unbiased, or ``weighted``, the
            paper's default.
        weight: the weight of the sum.
    """

    penalizes_rate = True
    pools_examples = True

    def __init__(
        self,
        wiring: vaezoo.TaskWiring,
        /,
        *,
        alpha: Weight = 1.0,
        beta: Weight = 6.0,
        gamma: Weight = 1.0,
        estimator: Estimator = "stratified",
        weight: float | vaezoo.Schedule = 1.0,
    ) -> None:
        super().__init__(weight)
        self.alpha, self.beta, self.gamma = alpha, beta, gamma
        self.train_size, self.estimator = wiring.train_size, estimator

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """The weighted sum for each example in nats, ``[B]``.

        Raises:
            ValueError: the model has more than one latent vector, or its dimensions are not
                independent given x.
        """
        terms = decompose(single_site(trace), self.train_size, self.estimator)
        extra_information = (self.alpha - self.gamma) * terms.index_code
        extra_correlation = (self.beta - self.gamma) * terms.total_correlation
        return self.gamma * trace.mean_rate + (extra_information + extra_correlation)


def decompose(
    site: vaezoo.Site, train_size: int, estimator: Estimator = "stratified"
) -> Decomposition:
    """The terms of the KL, with q(z) estimated from the batch (Chen et al. 2018, appendix C).

    Args:
        site: samples ``z`` ``[K, B, D]``, and their posterior of batch shape ``[B]`` and event
            shape ``[D]``.
        train_size: N, the number of training examples.
        estimator: see ``log_weights``.

    Returns:
        Each term in nats, averaged over K samples, ``[B]``.

    Raises:
        ValueError: the posterior's dimensions are not independent given x.
    """
    q = site_marginals(site)
    if q is None:
        needed = "total correlation needs a diagonal posterior (diagonal-normal)"
        raise ValueError(f"{needed}; {posterior_name(site)} is not diagonal")
    z, share = site.z, vaezoo.BatchShare.current()
    # each process has all z_i [K, M, D], and the x_j of its own examples
    log_q_pairs = q.log_prob(share.gather(z, 1).unsqueeze(2))  # [K, M, B, D]: log q(z_i,d | x_j)
    like = log_q_pairs[0, :, :1, 0]
    weights = log_weights(like.expand(-1, len(like)), train_size, estimator)[:, share.own]
    conditional = site.q.log_prob(z)  # [K, B]: log q(z_i | x_i)
    joint = share.logsumexp((log_q_pairs.sum(-1) + weights).logsumexp(2))  # [K, M]: log q(z_i)
    joint = joint[:, share.own]  # [K, B]
    product = share.logsumexp((log_q_pairs + weights[..., None]).logsumexp(2))  # log q(z_i,d)
    product = product[:, share.own].sum(-1)  # [K, B]: Σ_d log q(z_i,d)
    terms = (conditional - joint, joint - product, product - site.p.log_prob(z))
    return Decomposition(*(term.mean(0) for term in terms))


def log_weights(like: Tensor, train_size: int, estimator: Estimator) -> Tensor:
    """The log-weights log w_ij, ``[M, M]``, of the estimate of q(z_i).

    Σ_j w_ij q(z_i | x_j) estimates q(z_i) = 1/N Σ_n q(z_i | x_n).

    ``stratified``: w_ii = 1/N and w_ij = (N - 1) / (N (M - 1)). Example i is always in its own
    batch, and each other example with probability (M - 1) / (N - 1), so the mean over batches is
    exactly q(z_i). The paper's appendix C.2 gives one of the other examples the weight (N - M + 1)
    / (N (M - 1)) and each of the remaining ones 1 / (M - 1). Their sum is the same, and every
    order of the other examples is equally probable, so this estimator is the mean of the paper's
    over the order of the batch: it is also unbiased, and has less noise. With M = N it is exact.

    The paper's code, and implementations derived from it, write 1/N with ``view(-1)[::M]``, which
    sets column 0; the diagonal has a stride of M + 1. Then q(z_i | x_i), by far the largest term,
    is weighted about N / (M - 1) times too much.

    ``weighted``: 1 / (N M) for all pairs (appendix C.1). It treats example i as if it were in the
    batch by chance, and is biased. With M = N it is q(z_i) / N: its gradients are then correct,
    but its terms are off by multiples of log N.

    A batch of one example has no information on the others; it is treated as the full data set.

    Args:
        like: ``[M, M]``; the result has its device and dtype.
        train_size: N, the number of training examples.
        estimator: ``stratified`` or ``weighted``.
    """
    batch_size = len(like)
    if batch_size == 1:
        return torch.zeros_like(like)
    if estimator == "weighted":
        return torch.full_like(like, -math.log(train_size * batch_size))
    others = math.log(train_size - 1) - math.log(train_size) - math.log(batch_size - 1)
    return torch.full_like(like, others).fill_diagonal_(-math.log(train_size))

"""The KL taken apart: what the code tells of the example, what its dimensions share, how far each is from the prior."""

from __future__ import annotations

import math
from typing import Annotated, Literal, NamedTuple

import torch
from annotated_types import Ge
from torch import Tensor

import vaezoo
from vaezoo_beta.kl import by_dimension, one_vector

Estimator = Literal["stratified", "weighted"]
Weight = Annotated[float, Ge(0)]


class Decomposition(NamedTuple):
    """The parts of the KL of each example in nats, ``[B]`` each; their sum is log q(z|x) - log p(z) at the samples.

    Attributes:
        index_code: log q(z|x) - log q(z), whose mean is the mutual information of example and code.
        total_correlation: log q(z) - Σ_d log q(z_d).
        dimension_kl: Σ_d log q(z_d) - log p(z).
    """

    index_code: Tensor
    total_correlation: Tensor
    dimension_kl: Tensor


class BetaTC(vaezoo.Regularizer):
    """α I(x; z) + β TC(z) + γ Σ_d KL(q(z_d) || p(z_d)) (Chen et al. 2018, eq. 4).

    As the parts add up to the KL, this is computed as γ KL + (α - γ) I + (β - γ) TC: the same in expectation, with less
    noise, as the KL has a closed form; with α = β = γ = 1 it is exactly the KL.

    q(z) is estimated from the examples of one forward pass, of each process by itself. That takes M²D numbers.

    Args:
        alpha: of the mutual information of example and code.
        beta: of the total correlation.
        gamma: of the dimensions' own KL.
        estimator: of q(z): ``stratified``, which is unbiased, or ``weighted``, the paper's default.
        weight: of the whole sum.
    """

    penalizes_rate = True

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
            ValueError: there is not one latent vector, or its dimensions are not independent given x.
        """
        parts = decompose(one_vector(trace), self.train_size, self.estimator)
        shift = (self.alpha - self.gamma) * parts.index_code + (self.beta - self.gamma) * parts.total_correlation
        return self.gamma * trace.mean_rate + shift


def decompose(site: vaezoo.Site, train_size: int, estimator: Estimator = "stratified") -> Decomposition:
    """The parts of the KL of each example, with q(z) estimated from the batch (Chen et al. 2018, appendix C).

    Args:
        site: samples ``z`` ``[K, M, D]`` of M examples, with the posterior of each, ``[M]`` over ``[D]``.
        train_size: N, the number of training examples.
        estimator: see ``log_weights``.

    Returns:
        Each part in nats, averaged over K samples, ``[M]``.

    Raises:
        ValueError: the posterior's dimensions are not independent given x.
    """
    q = by_dimension(site.q)
    if q is None:
        kind = type(site.q).__name__
        raise ValueError(f"total correlation needs a diagonal posterior (diagonal-normal); {kind} is none")
    z = site.z
    table = q.log_prob(z.unsqueeze(2))  # [K, i, j, D]: log q(z_i,d | x_j)
    weights = log_weights(table[0, ..., 0], train_size, estimator)  # [i, j]
    own = site.q.log_prob(z)  # [K, M]: log q(z_i | x_i)
    joint = (table.sum(-1) + weights).logsumexp(2)  # [K, M]: log q(z_i)
    product = (table + weights[..., None]).logsumexp(2).sum(-1)  # [K, M]: Σ_d log q(z_i,d)
    parts = (own - joint, joint - product, product - site.p.log_prob(z))
    return Decomposition(*(part.mean(0) for part in parts))


def log_weights(like: Tensor, train_size: int, estimator: Estimator) -> Tensor:
    """log w_ij, ``[M, M]``, such that Σ_j w_ij q(z_i | x_j) estimates q(z_i) = 1/N Σ_n q(z_i | x_n).

    ``stratified``: w_ii = 1/N and w_ij = (N - 1) / (N (M - 1)). Example i is in its batch for certain, and each other
    with probability (M - 1) / (N - 1), so the mean over batches is exactly q(z_i). The paper's appendix C.2 gives one
    of the others the weight (N - M + 1) / (N (M - 1)) and each of the rest 1 / (M - 1). They sum to the same, and each
    other example is equally likely in each place, so ours is the paper's averaged over the order of the batch: as
    unbiased, with less noise. With M = N it is exact.

    The paper's code, and others after it, write 1/N by ``view(-1)[::M]`` into column 0 and not into the diagonal, for
    which the step is M + 1. Then q(z_i | x_i), by far the largest term, counts some N / (M - 1) times too much.

    ``weighted``: 1 / (N M) throughout (appendix C.1). It treats i as if it had come into the batch by chance and is
    biased; with M = N it is q(z_i) / N: its gradients are right there, its parts are off by multiples of log N.

    A batch of one example knows nothing of the others; it is taken for the whole data set.

    Args:
        like: ``[M, M]``; its device and type are those of the result.
        train_size: N.
        estimator: which.
    """
    batch_size = len(like)
    if batch_size == 1:
        return torch.zeros_like(like)
    if estimator == "weighted":
        return torch.full_like(like, -math.log(train_size * batch_size))
    others = math.log(train_size - 1) - math.log(train_size) - math.log(batch_size - 1)
    return torch.full_like(like, others).fill_diagonal_(-math.log(train_size))

"""The maximum mean discrepancy between the codes of a batch and samples of the prior."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Gt, MinLen
from torch import Tensor

import vaezoo
from vaezoo_divergences.codes import codes_and_samples

Kernel = Literal["imq", "rbf"]
Scales = Annotated[Sequence[Annotated[float, Gt(0)]], MinLen(1)]


class MMD(vaezoo.Regularizer):
    """The squared maximum mean discrepancy between q(z) and p(z), estimated from a batch.

    With the kernel ``imq`` and without ``kl`` it is the penalty of WAE-MMD (Tolstikhin et al.
    2018, algorithm 2); with ``kl`` at weight 1 - alpha and this at alpha + lambda - 1 it is
    InfoVAE (Zhao et al. 2017, eq. 6). The estimate is unbiased, so it can be negative. It is a
    number without unit; a weight turns it into nats. Codes of all examples of the batch are
    compared with as many samples of the prior. Several latent variables are compared one by one,
    and the sum is taken.

    Kernels are summed over ``scales`` s, with D dimensions: ``imq`` is C s / (C s + |x - y|²),
    C = 2 D sigma²; ``rbf`` is exp(-|x - y|² / (2 D sigma² s)).

    Args:
        kernel: ``imq`` or ``rbf``.
        scales: s; by default seven from 0.1 to 10 for ``imq``, and 1 for ``rbf``.
        sigma: the standard deviation of the prior in each dimension.
        weight: the weight of the penalty.
    """

    pools_examples = True

    def __init__(
        self,
        wiring: vaezoo.TaskWiring,
        /,
        *,
        kernel: Kernel = "imq",
        scales: Scales | None = None,
        sigma: Annotated[float, Gt(0)] = 1.0,
        weight: float | vaezoo.Schedule = 10.0,
    ) -> None:
        super().__init__(weight)
        if any(space.support != "real" for space in wiring.spaces):
            raise ValueError("its kernels are of real vectors")
        default = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0) if kernel == "imq" else (1.0,)
        self.kernel, self.sigma = kernel, sigma
        self.scales = tuple(default if scales is None else scales)

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """The same estimate for each example, averaged over K samples, ``[B]``.

        Raises:
            ValueError: a latent variable has steps.
        """
        estimates = [
            squared_mmd(z, other, self.kernel, self.scales, self.sigma).mean()
            for z, other in codes_and_samples(trace)
        ]
        return torch.stack(estimates).sum().expand(len(trace.batch))


def squared_mmd(
    first: Tensor, second: Tensor, kernel: Kernel, scales: Sequence[float], sigma: float
) -> Tensor:
    """The unbiased estimate of MMD² between two samples (Gretton et al. 2012, eq. 3).

    Args:
        first, second: vectors ``[*, M, D]``.
        kernel, scales, sigma: see ``MMD``.

    Returns:
        ``[*]``; 0 for a single vector each, which says nothing.
    """
    count = first.shape[-2]
    if count < 2:
        return 0 * (first.sum((-2, -1)) + second.sum((-2, -1)))
    within = [_kernel_sum(each, each, kernel, scales, sigma, True) for each in (first, second)]
    between = _kernel_sum(first, second, kernel, scales, sigma, False)
    return sum(within) / (count * (count - 1)) - 2 * between / count**2


def _kernel_sum(
    x: Tensor, y: Tensor, kernel: Kernel, scales: Sequence[float], sigma: float, is_same: bool
) -> Tensor:
    """The sum of the kernel over pairs ``[*]``; of the same vectors without pairs of one twice."""
    squares = _squared_distances(x, y)  # [*, M, M]
    unit = 2 * x.shape[-1] * sigma**2
    total = torch.zeros_like(squares)
    for scale in scales:
        width = unit * scale
        values = width / (width + squares) if kernel == "imq" else (-squares / width).exp()
        total = total + values
    summed = total.sum((-2, -1))
    return summed - x.shape[-2] * len(scales) if is_same else summed


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """|x_i - y_j|², ``[*, M, M]``; exactly 0 on the diagonal where both are the same tensor."""
    products = x @ y.transpose(-2, -1)
    norms = x.square().sum(-1)[..., None] + y.square().sum(-1)[..., None, :]
    squares = (norms - 2 * products).clamp_min(0)
    if x is not y:
        return squares
    return squares * (1 - torch.eye(x.shape[-2], dtype=x.dtype, device=x.device))

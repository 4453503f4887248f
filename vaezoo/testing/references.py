"""Densities to compare with: estimated from samples, for each support."""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

_BINS = 8


def log_reference(
    samples: Tensor, held_out: Tensor, support: str, event_dims: int, *, shrink: float = 1.0
) -> Tensor | None:
    """The log-density at samples of a distribution that is estimated from other samples.

    Args:
        samples: ``[n, *batch, *event]``.
        held_out: other samples of the same distribution, ``[m, *batch, *event]``.
        support: that of the values, as for spaces and data.
        event_dims: the number of dimensions of an event.
        shrink: draws real values together around their median, by this factor.

    Returns:
        ``[n, *batch]`` in double precision; None for a support that is not known here.
    """
    batch = samples.shape[1 : samples.dim() - event_dims]
    event = samples.shape[samples.dim() - event_dims :]
    rows, others = (  # [rows, n, *event]
        value.reshape(len(value), -1, *event).transpose(0, 1) for value in (samples, held_out)
    )
    found = [_log_density(*pair, support, shrink) for pair in zip(rows, others, strict=True)]
    if not found or any(value is None for value in found):
        return None
    stacked = torch.stack([value for value in found if value is not None], 1)  # [n, rows]
    return stacked.reshape(len(samples), *batch)


def _log_density(x: Tensor, others: Tensor, support: str, shrink: float) -> Tensor | None:
    """``log_reference`` of one distribution, for values ``[n, *event]``."""
    if support in ("one-hot",):
        return _log_frequencies(x.argmax(-1), others.argmax(-1))
    if support in ("binary", "symbols", "count"):
        return _log_frequencies(x, others)
    if support == "sphere":
        dims = x.shape[-1]
        log_area = math.log(2) + dims / 2 * math.log(math.pi) - math.lgamma(dims / 2)
        return x.new_full(x.shape[:1], -log_area, dtype=torch.float64)
    if support == "simplex":
        return x.new_full(x.shape[:1], math.lgamma(x.shape[-1]), dtype=torch.float64)
    if support == "unit":
        return _log_histogram(x, others)
    return _log_kernel_density(x, others, shrink) if support == "real" else None


def _log_frequencies(x: Tensor, others: Tensor) -> Tensor:
    """Independent dimensions with the frequencies of the other values."""
    x, others = x.reshape(len(x), -1).long(), others.reshape(len(others), -1).long()
    total = torch.zeros(len(x), dtype=torch.float64)
    for dim in range(x.shape[1]):
        size = int(max(x[:, dim].max(), others[:, dim].max())) + 1
        counts = torch.bincount(others[:, dim], minlength=size).double()
        total += (counts / counts.sum()).log()[x[:, dim]]
    return total


def _log_histogram(x: Tensor, others: Tensor) -> Tensor:
    """Independent numbers from 0 to 1, each with a histogram of the other values."""
    bins = [(v.reshape(len(v), -1) * _BINS).long().clamp(0, _BINS - 1) for v in (x, others)]
    return _log_frequencies(*bins) + bins[0].shape[1] * math.log(_BINS)


def _log_kernel_density(x: Tensor, others: Tensor, shrink: float) -> Tensor:
    """Normal kernels at the other values, as wide as these are apart."""
    x, others = x.reshape(len(x), -1).double(), others.reshape(len(others), -1).double()
    middle = others.median(0).values
    others = middle + shrink * (others - middle)
    scale = others.std(0).clamp(min=1e-12)
    x, others = x / scale, others / scale
    apart = torch.cdist(others, others)
    apart.fill_diagonal_(math.inf)
    width = max(float(apart.amin(1).median()), 1e-6)
    distance = torch.cdist(x, others) / width  # [n, m]
    log_norm = x.shape[1] * (math.log(width) + 0.5 * math.log(2 * math.pi))
    log_kernels = (-0.5 * distance.square()).logsumexp(1) - math.log(len(others))
    return log_kernels - log_norm - float(scale.log().sum())


def all_values(shape: tuple[int, ...], support: str, size: int, most: int) -> Tensor | None:
    """All values ``[n, *shape]`` of a discrete variable; None if they are more than ``most``.

    Args:
        shape: the shape of a value.
        support: ``binary``, ``one-hot`` or ``symbols``; of others there are too many.
        size: the number of symbols.
        most: the largest number of values.
    """
    one_hot = support == "one-hot"
    places = math.prod(shape[:-1] if one_hot else shape)
    choices = {"binary": 2, "one-hot": shape[-1] if shape else 0, "symbols": size}.get(support, 0)
    if not choices or choices**places > most:
        return None
    codes = torch.tensor(list(itertools.product(range(choices), repeat=places)))
    if one_hot:
        return F.one_hot(codes, choices).float().reshape(-1, *shape)
    values = codes.reshape(-1, *shape)
    return values if support == "symbols" else values.float()

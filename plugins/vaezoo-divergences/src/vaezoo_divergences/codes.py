"""The codes of a whole batch, and as many samples of the prior.

Shapes: K samples of the posterior, M examples in the batch of all processes, B of them in this
one, D numbers of a latent variable.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

import vaezoo


def codes_and_samples(trace: vaezoo.Trace) -> Iterator[tuple[Tensor, Tensor]]:
    """The samples of the posterior and of the prior of each latent variable, ``[K, M, D]`` each.

    All processes have the same. Samples of the prior have gradients where its distribution gives
    them, so that a prior with weights is trained, too.

    Raises:
        ValueError: a latent variable has steps, whose values depend on one another.
    """
    share = vaezoo.BatchShare.current()
    for site in trace.sites:
        if site.mask is not None:
            raise ValueError(
                f"compares independent vectors, but latent variable {site.name!r} has steps"
            )
        z = share.gather(site.z, 1).flatten(2)
        prior = site.p
        shape = site.z.shape[: 2 - len(prior.batch_shape)]  # a batch of priors has one for each
        draw = prior.rsample if prior.has_rsample else prior.sample
        own = draw(torch.Size(shape)).expand_as(site.z)
        yield z, share.gather(own, 1).flatten(2)

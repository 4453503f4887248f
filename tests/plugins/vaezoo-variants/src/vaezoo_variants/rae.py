"""RAE: a deterministic autoencoder with a regularized decoder (Ghosh et al. 2020).

The paper's loss is the distortion + beta ``code-norm`` + lambda ``decoder-norm`` (RAE-L2) or
lambda ``decoder-gradient`` (RAE-GP). The density of codes is fitted afterwards, by a sampler.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

import vaezoo
from vaezoo.distributions import Implicit
from vaezoo.nn import masked


class Point(vaezoo.Posterior):
    """A point z for each x, without density: set ``select: distortion``."""

    def __init__(self, wiring: vaezoo.PosteriorWiring, /) -> None:
        super().__init__()
        self.in_dims, self.shape = len(wiring.in_shape), wiring.space.shape
        self.linear = nn.Linear(math.prod(wiring.in_shape), wiring.space.dimensions)

    def forward(self, h: Tensor) -> Distribution:
        """From features ``[*, *in_shape]`` to points ``[*, *space.shape]``."""
        z = self.linear(h.flatten(-self.in_dims)).unflatten(-1, self.shape)
        return Implicit(z, None, len(self.shape))


class CodeNorm(vaezoo.Regularizer):
    """Half the squared norm of z, which is -log N(z; 0, I) in nats without its constant.

    Args:
        weight: beta.
    """

    def __init__(
        self, wiring: vaezoo.TaskWiring, /, *, weight: float | vaezoo.Schedule = 1.0
    ) -> None:
        super().__init__(weight)

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """Summed over latent variables and existing steps, averaged over samples, ``[B]``."""
        norms = []
        for site in trace.sites:
            z = masked(site.z, None if site.mask is None else site.mask[None])  # [K, B, ...]
            norms.append(0.5 * z.square().flatten(2).sum(-1))
        return trace.mean(torch.stack(norms).sum(0))


class DecoderNorm(vaezoo.Regularizer):
    """The squared norm of all weights of the decoder, the same for every example.

    Args:
        weight: lambda.
    """

    def __init__(
        self, wiring: vaezoo.TaskWiring, /, *, weight: float | vaezoo.Schedule = 1e-3
    ) -> None:
        super().__init__(weight)

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """Expanded to ``[B]``."""
        weights = trace.model.decoder.parameters()
        return sum(weight.square().sum() for weight in weights).expand(len(trace.batch))


class DecoderGradient(vaezoo.Regularizer):
    """The squared norm of the Jacobian of the mean of p(x|z), at codes without gradients.

    It decodes again, does not train the encoder, and is estimated without bias from one random
    projection v of the output: E |v^T J|^2 = |J|^2 for independent signs v.

    Args:
        weight: lambda.
    """

    eager = True

    def __init__(
        self, wiring: vaezoo.TaskWiring, /, *, weight: float | vaezoo.Schedule = 1e-2
    ) -> None:
        super().__init__(weight)

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        """Averaged over samples, ``[B]``."""
        with torch.enable_grad():
            code = trace.code.detach().requires_grad_()  # [K, B, ...]
            extras = trace.batch.extras
            mean = trace.model.likelihood_of(code, trace.context, extras).mean
            signs = torch.randint_like(mean, 2) * 2 - 1
            if (mask := trace.batch.mask) is not None:
                signs = masked(signs, mask.expand(len(signs), *mask.shape))
            (gradient,) = torch.autograd.grad((signs * mean).sum(), code, create_graph=True)
        return trace.mean(gradient.square().flatten(2).sum(-1))

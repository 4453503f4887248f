"""The second of two stages: a VAE of the codes of the first one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.distributions import Distribution

import vaezoo
from vaezoo.distributions import DiagonalNormal, LogScaleLimits, UnitNormal, normal_log_prob
from vaezoo_flows.fitting import Fit, standardise
from vaezoo_flows.networks import vector_size


class SecondStage(vaezoo.Prior):
    """A VAE of latent variables: z = f(u) + gamma noise, u ~ N(0, I).

    Two-stage VAE (Dai & Wipf 2019, "Diagnosing and Enhancing VAE Models", section 4): a second
    VAE, whose latent variables have the same number of dimensions, is fitted to samples of q(z|x)
    of the training split. Its density is known by a bound only: the ELBO of one sample of u, in
    nats.

    Args:
        hidden: the sizes of the hidden layers of its encoder and, reversed, of its decoder.
        fit_steps: as a sampler: the number of training steps.
        fit_lr: as a sampler: the learning rate of Adam, which falls to 0 along a cosine.
        seed: as a sampler: of the order of codes and of the noise.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        wiring: vaezoo.PriorWiring,
        /,
        *,
        hidden: Sequence[Annotated[int, Gt(0)]] = (256, 256),
        fit_steps: Annotated[int, Ge(1)] = 3000,
        fit_lr: Annotated[float, Gt(0)] = 1e-3,
        seed: Annotated[int, Ge(0)] = 0,
    ) -> None:
        super().__init__()
        size = vector_size(wiring.space)
        self.settings = Fit(steps=fit_steps, lr=fit_lr, seed=seed)
        self.encoder = _network([size, *hidden, 2 * size])
        self.decoder = _network([size, *reversed(hidden), size])
        self.log_noise = nn.Parameter(torch.zeros(()))
        self.limit, self.noise_limit = LogScaleLimits(-10.0, 3.0), LogScaleLimits(-6.0, 3.0)
        self.register_buffer("shift", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    def forward(self, context: Tensor | None, model: vaezoo.GenerativeModel) -> Distribution:
        """The same distribution for every context, with batch shape ``[]``."""
        return _CodesOfCodes(self, 1.0)

    def fit(self, codes: Tensor, context: Tensor | None) -> None:
        """Fits the VAE to codes ``[n, D]``; the context is not used.

        Raises:
            ValueError: the codes are too few or not finite, or the loss diverges.
        """
        standardise(codes, self.shift, self.scale)
        self.settings(self, lambda z, _: -self.elbo(z), codes, None)

    def elbo(self, z: Tensor) -> Tensor:
        """A lower bound of log p(z) of codes ``[*, D]``, by one sample of u, in nats, ``[*]``."""
        standard = (z - self.shift) / self.scale
        mean, log_scale = self.encoder(standard).chunk(2, -1)
        q = DiagonalNormal(mean, self.limit(log_scale))
        u = q.rsample()
        rate = torch.distributions.kl_divergence(q, UnitNormal(self.shift.new_zeros(u.shape[-1:])))
        decoded = self.decoder(u)
        log_noise = self.noise_limit(self.log_noise)
        log_likelihood = normal_log_prob(standard, decoded, log_noise.expand_as(decoded)).sum(-1)
        elbo: Tensor = log_likelihood - rate - self.scale.log().sum()
        return elbo

    def codes(self, u: Tensor, noise: Tensor) -> Tensor:
        """Codes ``[*, D]`` of ``u`` and standard normal noise, both ``[*, D]``."""
        spread = self.noise_limit(self.log_noise).exp()
        return self.shift + self.scale * (self.decoder(u) + spread * noise)


class _CodesOfCodes(Distribution):
    """The marginal distribution of z of a ``SecondStage``, of which a bound is known.

    Args:
        stage: the second stage.
        temperature: of u and of the noise.
    """

    arg_constraints: dict[str, Any] = {}
    density = "bound"

    def __init__(self, stage: SecondStage, temperature: float) -> None:
        self.stage, self.spread = stage, math.sqrt(temperature)
        super().__init__(torch.Size(), stage.shift.shape, validate_args=False)

    @property
    def mode(self) -> Tensor:
        """The code of u = 0, ``[D]``, which stands for the mode."""
        zero = torch.zeros_like(self.stage.shift)
        return self.stage.codes(zero, zero)

    def tempered(self, temperature: float) -> _CodesOfCodes:
        """The variances of u and of the noise are multiplied by the temperature."""
        return _CodesOfCodes(self.stage, temperature * self.spread**2)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Samples codes ``[*sample_shape, D]``."""
        shape = self._extended_shape(sample_shape)
        u, noise = (torch.randn(shape, device=self.stage.shift.device) for _ in range(2))
        with torch.no_grad():
            return self.stage.codes(self.spread * u, self.spread * noise)

    def log_prob(self, value: Tensor) -> Tensor:
        """An estimate of a lower bound of log p(z) of codes ``[*, D]``, in nats, ``[*]``."""
        return self.stage.elbo(value)


def _network(sizes: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width, out in itertools.pairwise(sizes):
        layers += [nn.Linear(width, out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])

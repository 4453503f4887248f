"""A posterior refined by Hamiltonian dynamics."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

import vaezoo
from vaezoo.distributions import UnitNormal


class Hamiltonian(vaezoo.Latents):
    """Leapfrog steps on -log p(x, z) move samples of q towards p(z|x) (Caterini et al. 2018).

    Args:
        steps: the number of leapfrog steps.
        step_size: the initial size of a step; one for each dimension is learned.
        beta: the initial inverse temperature, which rises to 1 over the steps.
    """

    eager = True
    supports = frozenset({"real"})

    def __init__(
        self,
        wiring: vaezoo.LatentsWiring,
        /,
        *,
        steps: Annotated[int, Ge(0)] = 3,
        step_size: Annotated[float, Gt(0)] = 0.05,
        beta: Annotated[float, Gt(0), Le(1)] = 0.3,
    ) -> None:
        super().__init__()
        features = torch.Size(wiring.feature_shapes[-1]).numel()
        self.spaces, self.steps, self.root = (wiring.space,), steps, beta**0.5 if steps else 1.0
        self.posterior = wiring.posterior((features,), wiring.space)
        self.prior = wiring.prior(wiring.space)
        self.log_step = nn.Parameter(torch.full(wiring.space.shape, step_size).log(), steps > 0)

    def infer(self, inference: vaezoo.Inference) -> tuple[tuple[vaezoo.Site, ...], Tensor]:
        """One site with the final ``z`` ``[K, B, D]``, which is also the code."""
        q = self.posterior(inference.features[-1].flatten(1).float())
        z, normal = q.rsample(torch.Size((inference.k,))), UnitNormal(0 * self.log_step.detach())
        noise = torch.randn_like(z)
        log_q = q.log_prob(z) + normal.log_prob(noise)
        z, momentum = self.flow(inference, z, noise / self.root)
        log_q, p = log_q - normal.log_prob(momentum), inference.p(self.prior)
        return (vaezoo.Site(self.spaces[0].name, z, q, p, log_q=log_q),), z

    def flow(self, inference: vaezoo.Inference, z: Tensor, momentum: Tensor) -> list[Tensor]:
        """The last position and momentum; tempering restores the volume of the first step."""
        p, keep_graph = inference.p(self.prior), torch.is_grad_enabled()
        step, root = self.log_step.exp(), self.root

        def slope(z: Tensor) -> Tensor:
            with torch.enable_grad():
                z = z if keep_graph else z.detach().requires_grad_()
                energy = -(inference.log_likelihood(z) + p.log_prob(z)).sum()
                return torch.autograd.grad(energy, z, create_graph=keep_graph)[0]

        for k in range(1, self.steps + 1):
            momentum = momentum - step / 2 * slope(z)
            z = z + step * momentum
            momentum = momentum - step / 2 * slope(z)
            next_root = 1 / ((1 - 1 / self.root) * (k / self.steps) ** 2 + 1 / self.root)
            momentum, root = momentum * root / next_root, next_root
        return [z, momentum]

    def posterior_mean(self, inference: vaezoo.Inference) -> Tensor:
        """Where the dynamics take the mean of q from rest, ``[B, D]``."""
        mean = self.posterior(inference.features[-1].flatten(1).float()).mean[None]
        return self.flow(inference, mean, torch.zeros_like(mean))[0][0]

    def generate(self, generation: vaezoo.Generation) -> Tensor:
        """Samples of the prior, ``[n, D]``."""
        return generation.sample(self.prior)

    def code(self, z: Tensor, generation: vaezoo.Generation) -> Tensor:
        """Returns ``z``."""
        return z

"""Binary vectors, each number of which depends on those before it.

Shapes: ``*`` the leading dimensions, D numbers, H hidden units, S shared units of each number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt
from torch import Tensor
from torch.distributions import Distribution

import vaezoo
from vaezoo_autoregressive.dependence import Dependence

_DRAWS = 16
"""How many samples the mean is estimated from."""


class AutoregressiveBernoulli(Distribution):
    """p(x) is the product of p(x_d | x_1 ... x_(d-1)), each a Bernoulli.

    Args:
        logits: of each number without the others, ``[*, *event]``.
        features: what ``dependence`` gets beside the numbers, ``[*, *event]``.
        dependence: what the numbers before add.
        event_dims: the number of dimensions of the event, whose numbers are taken in their order
            in memory.
        temperature: the logit of each number is divided by it.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(
        self,
        logits: Tensor,
        features: Tensor,
        dependence: Dependence,
        event_dims: int,
        temperature: float = 1.0,
    ) -> None:
        self.dependence, self.temperature = dependence, temperature
        batch_dims = logits.dim() - event_dims
        self.logits = logits.flatten(batch_dims)  # [*, D]
        self.features = features.flatten(batch_dims)
        super().__init__(logits.shape[:batch_dims], logits.shape[batch_dims:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """An estimate of the probabilities of 1, ``[*, *event]``, without bias.

        The mean over 16 samples of the probability of each number, given those drawn before it.
        """
        shape = torch.Size((_DRAWS,))
        probabilities = self._draw(shape, torch.bernoulli)[1]
        return probabilities.mean(0)

    @property
    def mode(self) -> Tensor:
        """Each number at its more probable value, given those before, ``[*, *event]``."""
        return self._draw(torch.Size(), lambda probability: (probability > 0.5).float())[0]

    def tempered(self, temperature: float) -> AutoregressiveBernoulli:
        """The logit of each number is divided by the temperature."""
        parts = (each.unflatten(-1, self.event_shape) for each in (self.logits, self.features))
        total, dims = self.temperature * temperature, len(self.event_shape)
        return AutoregressiveBernoulli(*parts, self.dependence, dims, total)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-probability of values 0 and 1 ``[*, *event]`` in nats, ``[*]``, in one pass."""
        x = value.flatten(value.dim() - len(self.event_shape))
        logits = (self.logits + self.dependence(x, self.features)) / self.temperature
        x = x.expand_as(logits)
        return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Samples 0 or 1, ``[*sample_shape, *, *event]``, number by number."""
        return self._draw(torch.Size(sample_shape), torch.bernoulli)[0]

    @torch.no_grad()
    def _draw(
        self, shape: torch.Size, choose: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Values chosen from the probabilities of 1, and these, ``[*shape, *, *event]`` each.

        What the hidden units see grows by one number at a time (Larochelle & Murray 2011, alg. 1).
        """
        part = self.dependence
        inward, outward = part.inward, part.outward
        logits = self.logits.expand(*shape, *self.logits.shape) + part.last.bias
        features = self.features.expand_as(logits)
        hidden_input, common = part.contexts(features)  # [*shape, *, H] and S
        values, probabilities = torch.zeros_like(logits), torch.zeros_like(logits)
        for place in range(logits.shape[-1]):
            logit = logits[..., place] + F.relu(hidden_input) @ outward[place]
            if part.shared is not None:
                logit = logit + part.shared.at(place, values[..., :place], features, common)
            probability = (logit / self.temperature).sigmoid()
            value = choose(probability)
            hidden_input = hidden_input + value[..., None] * inward[:, place]
            values[..., place], probabilities[..., place] = value, probability
        x, p = (each.unflatten(-1, self.event_shape) for each in (values, probabilities))
        return x, p


class AutoregressiveBernoulliLikelihood(vaezoo.Likelihood):
    """A Bernoulli for each number of a vector, a step or an image, given the numbers before it.

    The decoder gives the logit of each number and, in a second channel, what the hidden units of
    a masked network get (a NADE whose biases depend on z: Larochelle & Murray 2011,
    Boulanger-Lewandowski et al. 2012). Densities take one pass, samples one small step for each
    number. Without training it is the likelihood ``bernoulli``. Steps that a mask hides do not
    count; a mask over single numbers is refused, because others depend on what it hides.

    Log-probabilities are exact, in nats. A mean has no closed form: it is estimated from 16
    samples.

    Args:
        hidden: the number of hidden units.
        shared: the number of hidden units that each number has beside these. Their weights are the
            same for all numbers, so that an interval of music counts the same wherever it is: they
            see the numbers before it and the second channel by their distance (a masked
            convolution that is conditional on a map: van den Oord et al. 2016).
    """

    supports = frozenset({"binary"})
    params_per_value = 2
    draws_samples = True

    def __init__(
        self,
        wiring: vaezoo.Wiring,
        /,
        *,
        hidden: Annotated[int, Gt(0)] = 256,
        shared: Annotated[int, Ge(0)] = 0,
    ) -> None:
        super().__init__(wiring)
        if self.event_dims == 0:
            raise ValueError(
                "each number depends on others, and the mask of this data hides single numbers; "
                "use bernoulli"
            )
        size = math.prod(self.data.shape[-self.event_dims :])
        self.dependence = Dependence(size, hidden, shared)

    def forward(self, h: Tensor, extras: Mapping[str, Tensor]) -> Distribution:
        """From logits and features ``[*, *parameter_shape]``."""
        logits, features = self.split_parameters(h)  # [*, *shape] each
        return AutoregressiveBernoulli(logits, features, self.dependence, self.event_dims)

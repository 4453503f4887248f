"""Binary vectors, each number of which depends on those before it.

Shapes: ``*`` the leading dimensions, N their product, D numbers, H hidden units, S shared units of
each number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.distributions import Distribution

import vaezoo

_DRAWS = 16
"""How many samples the mean is estimated from."""


class Shared(nn.Module):
    """What the numbers before add to the logit of each, by their distance alone.

    A masked convolution (van den Oord et al. 2016) with one hidden layer: every number has S
    hidden units with the same weights. It starts by adding nothing.

    Args:
        size: D.
        units: S.
    """

    def __init__(self, size: int, units: int) -> None:
        super().__init__()
        self.reach = max(1, size - 1)  # the largest distance
        # the last weight is that of the number before, as in a convolution
        self.kernel = nn.Parameter(torch.randn(units, self.reach) / size**0.5)
        self.bias = nn.Parameter(torch.zeros(units, size))
        self.last = nn.Parameter(torch.zeros(units))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Adds to logits, ``[*, D]``, from numbers ``[*, D]`` and what units get, ``[*, S]``."""
        rows = F.pad(x[..., :-1], (self.reach, 0))  # [*, reach + D - 1]
        sums = F.conv1d(rows.reshape(-1, 1, rows.shape[-1]), self.kernel[:, None])  # [N, S, D]
        sums = sums.reshape(*x.shape[:-1], *sums.shape[1:])  # [*, S, D]
        units = F.relu(sums + self.bias + context[..., None])
        return (units * self.last[:, None]).sum(-2)

    def at(self, place: int, before: Tensor, context: Tensor) -> Tensor:
        """Adds to the logit of one number, ``[*]``, from those before it, ``[*, place]``."""
        sums = before @ self.kernel[:, self.reach - place :].T  # [*, S]
        return F.relu(sums + self.bias[:, place] + context) @ self.last


class Dependence(nn.Module):
    """What the numbers before add to the logit of each: a network of one masked hidden layer.

    A hidden unit sees the first m numbers, and only the numbers after these see it (MADE, Germain
    et al. 2015, eqs. 12 and 13). It starts by adding nothing.

    Args:
        size: D.
        hidden: H.
        shared: S, the number of shared units of each number.
    """

    sees: Tensor
    is_seen: Tensor

    def __init__(self, size: int, hidden: int, shared: int = 0) -> None:
        super().__init__()
        self.widths = (hidden, shared)
        self.shared = Shared(size, shared) if shared else None
        self.first, self.last = nn.Linear(size, hidden, bias=False), nn.Linear(hidden, size)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        place, degree = torch.arange(size), 1 + torch.arange(hidden) % max(1, size - 1)
        self.register_buffer("sees", place < degree[:, None], persistent=False)  # [H, D]
        self.register_buffer("is_seen", degree <= place[:, None], persistent=False)  # [D, H]

    @property
    def inward(self) -> Tensor:
        """The weights from numbers to hidden units, ``[H, D]``."""
        return self.first.weight * self.sees

    @property
    def outward(self) -> Tensor:
        """The weights from hidden units to logits, ``[D, H]``."""
        return self.last.weight * self.is_seen

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Adds to logits, ``[*, D]``.

        Args:
            x: the numbers, ``[*, D]``; may lack leading dimensions of ``context``.
            context: what hidden and shared units get beside them, ``[*, H + S]``.
        """
        own, common = context.split(self.widths, -1)
        hidden = F.relu(F.linear(x, self.inward) + own)  # [*, H]
        added = F.linear(hidden, self.outward, self.last.bias)
        if self.shared is None:
            return added
        return added + self.shared(x, common)


class AutoregressiveBernoulli(Distribution):
    """p(x) is the product of p(x_d | x_1 ... x_(d-1)), each a Bernoulli.

    Args:
        logits: of each number without the others, ``[*, *event]``.
        context: what the hidden and shared units of ``dependence`` get, ``[*, H + S]``.
        dependence: what the numbers before add.
        event_dims: the number of dimensions of the event, whose numbers are taken in their order
            in memory.
        temperature: the logit of each number is divided by it.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(
        self,
        logits: Tensor,
        context: Tensor,
        dependence: Dependence,
        event_dims: int,
        temperature: float = 1.0,
    ) -> None:
        self.context, self.dependence, self.temperature = context, dependence, temperature
        batch_dims = logits.dim() - event_dims
        self.logits = logits.flatten(batch_dims)  # [*, D]
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
        logits = self.logits.unflatten(-1, self.event_shape)
        total = self.temperature * temperature
        dims = len(self.event_shape)
        return AutoregressiveBernoulli(logits, self.context, self.dependence, dims, total)

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-probability of values 0 and 1 ``[*, *event]`` in nats, ``[*]``, in one pass."""
        x = value.flatten(value.dim() - len(self.event_shape))
        logits = (self.logits + self.dependence(x, self.context)) / self.temperature
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
        context = self.context.expand(*shape, *self.context.shape)
        hidden_input, common = context.split(part.widths, -1)  # [*shape, *, H] and S
        values, probabilities = torch.zeros_like(logits), torch.zeros_like(logits)
        for place in range(logits.shape[-1]):
            logit = logits[..., place] + F.relu(hidden_input) @ outward[place]
            if part.shared is not None:
                logit = logit + part.shared.at(place, values[..., :place], common)
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
            same for every number and depend on the distance of those before it alone, so that an
            interval of music counts the same wherever it is (a masked convolution: van den Oord
            et al. 2016).
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
        self.context = nn.Linear(size, hidden + shared)

    def forward(self, h: Tensor, extras: Mapping[str, Tensor]) -> Distribution:
        """From logits and contexts ``[*, *parameter_shape]``."""
        logits, context = self.split_parameters(h)  # [*, *shape] each
        hidden = self.context(context.flatten(context.dim() - self.event_dims))
        return AutoregressiveBernoulli(logits, hidden, self.dependence, self.event_dims)

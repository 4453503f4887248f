"""Components with one planted mistake each that shows as no error: in use, scale, or devices.

The intact components are those of ``defects.py``, and a few more.
"""

from __future__ import annotations

import math
import random

import numpy as np
import torch
import torch.nn.functional as F
from planted_defects import (
    Bits,
    Fitted,
    Importance,
    Linear,
    NegativeELBO,
    NoConstant,
    Norm,
    Numbers,
    OneHotLabel,
    PlainDecoder,
    PlainPosterior,
    Rate,
    Vector,
)
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal

import vaezoo
from vaezoo.distributions import DiagonalNormal
from vaezoo.nn import masked

# --- latents -------------------------------------------------------------------------------------


class Coded(Vector):
    """One vector."""

    def code(self, z: Tensor, generation: vaezoo.Generation) -> Tensor:
        return z


class GeneratesStandard(Coded):
    """One vector."""

    def generate(self, generation):
        return torch.randn(generation.n, *self.spaces[0].shape)


class GeneratesWide(Vector):
    """One vector."""

    def generate(self, generation):
        return 2 * generation.sample(self.prior)


class IgnoresSampler(Coded):
    """One vector."""

    def generate(self, generation):
        p = self.prior(generation.prior_context, generation.model)
        return vaezoo.distributions.sample_prior(p, generation.n, generation.prior_temperature)


class GeneratesHot(Coded):
    """One vector."""

    def generate(self, generation):
        return generation.p(self.prior).sample(torch.Size((generation.n,)))


class OtherCode(Coded):
    """One vector."""

    def code(self, z, generation):
        return 3 * z + 1


class InfersScaled(Coded):
    """One vector."""

    def infer(self, inference):
        sites, z = super().infer(inference)
        return sites, 2 * z


class OwnMean(Coded):
    """One vector."""

    def posterior_mean(self, inference: vaezoo.Inference) -> Tensor:
        return self.q_of(inference).mean

    def q_of(self, inference):
        return self.posterior(inference.features[-1].flatten(1).float())


class ScaleAsMean(OwnMean):
    """One vector."""

    def posterior_mean(self, inference):
        return self.q_of(inference).scale


class Shifted(Vector):
    """A normal vector, doubled and moved, whose density is that of the result."""

    def infer(self, inference):
        q = self.posterior(inference.features[-1].flatten(1).float())
        e = q.rsample(torch.Size((inference.k,)))
        z = 2 * e + 1
        log_q = q.log_prob(e) - self.log_det(z)
        return (vaezoo.Site("z", z, q, inference.p(self.prior), log_q=log_q),), z

    def log_det(self, z: Tensor) -> float:
        return math.log(2) * z.shape[-1]


class ForgottenDeterminant(Shifted):
    """A normal vector, doubled and moved."""

    def log_det(self, z):
        return 0.0


class InvertedDeterminant(Shifted):
    """A normal vector, doubled and moved."""

    def log_det(self, z):
        return -super().log_det(z)


# --- objectives and regularizers -----------------------------------------------------------------


class MinusRate(NegativeELBO):
    """The negative ELBO."""

    def forward(self, trace):
        return trace.mean_distortion - trace.mean_rate


class RateTwice(NegativeELBO):
    """The negative ELBO."""

    def forward(self, trace):
        return trace.mean_distortion + 2 * trace.mean_rate


class RateOverSamples(NegativeELBO):
    """The negative ELBO."""

    def forward(self, trace):
        return trace.mean_distortion + trace.rate.sum(0)


class NegativePenalty(Rate):
    """The KL."""

    def forward(self, trace):
        return -trace.mean_rate


class SummedPenalty(Rate):
    """The KL."""

    def forward(self, trace):
        return trace.rate.sum(0)


class SamplesAsExamples(Norm):
    """The norm of z."""

    def forward(self, trace):
        z = trace.sites[0].z
        return z.reshape(len(trace.batch), -1).square().sum(-1) / len(z)


class LargestWeight(Importance):
    """The importance-weighted bound."""

    def forward(self, trace):
        return -super().bound(trace)

    def bound(self, trace):
        return trace.log_weight.amax(0)


class SurrogateAsBound(LargestWeight):
    """The importance-weighted bound."""

    def bound(self, trace):
        return (trace.log_weight.detach().softmax(0) * trace.log_weight).sum(0)


class AttachedWeights(Importance):
    """The importance-weighted bound."""

    def forward(self, trace):
        return -(trace.log_weight.softmax(0) * trace.log_weight).sum(0)


class DetachedWeights(Importance):
    """The importance-weighted bound, by its surrogate."""

    def forward(self, trace):
        return -(trace.log_weight.detach().softmax(0) * trace.log_weight).sum(0)


class HalvesZ(Norm):
    """The norm of z."""

    def forward(self, trace):
        with torch.no_grad():
            trace.sites[0].z.mul_(0.5)
        return super().forward(trace)


class LessInTraining(Rate):
    """The KL."""

    def forward(self, trace):
        return trace.mean_rate * (0.1 if self.training else 1.0)


# --- distributions -------------------------------------------------------------------------------


class MovedMean(DiagonalNormal):
    @property
    def mean(self):
        return self.loc + 1


class WrongMean(PlainPosterior):
    """A normal."""

    law = MovedMean


class Wider(DiagonalNormal):
    def tempered(self, temperature):
        return super().tempered(1 / temperature)


class InvertedTemperature(PlainPosterior):
    """A normal."""

    law = Wider


class Unmoved(DiagonalNormal):
    def __init__(self, zero):
        super().__init__(zero, zero)

    def tempered(self, temperature):
        return self


class IgnoresTemperature(NoConstant):
    """N(0, I)."""

    law = Unmoved


class MovedNormal(Normal):
    @property
    def mean(self):
        return self.loc + 5


class MeanOfOthers(Numbers):
    """A normal with sigma 1."""

    def law(self, h):
        return MovedNormal(h, torch.ones_like(h), validate_args=False)


class Logits(Bernoulli):
    @property
    def mean(self):
        return 5 * self.logits


class LogitsAsMean(Bits):
    """Independent bits."""

    def law(self, h):
        return Logits(logits=h, validate_args=False)


# --- priors --------------------------------------------------------------------------------------


class Conditional(vaezoo.Prior):
    """A normal whose mean depends on the condition."""

    conditional = True

    def __init__(self, wiring: vaezoo.PriorWiring, /) -> None:
        super().__init__()
        dims = wiring.space.dimensions
        self.loc = nn.Parameter(torch.zeros(dims))
        self.linear = nn.Linear(wiring.context_dim, dims) if wiring.context_dim else None

    def forward(self, context, model):
        loc = self.loc
        if self.linear is not None and context is not None:
            loc = loc + self.linear(self.used(context))
        return self.law(loc)

    def used(self, context: Tensor) -> Tensor:
        return context

    def law(self, loc: Tensor) -> DiagonalNormal:
        return DiagonalNormal(loc, torch.zeros_like(loc))


class FailsWithContext(Conditional):
    """A normal whose mean depends on the condition."""

    def used(self, context):
        return context[:, None]


class IgnoresContext(Conditional):
    """A normal whose mean depends on the condition."""

    def used(self, context):
        return context * 0


class ContextOfNeighbour(Conditional):
    """A normal whose mean depends on the condition."""

    def used(self, context):
        return context.roll(1, 0)


class FromFirstRow(DiagonalNormal):
    def sample(self, sample_shape=()):
        drawn = super().sample(sample_shape)
        return drawn - self.loc + self.loc[:1] if self.loc.dim() > 1 else drawn


class SamplesOfFirstContext(Conditional):
    """A normal whose mean depends on the condition."""

    def law(self, loc):
        return FromFirstRow(loc, torch.zeros_like(loc))


class FittedScale(Fitted):
    """A normal that is fitted to codes."""

    def __init__(self, wiring: vaezoo.PriorWiring, /) -> None:
        super().__init__(wiring)
        self.register_buffer("log_scale", torch.zeros(wiring.space.shape))

    def fit(self, codes, context):
        self.mean.copy_(codes.mean(0))
        self.log_scale.copy_(self.spread(codes).log())

    def spread(self, codes: Tensor) -> Tensor:
        return codes.std(0)

    def forward(self, context, model):
        return DiagonalNormal(self.mean, self.log_scale)


class FitsNothing(FittedScale):
    """A normal that is fitted to codes."""

    def fit(self, codes, context):
        pass


class VarianceAsScale(FittedScale):
    """A normal that is fitted to codes."""

    def spread(self, codes):
        return codes.var(0)


# --- encoders, decoders and conditioners ---------------------------------------------------------


class KeepsShift(Linear):
    """One layer."""

    shift = 0.0

    def initialise(self, model: vaezoo.GenerativeModel, batch: vaezoo.Batch) -> None:
        self.shift = float(batch.x.mean())

    def forward(self, x, mask=None):
        return super().forward(x - self.shift, mask)


class SavesShift(Linear):
    """One layer."""

    def __init__(self, wiring: vaezoo.EncoderWiring, /) -> None:
        super().__init__(wiring)
        self.register_buffer("shift", torch.zeros(()))

    def initialise(self, model, batch):
        self.shift.copy_(batch.x.mean())

    def forward(self, x, mask=None):
        return super().forward(x - self.shift, mask)


class NumpyWeights(Linear):
    """One layer."""

    def __init__(self, wiring: vaezoo.EncoderWiring, /) -> None:
        super().__init__(wiring)
        shape = self.linear.weight.shape
        self.linear.weight.data = torch.from_numpy(np.random.standard_normal(shape)).float()


class RandomWeights(Linear):
    """One layer."""

    def __init__(self, wiring: vaezoo.EncoderWiring, /) -> None:
        super().__init__(wiring)
        self.linear.weight.data.mul_(random.uniform(0.5, 1.5))


class SetsBenchmark(Linear):
    """One layer."""

    def __init__(self, wiring: vaezoo.EncoderWiring, /) -> None:
        super().__init__(wiring)
        torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark


class OnTheCPU(Linear):
    """One layer."""

    def forward(self, x, mask=None):
        return (super().forward(x, mask)[0] + torch.ones(8, device="cpu"),)


class ToTheCPU(Linear):
    """One layer."""

    def forward(self, x, mask=None):
        (h,) = super().forward(x, mask)
        return (h + h.detach().cpu(),)


class Moved(Linear):
    """One layer."""

    def forward(self, x, mask=None):
        (h,) = super().forward(x, mask)
        return (h + torch.ones(8).to(h) + torch.zeros(8).to(h.device),)


class DropsAlways(Linear):
    """One layer."""

    def forward(self, x, mask=None):
        return (F.dropout(super().forward(x, mask)[0], 0.5),)


class DropsInTraining(Linear):
    """One layer."""

    def forward(self, x, mask=None):
        return (F.dropout(super().forward(x, mask)[0], 0.5, self.training),)


class MeanOfSteps(vaezoo.Encoder):
    """The mean of a layer over steps."""

    def __init__(self, wiring: vaezoo.EncoderWiring, /) -> None:
        super().__init__()
        self.linear = nn.Linear(wiring.in_shape[-1], 8)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        h = self.linear(masked(x, mask))
        return (h if h.dim() == 2 else self.mean(h.flatten(1, -2), mask),)

    def mean(self, h: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None or mask.shape != h.shape[:2]:
            return h.mean(1)
        return (h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


class MeanOfPadding(MeanOfSteps):
    """The mean of a layer over steps."""

    def mean(self, h, mask):
        return h.mean(1)


class DoublesCode(PlainDecoder):
    """One layer."""

    def forward(self, code):
        with torch.no_grad():
            code.mul_(2)
        return super().forward(code)


class ClipsCode(PlainDecoder):
    """One layer."""

    def forward(self, code):
        return super().forward(F.relu(code, inplace=True))


class IgnoresLast(PlainDecoder):
    """One layer."""

    def forward(self, code):
        return super().forward(torch.cat([code[:, :-1], 0 * code[:, -1:]], 1))


class OneContext(OneHotLabel):
    """A label as a vector."""

    def forward(self, condition):
        return torch.ones(len(condition), self.classes, device=condition.device)

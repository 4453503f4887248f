"""Components with one planted mistake each, beside the intact ones that they were made from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    Normal,
    register_kl,
)

import vaezoo
from vaezoo.distributions import DiagonalNormal, UnitNormal
from vaezoo.nn import masked

# --- encoders ------------------------------------------------------------------------------------


class Linear(vaezoo.Encoder):
    """One layer."""

    def __init__(self, wiring: vaezoo.EncoderWiring, /) -> None:
        super().__init__()
        self.linear = nn.Linear(math.prod(wiring.in_shape), 8)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        return (self.linear(masked(x, mask).flatten(1)).tanh(),)


class SoftmaxOverBatch(Linear):
    """One layer."""

    def forward(self, x, mask=None):
        return (super().forward(x, mask)[0].softmax(0),)


class CentredOnBatch(Linear):
    """One layer."""

    def forward(self, x, mask=None):
        (h,) = super().forward(x, mask)
        return (h - h.mean(0),)


class InPlace(Linear):
    """One layer."""

    def forward(self, x, mask=None):
        return super().forward(x.mul_(2), mask)


class ForgetsMask(Linear):
    """One layer."""

    def forward(self, x, mask=None):
        return super().forward(x)


class DoubleConstant(Linear):
    """One layer."""

    def forward(self, x, mask=None):
        (h,) = super().forward(x, mask)
        return (h * torch.ones(h.shape[1], dtype=torch.float64),)


class LocalDevice(Linear):
    """One layer."""

    def forward(self, x, mask=None):
        (h,) = super().forward(x, mask)
        return (h * torch.linspace(1, 2, h.shape[1], dtype=h.dtype),)


class HiddenWeights(Linear):
    """One layer."""

    def __init__(self, wiring: vaezoo.EncoderWiring, /) -> None:
        super().__init__(wiring)
        self.scales = [torch.ones(8, requires_grad=True)]

    def forward(self, x, mask=None):
        return (super().forward(x, mask)[0] * self.scales[0],)


class HiddenModules(Linear):
    """One layer."""

    def __init__(self, wiring: vaezoo.EncoderWiring, /) -> None:
        super().__init__(wiring)
        self.layers = [nn.Linear(8, 8)]

    def forward(self, x, mask=None):
        return (self.layers[0](super().forward(x, mask)[0]),)


class Squeezes(Linear):
    """One layer."""

    def forward(self, x, mask=None):
        h = super().forward(x, mask)[0].squeeze()
        return (h.softmax(0).reshape(len(x), -1) if h.dim() == 1 else h,)


class CountsInEvaluation(Linear):
    """One layer."""

    def __init__(self, wiring: vaezoo.EncoderWiring, /) -> None:
        super().__init__(wiring)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x, mask=None):
        self.seen += len(x)
        return super().forward(x, mask)


class NumpyNoise(Linear):
    """One layer."""

    def forward(self, x, mask=None):
        noise = torch.from_numpy(np.random.standard_normal((len(x), 8))).to(x)
        return (super().forward(x, mask)[0] + 0.1 * noise,)


class OwnGenerator(Linear):
    """One layer."""

    def __init__(self, wiring: vaezoo.EncoderWiring, /) -> None:
        super().__init__(wiring)
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x, mask=None):
        (h,) = super().forward(x, mask)
        return (h + 0.1 * torch.randn(h.shape, generator=self.generator),)


class Reseeds(Linear):
    """One layer."""

    def forward(self, x, mask=None):
        torch.manual_seed(3)
        return super().forward(x, mask)


class CountsSteps(Linear):
    """One layer."""

    def __init__(self, wiring: vaezoo.EncoderWiring, /) -> None:
        super().__init__(wiring)
        self.steps = 0

    def forward(self, x, mask=None):
        if self.training and torch.is_grad_enabled():
            self.steps += 1
        return (super().forward(x, mask)[0] * min(1.0, 0.5 + 0.01 * self.steps),)


class TemporaryBuffer(Linear):
    """One layer."""

    def __init__(self, wiring: vaezoo.EncoderWiring, /) -> None:
        super().__init__(wiring)
        self.register_buffer("scale", torch.ones(()), persistent=False)

    def forward(self, x, mask=None):
        if self.training and torch.is_grad_enabled():
            self.scale.mul_(0.9)
        return (super().forward(x, mask)[0] * self.scale,)


class Unguarded(Linear):
    """One layer."""

    def forward(self, x, mask=None):
        x = masked(x, mask)
        return super().forward(x / x.flatten(1).norm(dim=1).reshape(-1, *(1,) * (x.dim() - 1)))


class Sized(vaezoo.Encoder):
    """One layer.

    Args:
        width: number of units.
    """

    def __init__(self, wiring: vaezoo.EncoderWiring, /, *, width: int = 8) -> None:
        super().__init__()
        self.linear = nn.Linear(math.prod(wiring.in_shape), width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        return (self.linear(masked(x, mask).flatten(1)).tanh(),)


class Undocumented(Sized):
    """One layer."""

    def __init__(self, wiring: vaezoo.EncoderWiring, /, *, width: int = 8) -> None:
        super().__init__(wiring, width=width)


class Untyped(Sized):
    """One layer.

    Args:
        width: number of units.
    """

    def __init__(self, wiring: vaezoo.EncoderWiring, /, *, width=8) -> None:
        super().__init__(wiring, width=width)


class WrongDefault(Sized):
    """One layer.

    Args:
        width: number of units.
    """

    def __init__(self, wiring: vaezoo.EncoderWiring, /, *, width: int = "8") -> None:
        super().__init__(wiring, width=int(width))


class Positional(Sized):
    """One layer.

    Args:
        width: number of units.
    """

    def __init__(self, wiring: vaezoo.EncoderWiring, width: int = 8) -> None:
        super().__init__(wiring, width=width)


class OtherName(Sized):
    """One layer.

    Args:
        width: number of units.
        widht: the same, with a slip.
    """


class Silent(Linear):
    pass


class WholeBatchMean(vaezoo.Decoder):
    """One layer."""

    def __init__(self, wiring: vaezoo.DecoderWiring, /) -> None:
        super().__init__()
        self.linear = nn.Linear(math.prod(wiring.in_shape), math.prod(wiring.out_shape))
        self.shape = wiring.out_shape

    def forward(self, code: Tensor) -> Tensor:
        code = code.flatten(1)
        return self.linear(code - code.mean(0)).unflatten(1, self.shape)


class PlainDecoder(WholeBatchMean):
    """One layer."""

    def forward(self, code: Tensor) -> Tensor:
        return self.linear(code.flatten(1)).unflatten(1, self.shape)


class DetachedCode(PlainDecoder):
    """One layer."""

    def forward(self, code: Tensor) -> Tensor:
        return super().forward(code.detach())


# --- posteriors and priors -----------------------------------------------------------------------


class Gaussian(DiagonalNormal):
    """A normal of its own class, so that a closed KL can be registered for it."""


class PlainPosterior(vaezoo.Posterior):
    """A normal."""

    law: type[Distribution] = DiagonalNormal

    def __init__(self, wiring: vaezoo.PosteriorWiring, /) -> None:
        super().__init__()
        self.linear = nn.Linear(math.prod(wiring.in_shape), 2 * wiring.space.dimensions)

    def forward(self, h: Tensor) -> Distribution:
        return self.law(*self.linear(h).chunk(2, -1))


class NoGradient(DiagonalNormal):
    def rsample(self, sample_shape=()):
        return super().rsample(sample_shape).detach()


class Detached(PlainPosterior):
    """A normal."""

    law = NoGradient


class HalfGradient(DiagonalNormal):
    def rsample(self, sample_shape=()):
        return self.loc.detach() + (super().rsample(sample_shape) - self.loc)


class HalfReparameterised(PlainPosterior):
    """A normal."""

    law = HalfGradient


class MeanOverDimensions(DiagonalNormal):
    def log_prob(self, value):
        return super().log_prob(value) / value.shape[-1]


class MeanDensity(PlainPosterior):
    """A normal."""

    law = MeanOverDimensions


class ScaleIsVariance(DiagonalNormal):
    def rsample(self, sample_shape=()):
        loc = self.loc.expand(*sample_shape, *self.loc.shape)
        return loc + 1.5 * (2 * self.log_scale).exp() * torch.randn_like(loc)

    def sample(self, sample_shape=()):
        return self.rsample(sample_shape).detach()


class WrongScale(PlainPosterior):
    """A normal."""

    law = ScaleIsVariance


class OneDraw(DiagonalNormal):
    def rsample(self, sample_shape=()):
        return super().rsample().expand(*sample_shape, *self.loc.shape)


class SameSamples(PlainPosterior):
    """A normal."""

    law = OneDraw


class FixedGenerator(DiagonalNormal):
    def rsample(self, sample_shape=()):
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn((*sample_shape, *self.loc.shape), generator=generator)
        return self.loc + self.log_scale.exp() * noise.to(self.loc)


class ConstantSeed(PlainPosterior):
    """A normal."""

    law = FixedGenerator


class WithWrongKL(Gaussian):
    pass


@register_kl(WithWrongKL, UnitNormal)
def _reversed(q, p):
    variance = (2 * q.log_scale).exp()
    return 0.5 * ((1 + q.loc.square()) / variance - 1 + 2 * q.log_scale).sum(-1)


class WithMeanKL(Gaussian):
    pass


@register_kl(WithMeanKL, UnitNormal)
def _averaged(q, p):
    variance = (2 * q.log_scale).exp()
    return 0.5 * (variance + q.loc.square() - 1 - 2 * q.log_scale).mean(-1)


class ReversedKL(PlainPosterior):
    """A normal."""

    law = WithWrongKL


class AveragedKL(PlainPosterior):
    """A normal."""

    law = WithMeanKL


class PlainMixture(vaezoo.Prior):
    """A mixture of three normals."""

    def __init__(self, wiring: vaezoo.PriorWiring, /) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([1.0, 0.0, -2.0]))
        self.mean = nn.Parameter(3 * torch.randn(3, *wiring.space.shape))

    def mixture(self, cls: type = MixtureSameFamily) -> Distribution:
        normals = DiagonalNormal(self.mean, torch.zeros_like(self.mean))
        weights = Categorical(logits=self.logits, validate_args=False)
        return cls(weights, normals, validate_args=False)

    def forward(self, context: Tensor | None, model: vaezoo.GenerativeModel) -> Distribution:
        return self.mixture()


class Uniformly(MixtureSameFamily):
    def sample(self, sample_shape=()):
        index = torch.randint(0, 3, tuple(sample_shape))
        return (
            self.component_distribution.sample(sample_shape)
            .gather(-2, index[..., None, None].expand(*sample_shape, 1, *self.event_shape))
            .squeeze(-2)
        )


class UniformWeights(PlainMixture):
    """A mixture of three normals."""

    def forward(self, context, model):
        return self.mixture(Uniformly)


class First(MixtureSameFamily):
    def sample(self, sample_shape=()):
        return self.component_distribution.sample(sample_shape)[..., 0, :]


class FirstComponent(PlainMixture):
    """A mixture of three normals."""

    def forward(self, context, model):
        return self.mixture(First)


class Fitted(vaezoo.Prior):
    """A normal that is fitted to codes."""

    def __init__(self, wiring: vaezoo.PriorWiring, /) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(wiring.space.shape))

    def fit(self, codes: Tensor, context: Tensor | None) -> None:
        self.mean.copy_(codes.mean(0))

    def forward(self, context: Tensor | None, model: vaezoo.GenerativeModel) -> Distribution:
        return DiagonalNormal(self.mean, torch.zeros_like(self.mean))


class ForgetsFit(Fitted):
    """A normal that is fitted to codes."""

    def __init__(self, wiring: vaezoo.PriorWiring, /) -> None:
        super().__init__(wiring)
        self.found = torch.zeros(wiring.space.shape)

    def fit(self, codes, context):
        self.found = codes.mean(0)

    def forward(self, context, model):
        return DiagonalNormal(self.mean + self.found.to(self.mean), torch.zeros_like(self.mean))


class Unnormalised(UnitNormal):
    def log_prob(self, value):
        return -0.5 * value.square().sum(-1)


class NoConstant(vaezoo.Prior):
    """N(0, I)."""

    law: type[Distribution] = Unnormalised

    def __init__(self, wiring: vaezoo.PriorWiring, /) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(wiring.space.shape))

    def forward(self, context: Tensor | None, model: vaezoo.GenerativeModel) -> Distribution:
        return self.law(self.zero)


class PlainPrior(NoConstant):
    """N(0, I)."""

    law = UnitNormal


class RandomMode(UnitNormal):
    @property
    def mode(self):
        return self.sample()


class RandomAtZero(NoConstant):
    """N(0, I)."""

    law = RandomMode


class Seeding(UnitNormal):
    def sample(self, sample_shape=()):
        torch.manual_seed(5)
        return super().sample(sample_shape)


class SeedsTorch(NoConstant):
    """N(0, I)."""

    law = Seeding


class SameForAll(UnitNormal):
    def sample(self, sample_shape=()):
        return super().sample().expand(*sample_shape, *self.event_shape)


class OneSample(NoConstant):
    """N(0, I)."""

    law = SameForAll


# --- latents -------------------------------------------------------------------------------------


class Vector(vaezoo.Latents):
    """One vector."""

    def __init__(self, wiring: vaezoo.LatentsWiring, /) -> None:
        super().__init__()
        self.spaces = (wiring.space,)
        self.posterior = wiring.posterior((math.prod(wiring.feature_shapes[-1]),), wiring.space)
        self.prior = wiring.prior(wiring.space)

    def infer(self, inference: vaezoo.Inference) -> tuple[tuple[vaezoo.Site, ...], Tensor]:
        q = self.posterior(inference.features[-1].flatten(1).float())
        z = self.draw(q, inference.k)
        return (vaezoo.Site("z", z, q, inference.p(self.prior)),), z

    def draw(self, q: Distribution, k: int) -> Tensor:
        return q.rsample(torch.Size((k,)))

    def generate(self, generation: vaezoo.Generation) -> Tensor:
        return generation.sample(self.prior)


class DetachedLatents(Vector):
    """One vector."""

    def draw(self, q, k):
        return q.sample(torch.Size((k,)))


class Repeated(Vector):
    """One vector."""

    def draw(self, q, k):
        return q.rsample().expand(k, *q.batch_shape, *q.event_shape)


class TooWide(Vector):
    """One vector."""

    def draw(self, q, k):
        return q.mean + 2 * (q.rsample(torch.Size((k,))) - q.mean)


class OneGenerated(Vector):
    """One vector."""

    def generate(self, generation):
        return generation.sample(self.prior)[:1].repeat(generation.n, 1)


class EachStep(vaezoo.Latents):
    """A vector at each step."""

    def __init__(self, wiring: vaezoo.LatentsWiring, /) -> None:
        super().__init__()
        self.spaces = (wiring.space,)
        self.steps, width = wiring.feature_shapes[0]
        self.posterior = wiring.posterior((width,), wiring.space)
        self.prior = wiring.prior(wiring.space)

    def infer(self, inference: vaezoo.Inference) -> tuple[tuple[vaezoo.Site, ...], Tensor]:
        q = self.posterior(inference.features[0].float())  # batch shape [B, T]
        z = q.rsample(torch.Size((inference.k,)))
        mask = self.mask_of(inference.batch)
        return (vaezoo.Site("z", z, q, inference.p(self.prior), mask=mask),), z

    def mask_of(self, batch: vaezoo.Batch) -> Tensor | None:
        return batch.step_mask

    def generate(self, generation: vaezoo.Generation) -> Tensor:
        rows = generation.p(self.prior).sample(torch.Size((generation.n, self.steps)))
        return rows


class CountsPadding(EachStep):
    """A vector at each step."""

    def mask_of(self, batch):
        return None if batch.mask is None else torch.ones_like(batch.step_mask)


class StepEncoder(vaezoo.Encoder):
    """One layer at each step."""

    def __init__(self, wiring: vaezoo.EncoderWiring, /) -> None:
        super().__init__()
        self.linear = nn.Linear(wiring.in_shape[-1], 6)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        return (self.linear(masked(x, mask)),)


class StepDecoder(vaezoo.Decoder):
    """One layer at each step."""

    def __init__(self, wiring: vaezoo.DecoderWiring, /) -> None:
        super().__init__()
        self.linear = nn.Linear(wiring.in_shape[-1], wiring.out_shape[-1])

    def forward(self, code: Tensor) -> Tensor:
        return self.linear(code)


# --- likelihoods ---------------------------------------------------------------------------------


class Numbers(vaezoo.Likelihood):
    """A normal with sigma 1."""

    supports = frozenset({"real"})

    def __init__(self, wiring: vaezoo.Wiring, /) -> None:
        super().__init__(wiring)

    def forward(self, h: Tensor, extras: Mapping[str, Tensor]) -> Distribution:
        return Independent(self.law(h), self.event_dims, validate_args=False)

    def law(self, h: Tensor) -> Distribution:
        return Normal(h, torch.ones_like(h), validate_args=False)


class MeanSquared(Normal):
    def log_prob(self, value):
        return -0.5 * (value - self.loc).square()


class NoNormaliser(Numbers):
    """A normal with sigma 1."""

    def law(self, h):
        return MeanSquared(h, torch.ones_like(h), validate_args=False)


class OtherSamples(Normal):
    def sample(self, sample_shape=()):
        return self.loc + 0.5 * torch.randn(*sample_shape, *self.loc.shape)


class NarrowSamples(Numbers):
    """A normal with sigma 1."""

    def law(self, h):
        return OtherSamples(h, torch.ones_like(h), validate_args=False)


class IgnoresShape(Normal):
    def sample(self, sample_shape=()):
        return super().sample()


class OneSampleOnly(Numbers):
    """A normal with sigma 1."""

    def law(self, h):
        return IgnoresShape(h, torch.ones_like(h), validate_args=False)


class Bits(vaezoo.Likelihood):
    """Independent bits."""

    supports = frozenset({"binary"})

    def __init__(self, wiring: vaezoo.Wiring, /) -> None:
        super().__init__(wiring)

    def forward(self, h: Tensor, extras: Mapping[str, Tensor]) -> Distribution:
        return Independent(self.law(h), self.event_dims, validate_args=False)

    def law(self, h: Tensor) -> Distribution:
        return Bernoulli(logits=h, validate_args=False)


class AveragedBits(Bits):
    """Independent bits."""

    def log_prob(self, trace):
        return super().log_prob(trace) / trace.batch.x[0].numel()


class Probabilities(Bernoulli):
    def sample(self, sample_shape=()):
        return self.probs.expand(*sample_shape, *self.probs.shape) + 0 * torch.rand(
            *sample_shape, *self.probs.shape
        )


class GreySamples(Bits):
    """Independent bits."""

    def law(self, h):
        return Probabilities(logits=h, validate_args=False)


class UnmaskedBits(Bits):
    """Independent bits."""

    def log_prob(self, trace):
        value = trace.px.log_prob(trace.batch.x)
        return value.flatten(2).sum(-1) if value.dim() > 2 else value


class CompetingBits(Bits):
    """Independent bits."""

    def log_prob(self, trace):
        return super().log_prob(trace).log_softmax(1)


class DetachedBits(Bits):
    """Independent bits."""

    def forward(self, h, extras):
        return super().forward(h.detach(), extras)


# --- objectives ----------------------------------------------------------------------------------


class NegativeELBO(vaezoo.Objective):
    """The negative ELBO."""

    loss_includes_rate = True

    def __init__(self, wiring: vaezoo.TaskWiring, /) -> None:
        super().__init__()

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        return -trace.mean_elbo


class PerDimension(NegativeELBO):
    """The negative ELBO."""

    def forward(self, trace):
        return -trace.mean_elbo / trace.batch.x[0].numel()


class MeanOfPixels(NegativeELBO):
    """The negative ELBO."""

    def forward(self, trace):
        log_p = trace.px.log_prob(trace.batch.x)
        if log_p.dim() > 2:
            log_p = log_p.flatten(2).sum(-1)
        return trace.mean_rate - trace.mean(log_p / trace.batch.x[0].numel())


class ForTheBatch(NegativeELBO):
    """The negative ELBO."""

    def forward(self, trace):
        return -trace.mean_elbo.mean().expand(len(trace.batch))


class DividedByBatch(NegativeELBO):
    """The negative ELBO."""

    def forward(self, trace):
        return -trace.mean_elbo / len(trace.batch)


class WrongSign(NegativeELBO):
    """The negative ELBO."""

    def forward(self, trace):
        return trace.mean_distortion.neg() + trace.mean_rate


class Broadcast(NegativeELBO):
    """The negative ELBO."""

    def forward(self, trace):
        return -trace.mean_elbo + trace.mean_rate.detach()[:, None] * 0


class SilentRate(NegativeELBO):
    """The negative ELBO."""

    loss_includes_rate = False


class DetachedLoss(NegativeELBO):
    """The negative ELBO."""

    def forward(self, trace):
        (site,) = trace.sites
        px = trace.model.likelihood_of(site.z.detach(), trace.context, trace.batch.extras)
        log_p = px.log_prob(trace.batch.x)
        return trace.mean_rate - trace.mean(log_p.flatten(2).sum(-1) if log_p.dim() > 2 else log_p)


class Importance(vaezoo.Objective):
    """The importance-weighted bound."""

    loss_includes_rate = True
    requires_exact_density = True

    def __init__(self, wiring: vaezoo.TaskWiring, /) -> None:
        super().__init__()
        self.num_samples = 4

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        return -self.bound(trace)

    def bound(self, trace: vaezoo.Trace) -> Tensor:
        return trace.log_weight.logsumexp(0) - math.log(len(trace.log_weight))


class MeanOfBounds(Importance):
    """The mean of two bounds of two samples each (MIWAE)."""

    def bound(self, trace):
        pairs = trace.log_weight.unflatten(0, (-1, 2))  # [M, 2, B]
        return (pairs.logsumexp(1) - math.log(2)).mean(0)


class OverTheBatch(Importance):
    """The importance-weighted bound."""

    def forward(self, trace):
        weights = trace.log_weight.detach().softmax(1)
        return -(weights * trace.log_weight).sum(0)


class WorstSampleFirst(Importance):
    """The importance-weighted bound."""

    def forward(self, trace):
        weights = (-trace.log_weight).detach().softmax(0)
        return -(weights * trace.log_weight).sum(0)


class NoLogK(Importance):
    """The importance-weighted bound."""

    def bound(self, trace):
        return trace.log_weight.logsumexp(0)


class NegatedWeights(Importance):
    """The importance-weighted bound."""

    def forward(self, trace):
        return -super().bound(trace)

    def bound(self, trace):
        return -((-trace.log_weight).logsumexp(0) - math.log(len(trace.log_weight)))


# --- regularizers --------------------------------------------------------------------------------


class Rate(vaezoo.Regularizer):
    """The KL."""

    penalizes_rate = True

    def __init__(self, wiring: vaezoo.TaskWiring, /) -> None:
        super().__init__(1.0)

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        return trace.mean_rate


class AveragedRate(Rate):
    """The KL."""

    def forward(self, trace):
        q = trace.sites[0].q
        kl = 0.5 * ((2 * q.log_scale).exp() + q.loc.square() - 1 - 2 * q.log_scale)
        return kl.mean(-1)


class WeightedTwice(Rate):
    """The KL."""

    def forward(self, trace):
        return self.current_weight * trace.mean_rate


class DetachedRate(Rate):
    """The KL."""

    def forward(self, trace):
        return trace.mean_rate.detach()


class HalfDetached(Rate):
    """The KL."""

    def forward(self, trace):
        q = trace.sites[0].q
        norm = trace.model.decoder.parameters().__next__().square().sum()
        return q.loc.detach().square().sum(-1) + norm


class ShareOfBatch(Rate):
    """The KL."""

    def forward(self, trace):
        return trace.mean_rate / trace.mean_rate.detach().mean()


class Norm(Rate):
    """The norm of z."""

    penalizes_rate = False

    def forward(self, trace):
        site = trace.sites[0]
        norm = site.z.square().sum(-1)  # [K, B], or [K, B, T]
        if site.mask is not None:
            norm = self.shown(norm, site.mask).sum(-1)
        return trace.mean(norm)

    def shown(self, norm: Tensor, mask: Tensor) -> Tensor:
        return norm * mask


class NormOfPadding(Norm):
    """The norm of z."""

    def shown(self, norm, mask):
        return norm


class MovingAverage(Rate):
    """The KL."""

    def __init__(self, wiring: vaezoo.TaskWiring, /) -> None:
        super().__init__(wiring)
        self.average = torch.ones(())

    def forward(self, trace):
        if self.training and torch.is_grad_enabled():
            self.average = 0.9 * self.average + 0.1 * trace.mean_rate.detach().mean()
        return trace.mean_rate * self.average.clamp(max=2)


class OwnBatchOnly(Rate):
    """The KL."""

    def __init__(self, wiring: vaezoo.TaskWiring, /) -> None:
        super().__init__(wiring)
        self.register_buffer("average", torch.ones(()))

    def forward(self, trace):
        if self.training and torch.is_grad_enabled():
            self.average.mul_(0.5).add_(0.5 * trace.mean_rate.detach().mean())
        return trace.mean_rate * self.average.clamp(max=9)


class OwnTerms(OwnBatchOnly):
    """The KL."""

    def forward(self, trace):
        return trace.mean_rate * self.average

    def after_step(self, result: vaezoo.StepResult) -> None:
        self.average.mul_(0.5).add_(0.1 * result.terms["loss"].abs().clamp(max=9))


class OneRankOnly(OwnBatchOnly):
    """The KL."""

    def forward(self, trace):
        return trace.mean_rate

    def after_step(self, result: vaezoo.StepResult) -> None:
        if not result.processes.is_main:
            result.processes.sum(self.average)


class PlainCritic(Rate):
    """A critic of latents."""

    penalizes_rate = False

    def __init__(self, wiring: vaezoo.TaskWiring, /) -> None:
        super().__init__(wiring)
        self.net = nn.Linear(wiring.spaces[0].dimensions, 1)

    def forward(self, trace: vaezoo.Trace) -> Tensor:
        return trace.mean(F.softplus(-self.net(trace.sites[0].z.flatten(2)).squeeze(-1)))

    def phases(self) -> Sequence[vaezoo.Phase]:
        return (vaezoo.Phase("critic", self.module, self.phase_loss),)

    @property
    def module(self) -> nn.Module:
        return self.net

    def latents(self, model, batch):
        return model.infer_detached(batch)

    def phase_loss(self, model, batch):
        site = self.latents(model, batch).sites[0]
        real, fake = (self.net(z.flatten(2)).squeeze(-1) for z in (site.prior_sample(), site.z))
        return (F.softplus(-real) + F.softplus(fake)).mean(0), {}


class OwnsEncoder(PlainCritic):
    """A critic of latents."""

    def initialise(self, model: vaezoo.GenerativeModel, batch: vaezoo.Batch) -> None:
        self.both = nn.ModuleList([self.net, model.encoder])

    @property
    def module(self):
        return getattr(self, "both", self.net)


class KeepsModel(Rate):
    """The KL."""

    def forward(self, trace):
        self.encoder = trace.model.encoder
        return super().forward(trace)


class AttachedCritic(PlainCritic):
    """A critic of latents."""

    def latents(self, model, batch):
        return model(batch)


class MovesEncoder(PlainCritic):
    """A critic of latents."""

    def phase_loss(self, model, batch):
        with torch.no_grad():
            next(model.encoder.parameters()).mul_(0.99)
        return super().phase_loss(model, batch)


# --- schedules and conditioners ------------------------------------------------------------------


class Ramp(vaezoo.Schedule):
    """A ramp over 100 steps."""

    def forward(self, step: int) -> float:
        return min(1.0, 0.1 + step / 100)


class CountsCalls(Ramp):
    """A ramp over 100 steps."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, step):
        self.calls += 1
        return min(1.0, self.calls / 100)


class Overflows(Ramp):
    """A ramp over 100 steps."""

    def forward(self, step):
        return float(np.exp(np.float64(min(step, 10**4))))


class Adapts(Ramp):
    """A ramp over 100 steps."""

    def __init__(self) -> None:
        super().__init__()
        self.level = 0.1

    def forward(self, step):
        return self.level

    def after_step(self, result: vaezoo.StepResult) -> None:
        self.level += 0.01


class OneHotLabel(vaezoo.Conditioner):
    """A label as a vector."""

    def __init__(self, wiring: vaezoo.Wiring, /) -> None:
        super().__init__()
        self.classes = len(wiring.data.classes)

    def forward(self, condition: Tensor) -> Tensor:
        return F.one_hot(condition, self.classes).float()


class OneForAll(OneHotLabel):
    """A label as a vector."""

    def unconditional_context(self, n: int) -> Tensor:
        return torch.zeros(1, self.classes)


class RelativeLabel(OneHotLabel):
    """A label as a vector."""

    def forward(self, condition):
        return super().forward(condition) / (1 + super().forward(condition).sum(0))


# --- metrics, data sets and formats --------------------------------------------------------------


class MeanRate(vaezoo.Metric):
    """The mean KL."""

    lower_is_better = frozenset({"mean_rate"})

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        rates = [model(batch).mean_rate for batch in data.ordered()]
        return self.estimate(rates, len(data))

    def estimate(self, rates, count):
        return {"mean_rate": vaezoo.Estimate(float(torch.cat(rates).mean()), None, count)}


class MeanOfBatches(MeanRate):
    """The mean KL."""

    def estimate(self, rates, count):
        value = float(torch.stack([rate.mean() for rate in rates]).mean())
        return {"mean_rate": vaezoo.Estimate(value, None, count)}


class FirstExamples(MeanRate):
    """The mean KL."""

    def estimate(self, rates, count):
        value = float(torch.cat(rates)[:5].mean())
        return {"mean_rate": vaezoo.Estimate(value, None, count)}


class Moves(MeanRate):
    """The mean KL."""

    def __call__(self, model, data):
        found = super().__call__(model, data)
        next(model.parameters()).data.mul_(1.01)
        return found


class OtherDirection(MeanRate):
    """The mean KL."""

    lower_is_better = frozenset({"mean_rat"})


class NumpySubset(MeanRate):
    """The mean KL."""

    def estimate(self, rates, count):
        chosen = torch.from_numpy(np.random.permutation(count)[:7])
        return {"mean_rate": vaezoo.Estimate(float(torch.cat(rates)[chosen].mean()), None, 7)}


class NoNumber(MeanRate):
    """The mean KL."""

    def estimate(self, rates, count):
        return {"mean_rate": vaezoo.Estimate(float("nan"), None, count)}


class Points(vaezoo.Dataset):
    """Random points."""

    support = "real"

    @property
    def spec(self) -> vaezoo.DataSpec:
        return vaezoo.DataSpec((4,), self.support)

    def generator(self, name: str) -> torch.Generator:
        return torch.Generator().manual_seed(len(name))

    def split(self, name: str) -> vaezoo.Split:
        return vaezoo.Split(torch.randn(30, 4, generator=self.generator(name)))


class ChangingPoints(Points):
    """Random points."""

    def generator(self, name):
        generator = torch.Generator()
        generator.seed()
        return generator


class NotBinary(Points):
    """Random points."""

    support = "binary"


class GlobalPoints(Points):
    """Random points."""

    def split(self, name):
        return vaezoo.Split(torch.from_numpy(np.random.standard_normal((30, 4))).float())


class OtherShape(Points):
    """Random points."""

    @property
    def spec(self):
        return vaezoo.DataSpec((2, 2), "real")


class Numpy(vaezoo.Format):
    """An array in a file."""

    def write(self, path, examples: vaezoo.Batch, columns: int) -> None:
        with path.open("wb") as file:
            np.save(file, self.kept(examples.x).numpy())

    def kept(self, x: Tensor) -> Tensor:
        return x

    def read(self, path) -> vaezoo.Batch:
        return vaezoo.Batch(torch.from_numpy(np.load(path)))


class Rounds(Numpy):
    """An array in a file."""

    def kept(self, x):
        return x.round()


class WritesInPlace(Numpy):
    """An array in a file."""

    def kept(self, x):
        return x.clamp_(0, 0.5)

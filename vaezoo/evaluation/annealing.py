"""log p(x) by annealed importance sampling, and the metric of it.

Shapes: C chains, B examples of a batch, n examples of a split, T temperatures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.loader import Loader
from vaezoo.distributions import density_of
from vaezoo.evaluation.bounds import mean_with_error, note_if_not_normalised
from vaezoo.evaluation.hamiltonian import Densities, Point, adapt_steps, transition
from vaezoo.evaluation.metric import Estimate, Metric
from vaezoo.model.latent_variable_model import LatentVariableModel
from vaezoo.model.model import Model
from vaezoo.model.passes import Inference
from vaezoo.model.trace import Site, Trace

Start = Literal["prior", "posterior"]

_STEEPNESS = 4.0
"""How much closer temperatures are at both ends of the path (Wu et al. 2017, section 6)."""
_PLACES = 100
"""At how many places of the path step sizes are adapted; between them the nearest one counts."""
_WARMUP = 30


@dataclass(frozen=True)
class Annealed:
    """The result of annealed importance sampling.

    Attributes:
        log_weights: of each chain in nats, ``[C, B]``. Their exponentials are unbiased estimates
            of p(x).
        acceptance: the share of accepted proposals, ``[B]``.
    """

    log_weights: Tensor
    acceptance: Tensor

    @property
    def log_p(self) -> Tensor:
        """The estimate of log p(x), the log of the mean weight, in nats, ``[B]``."""
        return self.log_weights.logsumexp(0) - math.log(len(self.log_weights))

    @property
    def effective_sample_size(self) -> Tensor:
        """Between 1 and the number of chains, ``[B]``."""
        return (2 * self.log_weights.logsumexp(0) - (2 * self.log_weights).logsumexp(0)).exp()


def temperatures(count: int) -> list[float]:
    """The places of a path from 0 to 1 in ``count`` steps, denser at both ends (Wu et al. 2017).

    Example:
        >>> [round(beta, 3) for beta in temperatures(4)]
        [0.0, 0.105, 0.5, 0.895, 1.0]
    """
    places = torch.linspace(-1, 1, count + 1, dtype=torch.float64)
    curve = (_STEEPNESS * places).sigmoid()
    betas: list[float] = ((curve - curve[0]) / (curve[-1] - curve[0])).tolist()
    return betas


def annealed_importance_sampling(
    model: LatentVariableModel,
    batch: Batch,
    *,
    count: int,
    chains: int,
    leaps: int,
    start: Start = "prior",
) -> Annealed:
    """Estimates p(x) by annealing from p(z), or q(z|x), to p(z) p(x|z) (Neal 2001, eq. 12).

    Each temperature multiplies the weight by a part of the ratio of the end to the start of the
    path, then moves the chain by one Hamiltonian transition. Step sizes are adapted by other
    chains before, so that the weights are unbiased and the log of their mean is a stochastic
    lower bound of log p(x).

    Args:
        model: in evaluation mode. Its networks compute in fp32.
        batch: the examples.
        count: T, the number of temperatures.
        chains: C, for each example.
        leaps: the leapfrog steps of each transition.
        start: the start of the path.

    Raises:
        NotImplementedError: there is not one real latent variable, a density that is needed is
            not known, or log p(x|z) has no gradient.
    """
    with model.inference("fp32"), torch.inference_mode(False), torch.no_grad():
        inference, densities = _prepare(model, batch.map(torch.clone), chains, start)
        betas = temperatures(count)
        places = betas[1 :: max(1, count // _PLACES)]
        point = Point.at(_draw(model, inference, start), densities)
        steps = adapt_steps(point, places, densities, leaps, _WARMUP)
        point = Point.at(_draw(model, inference, start), densities)
        log_weights = torch.zeros_like(point.ratio, dtype=torch.float64)  # [C, B]
        accepted = torch.zeros_like(point.ratio)
        for t in range(1, count + 1):
            log_weights += (betas[t] - betas[t - 1]) * point.ratio.double()
            if t == count:
                break  # the last transition would change no weight
            place = min((t - 1) // max(1, count // _PLACES), len(places) - 1)
            point, moved = transition(point, betas[t], densities, steps[place], leaps)
            accepted += moved
        return Annealed(log_weights, accepted.mean(0) / max(1, count - 1))


def _prepare(
    model: LatentVariableModel, batch: Batch, chains: int, start: Start
) -> tuple[Inference, Densities]:
    """The inference of a batch, and the densities of the path."""
    _require_one_real_vector(model)
    inference = replace(model.start_inference(batch, memo={}), k=chains)
    trace = model.infer(inference)
    site = trace.sites[0]
    _require_densities(site, trace, start)
    model.infer(replace(inference, fixed={site.name: site.z}))  # refused before anything is done

    def densities(z: Tensor) -> tuple[Tensor, Tensor]:
        fixed = model.infer(replace(inference, fixed={site.name: z}))
        px = model.likelihood_of(fixed.code, fixed.context, batch.extras)
        log_likelihood = replace(fixed, px=px).log_likelihood
        log_prior = site.p.log_prob(z).expand_as(log_likelihood)
        if start == "prior":
            return log_prior, log_likelihood
        log_q = site.q.log_prob(z)
        return log_q, log_prior + log_likelihood - log_q

    return inference, densities


def _require_one_real_vector(model: LatentVariableModel) -> None:
    """Raises NotImplementedError where a model has not exactly one real latent variable."""
    if len(model.spaces) != 1:
        raise NotImplementedError(
            f"annealing needs one latent variable; the model has {len(model.spaces)}"
        )
    space = model.spaces[0]
    if space.support != "real":
        raise NotImplementedError(
            f"annealing moves along gradients in a real space; {space.name!r} is of "
            f"support {space.support!r}"
        )


def _require_densities(site: Site, trace: Trace, start: Start) -> None:
    """Raises NotImplementedError where a density that annealing needs is not known."""
    if site.mask is not None or trace.weights is not None:
        raise NotImplementedError("annealing needs a latent variable that is sampled once")
    if density_of(site.p) != "exact":
        raise NotImplementedError(
            f"the density of the prior of {site.name!r} is not known exactly"
        )
    if start == "posterior" and (density_of(site.q) != "exact" or site.log_q is not None):
        raise NotImplementedError(
            f"the density of the posterior of {site.name!r} is not known at every z; use start: "
            "prior"
        )


def _draw(model: LatentVariableModel, inference: Inference, start: Start) -> Tensor:
    """Exact samples of the start of the path, ``[C, B, *event]``."""
    site = model.infer(inference).sites[0]
    return site.prior_sample() if start == "prior" else site.z


class AIS(Metric):
    """log p(x) by annealed importance sampling (Neal 2001; Wu et al. 2017): in expectation a lower
    bound, which does not depend on the posterior q(z|x) if it starts from the prior.

    It tells how loose importance sampling (``nll``) is: give that the same ``limit``. Transitions
    are Hamiltonian, with step sizes that other chains found before, so that the bound holds. Its
    time is that of ``examples`` x ``chains`` x ``temperatures`` x ``leaps`` passes through the
    decoder and back, about 10 % more with those other chains. Defined for one real latent
    variable, such as a vector or a map, whose prior has a known density; the posterior needs none
    to start from the prior.

    Args:
        examples: how many examples to use, starting with the first; 0 for all.
        temperatures: the number of steps between start and end; more give a tighter bound.
        chains: for each example.
        leaps: leapfrog steps of each transition.
        start: the start of the path: ``prior``, or ``posterior``, which is closer to the end but
            fails where q(z|x) misses a mode.
    """

    higher_is_better = frozenset({"ais"})
    requires_exact_density = True

    def __init__(
        self,
        *,
        examples: Annotated[int, Ge(0)] = 200,
        temperatures: Annotated[int, Gt(1)] = 1000,
        chains: Annotated[int, Gt(0)] = 2,
        leaps: Annotated[int, Gt(0)] = 5,
        start: Start = "prior",
    ) -> None:
        self.examples, self.temperatures, self.chains = examples, temperatures, chains
        self.leaps, self.start = leaps, start

    def __call__(self, model: Model, data: Loader) -> Mapping[str, Estimate]:
        """``ais``: log p(x) in nats; its details have the acceptance and the effective sample size
        among the chains."""
        batches = data.ordered(model.batch_size(self.chains), self.examples or None)
        results = [
            annealed_importance_sampling(
                model,
                batch,
                count=self.temperatures,
                chains=self.chains,
                leaps=self.leaps,
                start=self.start,
            )
            for batch in batches
        ]
        log_p = torch.cat([result.log_p for result in results]).cpu()
        sizes = torch.cat([result.effective_sample_size for result in results]).double()
        acceptance = torch.cat([result.acceptance for result in results]).double()
        estimate = mean_with_error(
            log_p,
            temperatures=self.temperatures,
            chains=self.chains,
            effective_sample_size=float(sizes.mean()),
            acceptance=float(acceptance.mean()),
        )
        estimate = replace(estimate, bound="stochastic lower bound of log p(x)")
        return {"ais": note_if_not_normalised(estimate, model)}

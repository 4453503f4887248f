"""Variants for counts, tables and data of several parts against scipy, torch and closed forms.

Shapes: K samples, B examples, D columns of x, P outputs of the decoder.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
import torch
from torch.distributions import MultivariateNormal, NegativeBinomial, Normal, kl_divergence

import vaezoo
from tests.conftest import Identity, LinearDecoder, LinearPosterior, data_wiring
from vaezoo.components.joint import JointDecoder, JointEncoder, JointLikelihood
from vaezoo.components.likelihoods import CategoricalLikelihood, NormalLikelihood
from vaezoo.components.priors import StandardNormal
from vaezoo.model.model import Model
from vaezoo.spec.load import load_spec
from vaezoo.utils.errors import SpecError


@pytest.fixture(autouse=True)
def _installed(variants):
    """The package is importable."""


# --- counts --------------------------------------------------------------------------------------


def negative_binomial(mask_dims=0, **options):
    from vaezoo_variants.counts import NegativeBinomialCounts

    data = vaezoo.DataSpec((6,), "count", mask_dims=mask_dims, extras={"size": ()})
    likelihood = NegativeBinomialCounts(data_wiring(data), **options)
    with torch.no_grad():
        likelihood.log_inverse_dispersion.copy_(torch.linspace(-2, 3, 6))
    return likelihood


@pytest.mark.parametrize("link", ["softmax", "exp"])
def test_the_density_of_counts_is_that_of_scipy_and_of_torch(link):
    likelihood, h = negative_binomial(link=link).double(), torch.randn(3, 5, 6).double()
    size = torch.tensor([1.0, 30.0, 500.0, 8000.0, 0.2]).double()
    share = h.softmax(-1) if link == "softmax" else h.exp()
    mean, t = size[:, None] * share, likelihood.log_inverse_dispersion.detach().exp()
    x = NegativeBinomial(t, probs=mean / (mean + t)).sample()
    x[:, 0] = 0
    assert x.max() > 255
    px = likelihood(h, {"size": size})
    of_torch = NegativeBinomial(t, probs=mean / (mean + t)).log_prob(x).sum(-1)
    of_scipy = scipy.stats.nbinom(t.numpy(), (t / (t + mean)).numpy()).logpmf(x.numpy()).sum(-1)
    torch.testing.assert_close(px.log_prob(x), of_torch)
    torch.testing.assert_close(px.log_prob(x), torch.tensor(of_scipy))
    torch.testing.assert_close(px.mean, mean)
    torch.testing.assert_close(px.variance, mean + mean.square() / t)


def test_the_mean_is_proportional_to_the_size_of_each_example():
    likelihood, h = negative_binomial(), torch.randn(2, 4, 6)
    size = torch.tensor([10.0, 20.0, 40.0, 7.0])
    doubled = size * torch.tensor([2.0, 1.0, 1.0, 2.0])
    first, second = (likelihood(h, {"size": size}).mean for size in (size, doubled))
    torch.testing.assert_close(second[:, [0, 3]], 2 * first[:, [0, 3]])
    assert torch.equal(second[:, 1:3], first[:, 1:3])
    torch.testing.assert_close(first.sum(-1), size.expand(2, 4))


def test_hidden_counts_do_not_count():
    likelihood, h = negative_binomial(mask_dims=1), torch.randn(2, 4, 6)
    extras, mask = {"size": torch.tensor([10.0, 20.0, 40.0, 7.0])}, torch.rand(4, 6) < 0.5
    x, px = torch.randint(20, (4, 6)).float(), likelihood(h, extras)
    batch = vaezoo.Batch(torch.where(mask, x, 999.0), None, mask, extras=extras)
    log_p = likelihood.log_prob(vaezoo.Trace(None, batch, (), h, px))
    t = likelihood.log_inverse_dispersion.exp()
    probability = px.mean / (px.mean + t)
    expected = torch.where(mask, NegativeBinomial(t, probs=probability).log_prob(x), 0).sum(-1)
    torch.testing.assert_close(log_p, expected, atol=1e-4, rtol=1e-4)


def test_poisson_counts_have_the_density_of_scipy():
    from vaezoo_variants.counts import PoissonCounts

    likelihood = PoissonCounts(data_wiring(vaezoo.DataSpec((4,), "count")))
    h, x = torch.randn(2, 5, 4), torch.randint(9, (5, 4)).float()
    expected = scipy.stats.poisson(h.double().exp().numpy()).logpmf(x.numpy()).sum(-1)
    log_p = likelihood(h, {}).log_prob(x)
    torch.testing.assert_close(log_p.double(), torch.tensor(expected), atol=1e-4, rtol=1e-4)


# --- columns -------------------------------------------------------------------------------------

FIELDS = (
    vaezoo.Field("city", "categorical", (2, 5), categories=("Basel", "Genf", "Ulm")),
    vaezoo.Field("age", "numeric", (0, 1), offset=40.0, scale=12.0, unit="years"),
    vaezoo.Field("visits", "count", (1, 2)),
    vaezoo.Field("height", "numeric", (5, 6), unit="m"),
)
BLOCKS = {"age": slice(0, 1), "visits": slice(1, 2), "city": slice(2, 5), "height": slice(5, 6)}
"""The columns of x, and of the decoder's output."""


def columns(fields=FIELDS, mask_dims=1):
    """The likelihood of a table with the default likelihoods."""
    from vaezoo_variants.columns import Columns
    from vaezoo_variants.counts import PoissonCounts

    data = vaezoo.DataSpec((6,), "mixed", mask_dims=mask_dims, fields=fields)
    defaults = {
        "numeric": NormalLikelihood,
        "count": PoissonCounts,
        "categorical": CategoricalLikelihood,
    }
    return Columns(data_wiring(data), **defaults)


def rows(n=7):
    """Rows ``[n, 6]``, and a mask that hides whole cells; the first row is complete."""
    x = torch.randn(n, 6)
    x[:, 1] = torch.randint(5, (n,)).float()
    x[:, 2:5] = torch.eye(3)[torch.randint(3, (n,))]
    mask = (torch.rand(n, 4) < 0.6).repeat_interleave(torch.tensor([1, 1, 3, 1]), 1)
    mask[0] = True
    return x, mask


def score(likelihood, h, x, mask):
    """log p of rows whose decoder output is ``h`` ``[K, B, P]``."""
    trace = vaezoo.Trace(None, vaezoo.Batch(x, None, mask), (), h, likelihood(h, {}))
    return likelihood.log_prob(trace)


def log_densities(h, x):
    """The log-density of each column by scipy, ``[K, B]`` by name."""
    h, x = h.detach().double().numpy(), x.numpy()
    logits = h[..., BLOCKS["city"]]
    log_city = logits - scipy.special.logsumexp(logits, -1, keepdims=True)
    return {
        "age": scipy.stats.norm(h[..., 0], 1).logpdf(x[:, 0]),
        "visits": scipy.stats.poisson(np.exp(h[..., 1])).logpmf(x[:, 1]),
        "city": (log_city * x[:, 2:5]).sum(-1),
        "height": scipy.stats.norm(h[..., 5], 1).logpdf(x[:, 5]),
    }


def test_log_p_of_a_row_is_the_sum_over_its_observed_cells():
    likelihood, h = columns(), torch.randn(3, 7, 6)
    x, mask = rows()
    expected = sum(
        np.where(mask[:, BLOCKS[name]].all(1).numpy(), log_p, 0)
        for name, log_p in log_densities(h, x).items()
    )
    log_p = score(likelihood, h, x, mask)
    torch.testing.assert_close(log_p.double(), torch.tensor(expected), atol=1e-4, rtol=1e-4)
    assert likelihood.parameter_shape == (6,)
    complete = score(likelihood, h, x, None)
    torch.testing.assert_close(complete, score(likelihood, h, x, torch.ones_like(mask)))
    mask[0, 3] = False  # of the three columns of a category
    city = torch.tensor(log_densities(h, x)["city"][:, 0])
    partly = score(likelihood, h, x, mask)[:, 0]
    torch.testing.assert_close((partly + city).float(), complete[:, 0], atol=1e-4, rtol=1e-4)
    without_masks = columns(mask_dims=0)
    torch.testing.assert_close(score(without_masks, h, x, None), complete)


@pytest.mark.parametrize("hidden", [math.nan, math.inf, 1e9])
def test_what_a_missing_cell_holds_has_no_influence(hidden):
    likelihood = columns()
    x, mask = rows()
    results = []
    for value in (0.0, hidden):
        h = torch.linspace(-1, 1, 2 * 7 * 6).view(2, 7, 6).requires_grad_()
        log_p = score(likelihood, h, torch.where(mask, x, value), mask)
        (gradient,) = torch.autograd.grad(log_p.sum(), h)
        results.append((log_p, gradient))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("name", BLOCKS)
def test_a_cell_trains_the_outputs_of_its_column_only(name):
    likelihood, h = columns(), torch.randn(1, 7, 6, requires_grad=True)
    x, _ = rows()
    mask = torch.zeros(7, 6, dtype=torch.bool)
    mask[:, BLOCKS[name]] = True
    (gradient,) = torch.autograd.grad(score(likelihood, h, x, mask).sum(), h)
    is_used = (gradient != 0).flatten(0, 1).any(0)
    assert torch.equal(is_used, mask[0])


def test_the_distribution_of_a_row_is_that_of_its_cells_side_by_side():
    likelihood, h = columns(), torch.randn(2, 3, 6)
    px = likelihood(h, {})
    mean = px.mean
    torch.testing.assert_close(mean[..., [0, 5]], h[..., [0, 5]])
    torch.testing.assert_close(mean[..., 1], h[..., 1].exp())
    torch.testing.assert_close(mean[..., 2:5], h[..., 2:5].softmax(-1))
    mode = vaezoo.distributions.mode(px)
    torch.testing.assert_close(mode[..., 1], h[..., 1].exp().floor())
    assert torch.equal(mode[..., 2:5].argmax(-1), h[..., 2:5].argmax(-1))
    assert bool((mode[..., 2:5].sum(-1) == 1).all())
    samples = px.sample((4000,))
    assert samples.shape == (4000, 2, 3, 6)
    assert bool((samples[..., 2:5].sum(-1) == 1).all())
    assert torch.equal(samples[..., 1], samples[..., 1].round())
    errors = samples.std(0) / 4000**0.5
    assert bool(((samples.mean(0) - mean).abs() < 4.5 * errors).all())


def test_a_row_of_numbers_and_categories_has_a_temperature():
    fields = tuple(
        replace(field, kind="numeric") if field.kind == "count" else field for field in FIELDS
    )
    h = torch.randn(20_000, 6)[:1].expand(20_000, 6)
    colder = vaezoo.distributions.draw(columns(fields)(h, {}), 0.25)
    torch.testing.assert_close(colder[:, 0].var(), torch.tensor(0.25), atol=0.02, rtol=0)
    expected = (h[0, 2:5] / 0.25).softmax(-1)
    torch.testing.assert_close(colder[:, 2:5].mean(0), expected, atol=0.02, rtol=0)
    with pytest.raises(NotImplementedError, match="not defined for Poisson"):
        vaezoo.distributions.draw(columns()(h, {}), 0.25)


def test_a_column_may_have_a_likelihood_of_its_own(spec):
    likelihood = {
        "type": "columns",
        "columns": {
            "age": {"type": "normal", "scale": "predicted"},
            "visits": {"type": "vaezoo-variants:negative-binomial", "link": "exp"},
        },
        "numeric": {"type": "laplace", "scale": 0.5},
    }
    data = vaezoo.DataSpec((6,), "mixed", mask_dims=1, fields=FIELDS, extras={"size": ()})
    model = vaezoo.compose(load_spec(spec(model={"likelihood": likelihood})), data, 9).model
    x, mask = rows()
    size = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 70.0])
    batch = vaezoo.Batch(x, None, mask, extras={"size": size})
    model.likelihood.cells[1].initialise(model, batch)
    assert model.likelihood.typical_extras(2)["size"].tolist() == [4.0, 4.0]
    trace = model(batch, 2)
    h = model.decoder(trace.code.flatten(0, 1)).unflatten(0, (2, 7))
    # 2 parameters of age, visits, 3 of city, height
    mean, log_scale = h[..., 0], h[..., 1]
    rate = size * h[..., 2].exp()
    expected = {
        "age": Normal(mean, log_scale.exp()).log_prob(x[:, 0]),
        "visits": NegativeBinomial(1.0, probs=rate / (1 + rate)).log_prob(x[:, 1]),
        "city": (h[..., 3:6].log_softmax(-1) * x[:, 2:5]).sum(-1),
        "height": torch.distributions.Laplace(h[..., 6], 0.5).log_prob(x[:, 5]),
    }
    observed = {name: mask[:, block].all(1) for name, block in BLOCKS.items()}
    total = sum(torch.where(observed[name], log_p, 0) for name, log_p in expected.items())
    torch.testing.assert_close(trace.log_likelihood, total, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("fields", "likelihood", "message"),
    [
        (FIELDS[1:], "columns", "whose columns all belong to a field"),
        (
            (vaezoo.Field("city", "ordinal", (0, 1), categories=("a", "b", "c")),),
            "columns",
            "column 'city': its categories need a column of x each",
        ),
        (
            FIELDS,
            {"type": "columns", "columns": {"size": "normal"}},
            "there is no column 'size'; the columns are age, visits, city, height",
        ),
        (
            FIELDS,
            {"type": "columns", "numeric": {"type": "normal", "scale": "optimal"}},
            "scale: optimal does not support masks",
        ),
        (
            FIELDS,
            {"type": "columns", "columns": {"city": "normal"}},
            r"columns\.city: likelihood 'normal': needs .* data, but this data set is one-hot",
        ),
    ],
)
def test_columns_that_do_not_fit_are_refused(fields, likelihood, message, spec):
    width = 6 if len(fields) > 1 else 1
    data = vaezoo.DataSpec((width,), "mixed", mask_dims=1, fields=fields)
    loaded = load_spec(spec(model={"likelihood": likelihood}))
    with pytest.raises(SpecError, match=rf"model\.likelihood.*{message}"):
        vaezoo.compose(loaded, data, 100)


# --- experts -------------------------------------------------------------------------------------


class TwoViews:
    """p(z) = N(0, I), p(x_i|z) = N(A_i z + b_i, sigma_i²) of two parts, with orthogonal columns of
    each A_i, so that the posterior given any parts is diagonal."""

    sizes, sigmas = {"image": 5, "label": 3}, {"image": 0.7, "label": 0.4}

    def __init__(self, spoil=0.0):
        from vaezoo_variants.experts import ProductOfExperts, SubsetELBO

        generator = torch.Generator().manual_seed(3)
        parts = {name: vaezoo.DataSpec((size,)) for name, size in self.sizes.items()}
        data = vaezoo.DataSpec((), "joint", parts=parts)
        wiring, space = data_wiring(data), vaezoo.Space((2,))
        self.a, self.b, experts, decoders = {}, {}, [], {}
        for (name, size), sigma in zip(self.sizes.items(), self.sigmas.values(), strict=True):
            columns, _ = torch.linalg.qr(torch.randn(size, 2, generator=generator))
            a = self.a[name] = columns * torch.tensor([1.5, 0.8])
            b = self.b[name] = torch.randn(size, generator=generator)
            variance = sigma**2 / a.square().sum(0)  # of p(x_i|z) as a function of z
            weight = variance[:, None] * a.T / sigma**2
            weight = weight + spoil * torch.randn(weight.shape, generator=generator)
            experts.append(LinearPosterior(weight, -weight @ b, 0.5 * variance.log() + spoil))
            decoders[name] = LinearDecoder(a.clone(), b.clone())
        prior = StandardNormal(
            vaezoo.PriorWiring(data=data, train_size=wiring.train_size, space=space)
        )
        left = iter(experts)
        latents = vaezoo.LatentsWiring(
            **vars(wiring),
            feature_shapes=((5,), (3,), (8,)),
            space=space,
            posterior=lambda in_shape, space: next(left),
            prior=lambda space: prior,
        )
        likelihood = JointLikelihood(
            wiring,
            parts={
                name: lambda wiring, sigma=sigma: NormalLikelihood(wiring, scale=sigma)
                for name, sigma in self.sigmas.items()
            },
        )
        self.model = Model(
            data,
            latent_dim=2,
            encoder=JointEncoder(
                vaezoo.EncoderWiring(**vars(wiring), in_shape=()),
                parts=dict.fromkeys(self.sizes, lambda wiring: Identity()),
            ),
            latents=ProductOfExperts(latents),
            decoder=JointDecoder(
                vaezoo.DecoderWiring(
                    **vars(wiring),
                    in_shape=(2,),
                    out_shape=(8,),
                    part_shapes=likelihood.part_shapes,
                ),
                parts={name: lambda wiring, part=part: part for name, part in decoders.items()},
            ),
            likelihood=likelihood,
            code_shape=(2,),
        )
        self.task_wiring = vaezoo.TaskWiring(**vars(wiring), spaces=(space,))
        self.objective = lambda **options: SubsetELBO(self.task_wiring, **options)

    def marginal(self, *names):
        """The distribution of the data of some parts, side by side."""
        a, b = (torch.cat([values[name] for name in names]) for values in (self.a, self.b))
        noise = torch.cat([torch.full((self.sizes[n],), self.sigmas[n] ** 2) for n in names])
        return MultivariateNormal(b, a @ a.T + torch.diag(noise))

    def batch(self, n=16, seed=1):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            x = self.marginal(*self.sizes).sample((n,))
        return vaezoo.Batch(dict(zip(self.sizes, x.split((5, 3), 1), strict=True)))


SUBSETS = [("image", "label"), ("image",), ("label",)]


def product(normals):
    """Mean and variance of a product of normals, weighted by precision, in numpy."""
    precisions = [1 / scale.detach().double().numpy() ** 2 for _, scale in normals]
    means = [mean.detach().double().numpy() for mean, _ in normals]
    variance = 1 / sum(precisions)
    return variance * sum(p * mean for p, mean in zip(precisions, means, strict=True)), variance


@pytest.mark.parametrize("names", [*SUBSETS, ()])
def test_the_posterior_is_the_product_of_the_prior_and_the_parts_that_are_there(names):
    views = TwoViews(spoil=0.3)
    batch, experts = (
        views.batch(),
        dict(zip(views.sizes, views.model.latents.experts, strict=True)),
    )
    normals = [(torch.zeros(16, 2), torch.ones(16, 2))]
    for name in names:
        q = experts[name](batch.x[name])
        normals.append((q.loc, q.scale))
    mean, variance = product(normals)
    q = views.model.posterior(batch.only(*names))
    np.testing.assert_allclose(q.loc.detach().numpy(), mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(q.variance.detach().numpy(), variance, rtol=1e-4)


def test_examples_of_one_batch_may_lack_different_parts():
    views = TwoViews(spoil=0.3)
    batch = views.batch(6)
    present = {"image": torch.tensor([1, 1, 0, 0, 1, 0]) > 0, "label": torch.arange(6) % 2 == 0}
    q = views.model.posterior(replace(batch, present=present))
    for i in range(6):
        names = [name for name in views.sizes if present[name][i]]
        alone = views.model.posterior(batch.select(slice(i, i + 1)).only(*names))
        torch.testing.assert_close(q.loc[i], alone.loc[0])
        torch.testing.assert_close(q.scale[i], alone.scale[0])


@pytest.mark.parametrize("subsets", [0, 2])
def test_what_a_missing_part_holds_has_no_influence(subsets):
    views = TwoViews(spoil=0.3)
    objective, batch = views.objective(subsets=subsets), views.batch(6)
    batch = replace(batch, present={"label": torch.arange(6) % 2 == 0})
    there = batch.present["label"][:, None]
    results = []
    for value in (0.0, math.nan):
        label = torch.where(there, batch.x["label"], value)
        changed = replace(batch, x={**batch.x, "label": label})
        torch.manual_seed(0)
        loss = objective(objective.trace(views.model, changed))
        gradients = torch.autograd.grad(loss.sum(), list(views.model.parameters()))
        results.append((loss, *gradients))
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("names", SUBSETS)
@torch.no_grad()
def test_the_elbo_of_a_subset_is_its_log_p_for_the_exact_posterior_and_below_for_others(names):
    for spoil in (0.0, 0.3):
        views = TwoViews(spoil)
        batch = views.batch()
        log_p = views.marginal(*names).log_prob(torch.cat([batch.x[n] for n in names], 1))
        trace = views.model(batch.only(*names), 2000)
        if spoil:
            assert bool((trace.mean_elbo < log_p).all())
        else:  # every importance weight is p(x)
            torch.testing.assert_close(trace.log_weight, log_p.expand(2000, 16), rtol=0, atol=1e-3)
            errors = trace.log_likelihood.std(0) / 2000**0.5
            assert bool(((trace.mean_elbo - log_p).abs() < 4.5 * errors).all())


def elbo_by_hand(views, batch, present):
    """The ELBO of the parts that are there with one sample, and new noise."""
    normals = [(torch.zeros(len(batch), 2), torch.ones(len(batch), 2))]
    for name, expert in zip(views.sizes, views.model.latents.experts, strict=True):
        q = expert(batch.x[name])
        scale = torch.where(present[name][:, None], q.scale.double(), torch.inf)
        normals.append((q.loc, scale))
    mean, variance = (torch.tensor(value).float() for value in product(normals))
    q = Normal(mean, variance.sqrt())
    z = q.loc + q.scale * torch.randn(1, len(batch), 2)[0]
    log_p = sum(
        torch.where(
            present[name],
            Normal(z @ views.a[name].T + views.b[name], views.sigmas[name])
            .log_prob(batch.x[name])
            .sum(1),
            0,
        )
        for name in views.sizes
    )
    return log_p - kl_divergence(q, Normal(0.0, 1.0)).sum(1)


@pytest.mark.parametrize("lacks", [False, True])
def test_the_objective_is_the_sum_of_the_elbos_of_subsets(lacks):
    views = TwoViews(spoil=0.3)
    batch, everywhere = views.batch(8), torch.ones(8, dtype=torch.bool)
    present = dict.fromkeys(views.sizes, everywhere)
    if lacks:
        present = {"image": torch.arange(8) > 2, "label": torch.arange(8) % 2 == 0}
        batch = replace(batch, present=present)
    objective, nowhere = views.objective(subsets=2), ~everywhere
    torch.manual_seed(0)
    trace = objective.trace(views.model, batch)
    loss = objective(trace)
    torch.manual_seed(0)
    bound = elbo_by_hand(views, batch, present)
    total = bound + elbo_by_hand(views, batch, {**present, "label": nowhere})
    total += elbo_by_hand(views, batch, {**present, "image": nowhere})
    for _ in range(2):
        kept = {name: there & (torch.rand(8) < 0.5) for name, there in present.items()}
        total += elbo_by_hand(views, batch, kept)
    torch.testing.assert_close(loss, -total, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(objective.bound(trace), bound, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(trace.mean_elbo, bound, atol=1e-4, rtol=1e-4)


def test_random_subsets_have_each_part_with_probability_one_half():
    views = TwoViews()
    batch = replace(views.batch(4000), present={"label": torch.arange(4000) % 2 == 0})
    *_, first, second = views.objective(subsets=2).batches(batch)
    for subset in (first, second):
        image, label = (subset.present[name] for name in views.sizes)
        assert not bool((label & ~batch.present["label"]).any())
        there = batch.present["label"]
        for a, b in itertools.product((True, False), repeat=2):
            share = float(((image == a) & (label == b))[there].float().mean())
            assert abs(share - 0.25) < 4 * (0.25 * 0.75 / 2000) ** 0.5
    assert not torch.equal(first.present["image"], second.present["image"])

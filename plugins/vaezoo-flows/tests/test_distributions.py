"""Flows against the change of variables, integrals on a grid and their own samples.

Shapes: N rows of features, D latent dimensions.
"""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch.autograd.functional import jacobian
from torch.distributions import Independent, Normal
from vaezoo_flows import posteriors, priors
from vaezoo_flows.flow import Flow, normal_points
from vaezoo_flows.planar import PlanarTransform

import vaezoo
from vaezoo.distributions import density_of, draw

POSTERIORS = [
    posteriors.Planar,
    posteriors.InverseAutoregressive,
    posteriors.NeuralSpline,
]
PRIORS = [priors.RealNVP, priors.MaskedAutoregressive, priors.NeuralSpline]
DATA = {"data": vaezoo.DataSpec((6,)), "train_size": 500}


def posterior(cls, dimensions=2, noise=0.2, **options):
    """A posterior of features ``[5]``, far from the normal that it starts as."""
    torch.manual_seed(1)
    space = vaezoo.Space((dimensions,))
    small = {} if cls is posteriors.Planar else {"hidden": (16,), "context": 4}
    part = cls(vaezoo.PosteriorWiring(**DATA, in_shape=(5,), space=space), **(small | options))
    return shaken(part, noise)


def prior(cls, dimensions=2, context=None, noise=0.2, **options):
    torch.manual_seed(1)
    space = vaezoo.Space((dimensions,))
    wiring = vaezoo.PriorWiring(**DATA, space=space, context_shape=context)
    return shaken(cls(wiring, **({"hidden": (16,)} | options)), noise)


def shaken(part, noise):
    with torch.no_grad():
        for parameter in part.parameters():
            parameter += noise * torch.randn_like(parameter)
    return part.eval()


def flows(dimensions, noise=0.2):
    """One flow ``[3]`` or ``[]`` of each kind, with its name."""
    h = torch.randn(3, 5, generator=torch.Generator().manual_seed(2))
    for cls in POSTERIORS:
        yield cls.__name__, posterior(cls, dimensions, noise)(h)
    for cls in PRIORS:
        yield cls.__name__, prior(cls, dimensions, noise=noise)(None, None)
        conditional = prior(cls, dimensions, context=(5,), noise=noise)
        yield f"{cls.__name__} of a context", conditional(h, None)


def test_densities_of_samples_follow_from_the_jacobian():
    for name, flow in flows(3):
        z = flow.rsample((4,))
        known = flow.log_prob(z)
        rows = z.reshape(4, -1, 3)  # [4, batch, D]
        for row in range(rows.shape[1]):
            one = at(flow, row)
            noise = one.transform.inv(rows[0, row])
            matrix = jacobian(one.transform, noise)
            log_det = torch.linalg.slogdet(matrix).logabsdet
            log_noise = Normal(one.loc, one.scale).log_prob(noise).sum()
            expected = known.reshape(4, -1)[0, row]
            torch.testing.assert_close(
                log_noise - log_det, expected, atol=1e-4, rtol=1e-4, msg=name
            )


def at(flow, row):
    """The flow of one row of a batch; flows without a batch are their own."""
    if not flow.batch_shape:
        return flow
    one = copy.copy(flow)
    one.loc, one.scale = flow.loc[row], flow.scale[row]
    whole, shape = flow.transform, flow.loc.shape

    class OfRow:
        inv = None

        def __call__(self, noise):
            return whole(noise.expand(shape))[row]

    transform = OfRow()
    transform.inv = lambda value: whole.inv(value.expand(shape))[row]
    one.transform = transform
    return one


def test_a_density_is_the_same_with_and_without_the_sample_at_hand():
    for name, flow in flows(3):
        z = flow.rsample((6,))
        assert torch.allclose(flow.log_prob(z), flow.log_prob(z.clone()), atol=1e-4), name
        assert density_of(flow) == "exact"


def test_the_density_at_hand_is_of_the_unchanged_sample_and_has_gradients():
    for name, flow in flows(3):
        with torch.no_grad():
            z = flow.rsample((6,))
        assert flow.log_prob(z).requires_grad, name
        z = flow.rsample((6,)).detach_()
        z.mul_(2)
        torch.testing.assert_close(flow.log_prob(z), flow.log_prob(z.clone()), msg=name)
        z = flow.rsample((6,))
        z.mul_(2)
        torch.testing.assert_close(flow.log_prob(z), flow.log_prob(z.clone()), msg=name)


def test_the_density_at_hand_does_not_split_a_compiled_step():
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph

    transform = PlanarTransform(torch.ones(4, 2), torch.ones(4, 2), torch.zeros(4))
    points = normal_points(2)

    def rate(loc):
        flow = Flow(loc, torch.ones(4, 2), transform, points)
        return flow.log_prob(flow.rsample()).sum()

    torch._dynamo.reset()
    torch.compile(rate, backend=count)(torch.ones(4, 2, requires_grad=True)).backward()
    assert len(graphs) == 1


def test_densities_integrate_to_one_and_have_the_moments_of_the_samples():
    edge, steps = 9.0, 161
    line = torch.linspace(-edge, edge, steps)
    grid = torch.cartesian_prod(line, line)  # [steps², 2]
    area = (2 * edge / (steps - 1)) ** 2
    for name, flow in flows(2, noise=0.1):
        batch = flow.batch_shape
        points = grid.reshape(-1, *(1,) * len(batch), 2).expand(-1, *batch, 2)
        with torch.no_grad():
            mass = flow.log_prob(points).exp() * area  # [steps², *batch]
            samples = flow.sample((20_000,))
        assert torch.allclose(mass.sum(0), torch.ones(batch), atol=0.02), name
        for power in (1, 2):
            expected = (mass[..., None] * points**power).sum(0)
            error = (samples**power).std(0) / math.sqrt(len(samples))
            gap = ((samples**power).mean(0) - expected).abs()
            assert bool((gap < 5 * error + 0.02 * (1 + expected.abs())).all()), name


def test_the_mean_is_near_that_of_samples_and_the_same_in_every_call():
    for name, flow in flows(3):
        samples = flow.sample((20_000,))
        gap = (flow.mean - samples.mean(0)).detach().abs() / samples.std(0)
        assert float(gap.max()) < 0.1, name
        assert torch.equal(flow.mean, flow.mean)


def test_posteriors_start_as_their_normal_and_priors_as_the_standard_normal():
    h = torch.randn(4, 5)
    for cls in POSTERIORS[1:]:
        part = posterior(cls, 3, noise=0.0)
        mean, scale, _ = part._heads(h)
        q = part(h)
        z = q.sample((10,))
        normal = Independent(Normal(mean, scale), 1)
        torch.testing.assert_close(q.log_prob(z), normal.log_prob(z), atol=1e-4, rtol=1e-4)
    for cls in PRIORS:
        z = torch.randn(10, 3)
        p = prior(cls, 3, noise=0.0)(None, None)
        torch.testing.assert_close(p.log_prob(z), Normal(0.0, 1.0).log_prob(z).sum(-1))


def test_planar_transforms_are_invertible_whatever_their_parameters():
    generator = torch.Generator().manual_seed(0)
    shape = (200, 3)
    u, w = (20 * torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    u[0], w[0] = -w[1], w[1]  # w·u is far below -1
    transform = PlanarTransform(u, w, torch.randn(200, generator=generator).double())
    assert bool((transform.along > -1).all())
    z = torch.randn(shape, generator=generator, dtype=torch.float64)
    value, log_det = transform.call_and_ladj(z)
    torch.testing.assert_close(transform(transform.inv(value)), value)
    for length in (1e-5, 1.0):
        moved = (PlanarTransform(u, length * w, transform.b).u - u).norm(dim=-1)
        assert bool((moved <= u.norm(dim=-1) + 1e-9).all()), "however small w is"
    for row in (0, 7):
        one = PlanarTransform(u[row], w[row], transform.b[row])
        slope = torch.linalg.slogdet(jacobian(one, z[row]))
        torch.testing.assert_close(slope.logabsdet, log_det[row])


def test_the_inverse_of_a_planar_transform_has_gradients():
    parts = [torch.randn(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    b = torch.randn(4, dtype=torch.float64, requires_grad=True)

    def inverse(u, w, y, b):
        return PlanarTransform(u, w, b).inv(y)

    assert torch.autograd.gradcheck(inverse, (*parts, b))


def test_temperatures_scale_the_noise_and_zero_is_its_centre():
    p = prior(priors.NeuralSpline, 3)(None, None)
    assert torch.equal(draw(p, 0.0), p.transform(torch.zeros(3)))
    cold, warm = (p.transform.inv(p.tempered(t).sample((4000,))).std(0) for t in (0.25, 1.0))
    torch.testing.assert_close(cold / warm, torch.full((3,), 0.5), atol=0.05, rtol=0)


def test_one_latent_dimension_is_enough_for_all_but_couplings():
    for cls in POSTERIORS:
        assert posterior(cls, 1)(torch.randn(2, 5)).sample().shape == (2, 1)
    for cls in PRIORS[1:]:
        assert prior(cls, 1)(None, None).sample((3,)).shape == (3, 1)
    with pytest.raises(ValueError, match="two halves of the dimensions"):
        prior(priors.RealNVP, 1)


@pytest.mark.parametrize("cls", [*POSTERIORS, *PRIORS])
def test_maps_are_refused(cls):
    space = vaezoo.Space((2, 3, 3))
    wiring = (
        vaezoo.PosteriorWiring(**DATA, in_shape=(5,), space=space)
        if cls in POSTERIORS
        else vaezoo.PriorWiring(**DATA, space=space)
    )
    with pytest.raises(ValueError, match="needs latent vectors, not maps"):
        cls(wiring)

"""Posteriors without a density: a point, and anything a network makes of noise."""

from __future__ import annotations

import pytest
import torch
from vaezoo_aae.posteriors import Deterministic, Universal

import vaezoo
from vaezoo.distributions import Implicit
from vaezoo.evaluation.validation import validate
from vaezoo.utils.errors import SpecError

from .conftest import phase_optimizers, posterior_wiring, spec


def test_a_deterministic_posterior_is_one_point():
    posterior = Deterministic(posterior_wiring(5, 3))
    h = torch.randn(4, 5)
    q = posterior(h)
    assert isinstance(q, Implicit) and (q.batch_shape, q.event_shape) == ((4,), (3,))
    assert torch.equal(q.mean, posterior.linear(h))
    assert torch.equal(q.rsample((2, 6)), q.mean.expand(2, 6, 4, 3))
    with pytest.raises(NotImplementedError, match="no density"):
        q.log_prob(q.mean)


@pytest.mark.parametrize("hidden", [(), (7,), (7, 6)])
def test_a_universal_posterior_draws_fresh_noise(hidden):
    q = Universal(posterior_wiring(5, 3), noise_dim=2, hidden=hidden)(torch.randn(4, 5))
    assert (q.batch_shape, q.event_shape, q.mean.shape) == ((4,), (3,), (4, 3))
    assert q.rsample((2, 6)).shape == (2, 6, 4, 3)
    first, second = q.rsample((1,)), q.rsample((1,))
    assert not torch.allclose(first, second) and not torch.allclose(first[0], q.mean)
    assert not q.sample((2,)).requires_grad and q.rsample().requires_grad
    assert bool((q.rsample((50,)).std(0) > 0).all())
    torch.manual_seed(3)
    again = q.rsample((5,))
    torch.manual_seed(3)
    assert torch.equal(q.rsample((5,)), again)


def test_examples_get_noise_of_their_own_and_keep_their_features():
    posterior = Universal(posterior_wiring(5, 3), noise_dim=2, hidden=())
    same = posterior(torch.ones(4, 5)).rsample((1,))[0]
    assert not torch.allclose(same[0], same[1])
    linear = posterior.net[1]
    with torch.no_grad():
        linear.weight[:, 5:] = 0  # deaf to noise: what is left is a point
    h = torch.randn(4, 5)
    q = posterior(h)
    assert torch.allclose(
        q.rsample((3,)), (h @ linear.weight[:, :5].T + linear.bias).expand(3, 4, 3), atol=1e-6
    )


def test_a_universal_posterior_learns_what_no_normal_can_be():
    """Two points, 1 and -1, each half of the time; matched by the distance between sorted
    samples."""
    posterior = Universal(posterior_wiring(1, 1), noise_dim=1, hidden=(16,))
    optimizer = torch.optim.Adam(posterior.parameters(), lr=0.03)
    h, expected = torch.zeros(1, 1), torch.cat([-torch.ones(128), torch.ones(128)])
    for _ in range(150):
        loss = (posterior(h).rsample((256,)).flatten().sort().values - expected).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    z = posterior(h).sample((2000,)).flatten()
    assert (z.abs() - 1).abs().median() < 0.15
    assert (z > 0).double().mean().item() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    "posterior", ["deterministic", {"type": "universal", "noise_dim": 3, "hidden": [8]}]
)
def test_without_a_density_only_the_distortion_is_measured(posterior):
    task, _, batch = phase_optimizers(spec(posterior=posterior))
    _, terms = task(batch)
    assert "rate" not in terms and bool(terms["distortion"].isfinite().all())
    split = vaezoo.Split(batch.x, batch.condition)
    assert set(validate(task, vaezoo.Loader(split, torch.device("cpu"), 32))) == {"distortion"}


def test_selecting_by_a_bound_that_is_not_defined_is_refused(tmp_path):
    inputs = spec(train={"select": "bound", "steps": 1, "epochs": None})
    del inputs["train"]["epochs"]
    with pytest.raises(SpecError, match="use distortion or last"):
        vaezoo.run(inputs, out=tmp_path)


@pytest.mark.parametrize("posterior", ["deterministic", "universal"])
def test_models_encode_decode_and_sample(posterior):
    model = phase_optimizers(spec(posterior=posterior))[0].model.eval()
    x = torch.rand(3, 1, 8, 8)
    assert model.encode(x).shape == (3, 2)
    for result in (model.decode(model.encode(x)), model.reconstruct(x), model.sample(3, seed=1)):
        assert result.shape == (3, 1, 8, 8)
    assert torch.equal(model.encode(x), model.encode(x)) == (posterior == "deterministic")

"""The records of inference and generation, and what priors are passed by them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vaezoo.data.batch import Batch
from vaezoo.distributions import UnitNormal
from vaezoo.model.parts import Prior


class Recorded(Prior):
    """A prior that records what it is passed."""

    def __init__(self, conditional):
        super().__init__()
        self.conditional, self.calls = conditional, []

    def forward(self, context, model):
        self.calls.append((context, model))
        return UnitNormal(torch.zeros(2))


@pytest.mark.parametrize("conditional", [True, False])
def test_a_prior_is_passed_the_model_and_contexts_only_if_it_uses_them(exact, conditional):
    prior, context = Recorded(conditional), torch.randn(3, 5)
    model = exact.model
    inference = replace(model.start_inference(Batch(torch.zeros(3, 6))), prior_context=context)
    generation = replace(model.start_generation(3), prior_context=context)
    assert inference.p(prior).event_shape == (2,)
    assert generation.sample(prior).shape == (3, 2)
    for passed, passed_model in prior.calls:
        assert passed_model is model and passed is (context if conditional else None)


def test_a_prior_is_computed_once_for_a_batch_with_a_memo(exact):
    prior = Recorded(conditional=False)
    inference = exact.model.start_inference(Batch(torch.zeros(3, 6)), memo={})
    assert inference.p(prior) is replace(inference, k=7).p(prior)
    assert len(prior.calls) == 1
    other = exact.model.start_inference(Batch(torch.zeros(3, 6)))
    other.p(prior)
    other.p(prior)
    assert len(prior.calls) == 3, "without a memo, weights may have changed in between"


def test_the_posterior_of_a_batch_asks_no_prior(exact, monkeypatch):
    x = exact.data(4)
    monkeypatch.setattr(
        exact.model.latents.prior, "forward", lambda *_: pytest.fail("the prior was computed")
    )
    q = exact.model.posterior(Batch(x))
    torch.testing.assert_close(q.mean, exact.model.posterior_mean(Batch(x)))
    with pytest.raises(ValueError, match="no latent variable named 'y'; the model has z"):
        exact.model.posterior(Batch(x), "y")


def test_the_log_likelihood_of_a_code_is_that_of_the_trace(exact):
    batch = Batch(exact.data(4))
    inference = exact.model.start_inference(batch, 3)
    trace = exact.model.infer(inference)
    torch.testing.assert_close(
        inference.log_likelihood(trace.code),
        exact.model.likelihood_of(trace.code, None, {}).log_prob(batch.x),
    )


def test_a_prior_temperature_narrows_what_is_generated(exact):
    torch.manual_seed(0)
    model, codes = exact.model, []
    for temperature in (1.0, 0.25, 0.0):
        generation = model.start_generation(20_000, prior_temperature=temperature)
        codes.append(model.latents.generate(generation))
    torch.testing.assert_close(codes[1].var(0), torch.full((2,), 0.25), rtol=0.05, atol=0)
    assert not codes[2].any(), "the most probable z is 0"
    x = model.sample(5, seed=1, prior_temperature=0)
    torch.testing.assert_close(x, exact.b.expand(5, 6))

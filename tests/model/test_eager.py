"""Components that differentiate within a pass, under training, inference and scoring."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.conftest import task_wiring
from vaezoo.components.objectives import Reconstruction
from vaezoo.components.regularizers import KL
from vaezoo.data.batch import Batch
from vaezoo.data.dataset import Split
from vaezoo.data.loader import Loader
from vaezoo.evaluation.anomaly import scores
from vaezoo.evaluation.validation import validate
from vaezoo.model.component import is_eager
from vaezoo.model.objectives import Regularizer
from vaezoo.model.task import Task


class DecoderSlope(Regularizer):
    """The squared gradient of the decoder's mean with respect to the code (Ghosh et al. 2020)."""

    eager = True
    has_score = True

    def forward(self, trace):
        keep_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            code = trace.code.detach().requires_grad_()
            mean = trace.model.likelihood_of(code, trace.context, {}).mean
            (slope,) = torch.autograd.grad(mean.sum(), code, create_graph=keep_graph)
        return trace.mean(slope.square().sum(-1))

    def score(self, trace):
        return self(trace)


@pytest.fixture
def task(exact):
    wiring = task_wiring(exact.model)
    penalties = {"kl": KL(wiring), "slope": DecoderSlope(1.0)}
    return Task(exact.model, Reconstruction(wiring), penalties)


class SlopeObjective(Reconstruction):
    """The distortion and the slope of the decoder in one objective."""

    eager = True

    def trace(self, model, batch):
        trace = super().trace(model, batch)
        return replace(trace, code=trace.code + 0 * DecoderSlope(1.0)(trace)[None, :, None])


def test_an_eager_objective_is_validated(exact):
    wiring = task_wiring(exact.model)
    task = Task(exact.model, SlopeObjective(wiring), {"kl": KL(wiring)})
    assert is_eager(task) and not task.model.eager
    result = validate(task, Loader(Split(exact.data(7)), torch.device("cpu"), 4))
    assert result["elbo"] == pytest.approx(-result["distortion"] - result["rate"])


def test_only_what_contains_an_eager_component_is_eager(task):
    assert is_eager(task) and not task.model.eager and not is_eager(task.model)


def test_its_gradient_reaches_the_decoder_and_not_the_encoder(task, exact):
    expected = exact.a.sum(0).square().sum()
    trace = task.model(Batch(exact.data(5)), 3)
    penalty = task.regularizers["slope"](trace)
    torch.testing.assert_close(penalty, expected.expand(5))
    penalty.mean().backward()
    torch.testing.assert_close(task.model.decoder.loading.grad, 2 * exact.a.sum(0).expand(6, 2))
    assert all(p.grad is None for p in task.model.latents.parameters())


def test_an_eager_critic_scores(task, exact):
    data = Loader(Split(exact.data(7)), torch.device("cpu"), 4)
    slope = task.regularizers["slope"]
    torch.testing.assert_close(
        scores(task.model, data, "critic", 2, critics=[slope]),
        exact.a.sum(0).square().sum().double().expand(7),
    )
    with task.model.inference(others=[slope]):
        assert not torch.is_inference_mode_enabled() and not torch.is_grad_enabled()
    with task.model.inference():
        assert torch.is_inference_mode_enabled()

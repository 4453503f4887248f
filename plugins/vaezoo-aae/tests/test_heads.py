"""A category and a style side by side, and supervision where a label is known."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import OneHotCategorical
from vaezoo_aae.heads import CategoryAndStyle, Simplex, Supervised, category_logits
from vaezoo_aae.posteriors import Deterministic

import vaezoo
from vaezoo.distributions import Implicit
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.testing import check_spec
from vaezoo.utils.errors import SpecError

from .conftest import latents_wiring, phase_optimizers, snapshot, spec, trace, wiring

CRITIC = {"type": "adversarial", "hidden": [16]}
FEW = {"type": "few-labels", "keep": 5, "batch_size": 64}
both = pytest.mark.parametrize("head", ["concat", "add"])


def headed(head="concat", classes=10, **more):
    return {
        "latents": {"type": "category-and-style", "classes": classes, "head": head},
        "latent_dim": 3,
        **more,
    }


def build(**options):
    class Normal(vaezoo.Prior):
        def __init__(self, wiring, /):
            super().__init__()

        def forward(self, context, model):
            return torch.distributions.MultivariateNormal(
                torch.zeros(3), torch.eye(3), validate_args=False
            )

    wiring = latents_wiring(((6, 4), (5,)), 3, Deterministic, Normal)
    return CategoryAndStyle(wiring, **options)


def simplex(log_q):
    """A site whose category has these log-probabilities."""
    q = Simplex(log_q)
    p = OneHotCategorical(logits=torch.zeros(log_q.shape[-1]))
    return vaezoo.Site("category", q.rsample((1,)), q, p)


@both
def test_two_sites_and_one_code(head):
    latents = build(classes=4, head=head)
    features = torch.randn(7, 6, 4), torch.randn(7, 5)
    batch = vaezoo.Batch(torch.zeros(7, 1, 8, 8))
    (y, z), code = latents.infer(vaezoo.Inference(None, batch, features, k=2))
    assert (y.z.shape, z.z.shape) == ((2, 7, 4), (2, 7, 3))
    assert torch.allclose(y.z[1], latents.category(features[1]).softmax(-1))
    assert torch.equal(z.z[0], latents.posterior(features[1]).mean)
    expected = (
        torch.cat([y.z, z.z], -1) if head == "concat" else y.z @ latents.heads.weight.T + z.z
    )
    assert torch.allclose(code, expected)
    assert not y.has_density
    real = y.prior_sample()
    assert (
        real.shape == y.z.shape
        and bool((real.sum(-1) == 1).all())
        and real.unique().tolist() == [0, 1]
    )


@both
def test_codes_are_drawn_from_one_hot_categories_and_styles(head):
    latents = build(classes=4, head=head)
    code = latents.generate(vaezoo.Generation(None, 4000))
    if head == "concat":
        y, z = code.split([4, 3], -1)
        assert bool((y.sum(-1) == 1).all()) and y.unique().tolist() == [0, 1]
        assert torch.allclose(y.mean(0), torch.full((4,), 0.25), atol=0.03)
        assert torch.allclose(z.std(0), torch.ones(3), atol=0.05)
    else:
        centres = (
            latents.heads.weight
        )  # [D, classes]: the heads lie apart by more than a style of std 0 would
        assert code.shape == (4000, 3)
        assert torch.allclose(code.mean(0), centres.mean(1), atol=0.06)


@both
def test_a_latent_vector_is_category_before_style(head):
    task, _, batch = phase_optimizers(spec(regularizers=[CRITIC], **headed(head)))
    model = task.model.eval()
    z = model.encode(batch.x)
    assert z.shape == (64, 13) and torch.allclose(z[:, :10].sum(-1), torch.ones(64))
    assert torch.allclose(model.decode(z), model.reconstruct(batch.x), atol=1e-6)
    assert model.interpolate(batch.x[:4], batch.x[4:8], 3).shape == (4, 3, 1, 8, 8)
    assert model.sample(5).shape == (5, 1, 8, 8)
    other = torch.cat([z[:, :10].roll(1, -1), z[:, 10:]], -1)
    assert not torch.allclose(model.decode(other), model.decode(z)), (
        "the category reaches the decoder"
    )
    with pytest.raises(ValueError, match=r"10 \+ 3 numbers, y before z, not 3"):
        model.decode(z[:, 10:])


@both
@pytest.mark.parametrize("posterior", ["deterministic", "universal", "diagonal-normal"])
def test_contracts_hold(head, posterior):
    inputs = spec(
        regularizers=[CRITIC, {"type": "supervised", "weight": 2.0}], data=FEW, **headed(head)
    )
    inputs["model"]["posterior"] = posterior
    check_spec(inputs)


def test_a_conditional_prior_of_style_is_given_its_context():
    condition = {"type": "one-hot-label", "into": ["prior"]}
    inputs = spec(regularizers=[CRITIC], prior="ring", condition=condition, **headed())
    check_spec(inputs)
    model = prepare_training(load_spec(inputs), torch.device("cpu"))[2][0].model
    context = torch.eye(10)[[0]].expand(500, 10)
    codes = model.latents.generate(model.start_generation(500, context))
    assert torch.allclose(codes[:, 10:].mean(0), torch.tensor([2.0, 0, 0]), atol=0.2)


def test_supervision_is_the_mean_cross_entropy_of_known_labels():
    logits, label = torch.randn(6, 10), torch.tensor([3, -1, 0, 9, -1, -1])
    result = Supervised(wiring())(trace(simplex(logits), condition=label))
    assert result.shape == (6,)
    known = label >= 0
    assert result.mean().item() == pytest.approx(
        F.cross_entropy(logits[known], label[known]).item(), rel=1e-5
    )
    assert torch.equal(result[~known], torch.zeros(3))
    assert torch.allclose(
        result[known], 2 * F.cross_entropy(logits[known], label[known], reduction="none")
    )


def test_unknown_labels_change_neither_value_nor_gradient():
    logits, label = torch.randn(6, 10), torch.tensor([3, -1, 0, 9, -1, -1])
    other = torch.where((label < 0)[:, None], 10 * torch.randn(6, 10), logits)
    values, gradients = [], []
    for case in (logits, other):
        case = case.clone().requires_grad_()
        value = Supervised(wiring())(trace(simplex(case), condition=label)).mean()
        value.backward()
        values.append(value.item())
        gradients.append(case.grad)
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    assert bool((gradients[0][label < 0] == 0).all()) and bool(
        (gradients[0][label >= 0] != 0).any()
    )
    assert torch.allclose(*gradients)


@pytest.mark.parametrize("unknown", [0, 8, 72])
def test_its_scale_does_not_depend_on_the_share_of_labelled_examples(unknown):
    logits, label = torch.randn(8, 10), torch.randint(10, (8,))
    rest, hidden = torch.randn(unknown, 10), torch.full((unknown,), -1)
    result = Supervised(wiring())(
        trace(simplex(torch.cat([logits, rest])), condition=torch.cat([label, hidden]))
    )
    assert result.mean().item() == pytest.approx(F.cross_entropy(logits, label).item(), rel=1e-5)


def test_a_batch_without_any_label_costs_nothing():
    logits = torch.randn(5, 10, requires_grad=True)
    result = Supervised(wiring())(trace(simplex(logits), condition=torch.full((5,), -1)))
    result.sum().backward()
    assert torch.equal(result.detach(), torch.zeros(5)) and torch.equal(
        logits.grad, torch.zeros(5, 10)
    )


def test_a_category_that_is_sure_and_wrong_has_a_finite_cost():
    logits = torch.tensor([[0.0, 300.0]], requires_grad=True)
    result = Supervised(wiring(classes=2))(trace(simplex(logits), condition=torch.tensor([0])))
    result.sum().backward()
    assert result.item() == pytest.approx(300) and torch.allclose(
        logits.grad, torch.tensor([[-1.0, 1.0]])
    )


def test_supervision_trains_the_head_and_the_encoder_alone():
    task, _, batch = phase_optimizers(
        spec(regularizers=[CRITIC, "supervised"], data=FEW, **headed())
    )
    task.regularizers["supervised"](task.model(batch)).sum().backward()
    moved = {name for name, parameter in task.named_parameters() if parameter.grad is not None}
    assert moved == {
        name for name in moved if name.startswith(("model.encoder.", "model.latents.category."))
    }
    assert {"model.latents.category.weight", "model.latents.category.bias"} < moved


def test_supervision_beside_a_critic_weighs_as_it_says():
    task, result, batch = phase_optimizers(
        spec(regularizers=[CRITIC, {"type": "supervised", "weight": 4.0}], data=FEW, **headed())
    )
    loss, terms = task(batch)
    assert torch.allclose(
        loss, terms["distortion"] + terms["adversarial"] + 4 * terms["supervised"], atol=1e-4
    )
    before = snapshot(task)
    for phase_optimizer in result.values():
        phase_optimizer.step(batch, len(batch), measure_norm=False)
    assert not any(torch.equal(before[name], value) for name, value in task.named_parameters())


def test_other_posteriors_over_categories_are_heads_too():
    logits = torch.randn(4, 10)
    q = OneHotCategorical(logits=logits)
    style = vaezoo.Site("style", torch.zeros(1, 4, 2), Implicit(torch.zeros(4, 2)), q)
    samples = vaezoo.Site("category", q.sample((1,)), q, q)
    assert torch.allclose(category_logits((style, samples)), logits.log_softmax(-1), atol=1e-6)
    with pytest.raises(NotImplementedError, match="no categorical head"):
        category_logits((style,))


def test_supervision_without_labels_or_with_too_small_a_head_is_refused(tmp_path):
    with pytest.raises(ValueError, match="needs a label for each example"):
        Supervised(wiring(classes=0))
    few = trace(simplex(torch.randn(4, 9)), condition=torch.zeros(4, dtype=torch.int64))
    with pytest.raises(ValueError, match="a head of at least 10 classes, not 9"):
        Supervised(wiring())(few)
    with pytest.raises(SpecError, match="use latents category-and-style"):
        phase_optimizers(spec(regularizers=["supervised"]))


@pytest.mark.parametrize("options", [{"classes": 1}, {"head": "beside"}])
def test_options_have_bounds(options):
    with pytest.raises(SpecError, match=rf"model\.latents\.{next(iter(options))}"):
        load_spec(spec(latents={"type": "category-and-style", **options}))

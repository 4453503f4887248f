"""Conditioners and fusion: what reaches the model, and what does when nothing is given."""

from __future__ import annotations

import itertools

import pytest
import torch
from vaezoo_cvae.conditioners import Attributes, Image, Label
from vaezoo_cvae.priors import ConditionalNormal

import vaezoo
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.testing import check_spec
from vaezoo.utils.errors import SpecError


def wiring(*shape_and_support, **conditions):
    """The wiring of a conditioner; the arguments are those of the ``DataSpec``."""
    return vaezoo.Wiring(data=vaezoo.DataSpec(*shape_and_support, **conditions), train_size=100)


def prior_wiring(latent_dim, context_shape):
    """The wiring of a prior of one latent vector."""
    return vaezoo.PriorWiring(
        data=LABELLED.data,
        train_size=100,
        context_shape=context_shape,
        space=vaezoo.Space((latent_dim,)),
    )


LABELLED = wiring((1, 8, 8), "unit", classes=tuple("abc"), condition_shape=())
NAMED = wiring(
    (4,),
    condition_shape=(2,),
    condition_fields=(
        vaezoo.Field("color", "categorical", (0, 1), categories=("red", "blue")),
        vaezoo.Field("size", "numeric", (1, 2)),
    ),
)
PICTURED = wiring((1, 8, 8), "unit", condition_shape=(2, 8, 8))


def spec(condition, **changes):
    model = {
        "latent_dim": 3,
        "encoder": "mlp",
        "decoder": "mlp",
        "likelihood": "continuous-bernoulli",
    }
    return {
        "spec": "vaezoo/v1",
        "name": "conditional",
        "data": {"type": "digits", "batch_size": 32},
        "model": {**model, "condition": condition, **changes},
        "train": {"epochs": 1, "optimizer": {"type": "sgd", "lr": 1e-4}},
    }


def test_a_label_is_one_hot_or_embedded():
    label = torch.tensor([2, 0])
    assert Label(LABELLED)(label).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert Label(LABELLED, embedding=5)(label).shape == (2, 5)


def test_attributes_are_one_hot_or_numbers():
    result = Attributes(NAMED)(torch.tensor([[1.0, 0.5], [0.0, -2.0]]))
    assert result.tolist() == [[0, 1, 0.5], [1, 0, -2]]
    fields = (  # in any order, one of them one-hot, and a column without a name
        vaezoo.Field("digit", "categorical", (3, 4), categories=("7", "8", "9")),
        vaezoo.Field("color", "categorical", (1, 3), categories=("red", "blue")),
    )
    mixed = wiring((4,), condition_shape=(4,), condition_fields=fields)
    assert Attributes(mixed)(torch.tensor([[0.5, 0, 1, 2]])).tolist() == [[0.5, 0, 1, 0, 0, 1]]
    multi_hot = wiring((4,), condition_shape=(3,))
    assert Attributes(multi_hot)(torch.tensor([[1.0, 0.0, 1.0]])).tolist() == [[1, 0, 1]]


def test_an_image_gives_a_map_or_a_vector():
    image = torch.rand(4, 2, 8, 8)
    assert Image(PICTURED, channels=(3, 5))(image).shape == (4, 5, 2, 2)
    assert Image(PICTURED, channels=(3,), hidden=(7,))(image).shape == (4, 7)
    assert Image(PICTURED, channels=(), hidden=(7,))(image).shape == (4, 7)
    with pytest.raises(ValueError, match="too small for 4 layers"):
        Image(PICTURED, channels=(2, 2, 2, 2))


@pytest.mark.parametrize(
    ("cls", "unsuited"), [(Label, NAMED), (Attributes, LABELLED), (Image, LABELLED)]
)
def test_a_condition_of_another_kind_is_refused(cls, unsuited):
    with pytest.raises(ValueError, match="needs data whose condition is"):
        cls(unsuited)


def test_dropout_leaves_the_stated_share_out_and_none_in_evaluation():
    conditioner = Label(LABELLED, dropout=0.25)
    torch.nn.init.constant_(conditioner.null, 7.0)
    labels = torch.zeros(40_000, dtype=torch.int64)
    dropped = (conditioner(labels)[:, 0] == 7).double().mean()
    assert abs(dropped - 0.25) < 0.01
    assert not (conditioner.eval()(labels) == 7).any()
    assert (conditioner.unconditional_context(3) == 7).all() and conditioner.unconditional_context(
        3
    ).shape == (3, 3)


def test_an_unknown_label_counts_as_absent():
    conditioner = Label(LABELLED, dropout=0.1).eval()
    torch.nn.init.constant_(conditioner.null, 7.0)
    assert conditioner(torch.tensor([-1, 1])).tolist() == [[7, 7, 7], [0, 1, 0]]


def test_without_dropout_a_model_cannot_do_without_its_condition():
    with pytest.raises(ValueError, match="give a condition"):
        Label(LABELLED).unconditional_context(2)


def test_a_conditional_prior_starts_at_the_unit_normal_and_has_one_normal_for_each_context():
    prior = ConditionalNormal(prior_wiring(3, (2,)))
    p = prior(torch.randn(5, 2), None)
    assert p.batch_shape == (5,) and p.event_shape == (3,)
    torch.testing.assert_close(p.log_prob(torch.zeros(3)), torch.full((5,), -1.5 * 1.8378771))
    with pytest.raises(ValueError, match="prior in its `into`"):
        ConditionalNormal(prior_wiring(3, None))


def test_the_scales_of_a_conditional_prior_have_limits():
    context = torch.tensor([[-1e4], [-30.0], [0.5], [30.0], [1e4]])  # the log-scale itself
    scales = []
    for options in ({}, {"minimum": None, "maximum": None}):
        prior = ConditionalNormal(prior_wiring(1, (1,)), hidden=[], **options)
        torch.nn.init.ones_(prior.out.weight)
        scales.append(prior(context, None).log_scale)
    limits = torch.tensor([[-5.0], [-5.0], [0.5], [20.0], [20.0]])
    torch.testing.assert_close(scales[0], limits, atol=0.1, rtol=0)
    assert bool((scales[0] >= -5).all()) and bool((scales[0] <= 20).all())
    assert torch.equal(scales[1], context)


PLACES = [["encoder"], ["decoder"], ["encoder", "prior", "decoder"]]


@pytest.mark.parametrize(
    ("into", "fuse"), list(itertools.product(PLACES, ["concat", "film"])), ids=str
)
def test_a_label_goes_into_every_part_of_vectors_and_maps(into, fuse):
    prior = "conditional-normal" if "prior" in into else "standard-normal"
    check_spec(spec({"type": "label", "into": into, "fuse": fuse, "embedding": 4}, prior=prior))
    conv = {
        "encoder": {"type": "conv", "channels": [4, 8]},
        "decoder": {"type": "conv", "channels": [8, 4]},
    }
    check_spec(
        spec({"type": "label", "into": into, "fuse": fuse, "dropout": 0.5}, prior=prior, **conv)
    )


@pytest.mark.parametrize("into", PLACES, ids=str)
def test_the_condition_changes_what_it_goes_into_and_nothing_else(into):
    prior = "conditional-normal" if "prior" in into else "standard-normal"
    loaded = load_spec(spec({"type": "label", "into": into}, prior=prior))
    _, train, (task,) = prepare_training(loaded, torch.device("cpu"))
    model, batch = task.model.eval(), train.first(8)
    if "prior" in into:
        torch.nn.init.normal_(model.latents.prior.out.weight)
    labels = torch.full((8,), 1), torch.full((8,), 2)
    one, other = (model.context(label, 8) for label in labels)
    inferences = [model.start_inference(vaezoo.Batch(batch.x, label)) for label in labels]
    means = [model.latents.posterior_mean(inference) for inference in inferences]
    assert torch.equal(*means) == ("encoder" not in into)
    z = torch.randn(8, 3)
    assert torch.equal(*(model.likelihood_of(z, c, {}).mean for c in (one, other))) == (
        "decoder" not in into
    )
    contexts = [model.prior_context(c) for c in (one, other)]
    assert (contexts[0] is None) == ("prior" not in into)
    if "prior" in into:
        assert not torch.equal(*(model.latents.prior(c, model).mean for c in contexts))


def test_a_prior_without_use_for_a_condition_is_refused_at_composition():
    with pytest.raises(
        SpecError, match=r"model\.prior: prior 'standard-normal' cannot use a condition"
    ):
        prepare_training(
            load_spec(spec({"type": "label", "into": ["prior"]})), torch.device("cpu")
        )


def test_a_conditional_prior_without_condition_is_refused_at_composition():
    plain = spec({"type": "label", "into": ["encoder"]}, prior="conditional-normal")
    with pytest.raises(SpecError, match="needs a condition"):
        prepare_training(load_spec(plain), torch.device("cpu"))


@pytest.mark.parametrize("objective", ["reconstruction", {"type": "iwae", "samples": 3}])
@pytest.mark.parametrize("fuse", ["concat", "film"])
def test_images_condition_images_as_maps(objective, fuse):
    condition = {
        "type": "image",
        "channels": [4],
        "into": ["encoder", "prior", "decoder"],
        "fuse": fuse,
    }
    conv = {
        "encoder": {"type": "conv", "channels": [4, 8]},
        "decoder": {"type": "conv", "channels": [8, 4]},
    }
    halves = spec(condition, prior="conditional-normal", **conv) | {"objective": objective}
    halves["data"] = {
        "type": "quadrants",
        "source": "digits",
        "observed_quadrants": 2,
        "batch_size": 16,
    }
    check_spec(halves)

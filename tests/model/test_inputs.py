"""Examples that users pass in, as input of a model: what is in a batch decides nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import vaezoo
from vaezoo.data.batch import Batch
from vaezoo.data.dataspec import DataSpec
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.utils.devices import pick_device
from vaezoo.utils.errors import DataError, UsageError

SHAPE = (1, 2, 2)
PARTS = DataSpec(
    (),
    "joint",
    parts={"image": DataSpec(SHAPE, "unit", pixels=True), "note": DataSpec((3,))},
    extras={"weight": (), "place": (2,)},
)
DIM = torch.tensor([[[[0, 1], [1, 0]]]], dtype=torch.uint8)  # a nearly black image, [1, 1, 2, 2]
BRIGHT = torch.full_like(DIM, 255)


@pytest.fixture
def model(exact):
    """Makes a model that knows its data only."""

    def make(*arguments, **options):
        exact.model.data = DataSpec(*arguments, **options)
        return exact.model

    return make


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "int64"])
@pytest.mark.parametrize("support", ["unit", "binary", "real"])
def test_a_dim_image_is_read_alike_alone_and_beside_a_bright_one(support, dtype, model):
    prepare = model(SHAPE, support, pixels=True).prepare
    dim, bright = (x.numpy().astype(dtype) for x in (DIM, BRIGHT))
    alone, both = prepare(dim), prepare(torch.as_tensor(np.concatenate([dim, bright])))
    assert torch.equal(alone, DIM / 255) and torch.equal(both, torch.cat([alone, BRIGHT / 255]))
    assert alone.dtype == torch.float32


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int64"])
@pytest.mark.parametrize("support", ["binary", "unit", "one-hot"])
def test_integers_that_are_no_pixels_stay_as_they_are(support, dtype, model):
    prepare, x = model(SHAPE, support).prepare, DIM.numpy().astype(dtype)
    assert torch.equal(prepare(x), DIM.float()) and prepare(x).dtype == torch.float32
    assert torch.equal(prepare(0 * x), torch.zeros(1, *SHAPE))


@pytest.mark.parametrize("pixels", [True, False])
@pytest.mark.parametrize("dtype", ["bool", "float16", "float32", "float64"])
def test_truth_values_and_fractions_stay_as_they_are(pixels, dtype, model):
    prepare = model(SHAPE, "unit", pixels=pixels).prepare
    x = (DIM.numpy() / 2).astype(dtype)
    assert np.array_equal(prepare(x).numpy(), x) and prepare(x).dtype == torch.float32


@pytest.mark.parametrize(
    ("pixels", "low", "high"), [(True, 0, 256), (True, -1, 9), (False, 0, 2), (False, -1, 0)]
)
def test_integers_out_of_range_are_refused(pixels, low, high, model):
    x = torch.tensor([low, high])[:, None, None, None].expand(2, *SHAPE)
    message = f"expected integers from 0 to {255 if pixels else 1}, got {low} to {high}; pass"
    for support in ("binary", "unit", "one-hot"):
        with pytest.raises(ValueError, match=message):
            model(SHAPE, support, pixels=pixels).prepare(x)


@pytest.mark.parametrize("support", ["real", "count", "mixed", "some:thing"])
def test_integers_of_unbounded_data_are_numbers(support, model):
    prepare = model((3,), support).prepare
    assert prepare(torch.tensor([[-7, 0, 900]])).tolist() == [[-7, 0, 900]]
    assert prepare(torch.tensor([[0, 1, 200]], dtype=torch.uint8)).tolist() == [[0, 1, 200]]


def test_no_examples_are_no_error(model):
    assert model(SHAPE, "unit").prepare(np.zeros((0, *SHAPE), int)).shape == (0, *SHAPE)


def test_sequences_have_any_number_of_steps(model):
    prepare = model((6, 2), variable_length=True, mask_dims=1).prepare
    assert prepare(torch.zeros(3, 9, 2)).shape == (3, 9, 2)
    with pytest.raises(ValueError, match=r"expected examples of shape \(6, 2\), got \(9, 3\)"):
        prepare(torch.zeros(3, 9, 3))


@pytest.fixture
def composed_model():
    """Composes the model of a spec."""

    def make(spec):
        _, _, (task,) = prepare_training(load_spec(spec), pick_device("cpu"))
        return task.model

    return make


@pytest.fixture
def parted(exact):
    exact.model.data = PARTS
    return exact.model


def test_each_part_is_read_as_its_data(parted):
    x = {"note": np.array([[1, 2, 300]]), "image": DIM}  # in any order
    prepared = parted.prepare(x)
    assert [*prepared] == ["image", "note"]
    assert torch.equal(prepared["image"], DIM / 255) and prepared["note"].tolist() == [[1, 2, 300]]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ({"image": DIM}, "expected a mapping with the parts image, note of each example"),
        ({"image": DIM, "note": torch.zeros(1, 3), "sound": DIM}, "with the parts image, note"),
        (DIM, "expected a mapping with the parts image, note"),
        (
            {"image": DIM[0], "note": torch.zeros(1, 3)},
            "part 'image': expected .*, got one example",
        ),
        ({"image": 2 * BRIGHT.long(), "note": torch.zeros(1, 3)}, "part 'image': expected integ"),
    ],
)
def test_parts_that_are_not_those_of_the_data_are_refused(x, message, parted):
    with pytest.raises(ValueError, match=message):
        parted.prepare(x)


def test_parts_are_refused_where_the_data_has_none(model):
    with pytest.raises(ValueError, match="expected one tensor: the data of this model has no par"):
        model(SHAPE, "unit").prepare({"image": DIM})


def test_a_batch_brings_all_that_belongs_to_it(parted):
    batch = Batch(
        {"image": torch.cat([DIM, BRIGHT]), "note": torch.zeros(2, 3)},
        torch.tensor([4, 5]),
        {"note": torch.eye(2, 3) > 0},
        extras={"weight": torch.tensor([1.0, 2.0])},
        index=torch.tensor([7, 8]),
        present={"image": torch.tensor([True, False])},
    )
    first, second = parted.batches(batch, size=1)
    expected = Batch(
        {"image": BRIGHT / 255, "note": torch.zeros(1, 3)},
        torch.tensor([5]),
        {"note": torch.eye(2, 3)[1:] > 0},
        extras={"weight": torch.tensor([2.0])},
        index=torch.tensor([8]),
        present={"image": torch.tensor([False])},
    )
    torch.testing.assert_close(vars(second), vars(expected))
    assert torch.equal(first.x["image"], DIM / 255)


def test_a_batch_has_its_condition_and_mask_itself(model):
    built, batch = model((6,)), Batch(torch.zeros(2, 6))
    for beside in ({"condition": torch.zeros(2)}, {"mask": torch.ones(2, 6) > 0}):
        for call in (built.encode, built.reconstruct, built.log_likelihood):
            with pytest.raises(ValueError, match="a batch has its own condition and mask"):
                call(batch, **beside)
        with pytest.raises(ValueError, match="a batch has its own condition and mask"):
            next(built.batches(batch, **beside))


NOTES = {"image": torch.zeros(2, *SHAPE), "note": torch.zeros(2, 3)}


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (Batch({**NOTES, "note": torch.zeros(1, 3)}), "different lengths: image 2, note 1"),
        (Batch(NOTES, present={"notes": [1, 0]}), "'notes', which is no part of the data"),
        (Batch(NOTES, present={"note": [1]}), r"present\['note'\] must be \[2\], not \(1,\)"),
        (
            Batch(NOTES, None, {"notes": torch.ones(2, 3)}),
            "a mask names 'notes', which is no part",
        ),
        (Batch(NOTES, None, torch.ones(2, 3)), "a mask is a mapping by part exactly where"),
        (Batch(NOTES, None, {"note": torch.ones(2, 2)}), r"mask \(2, 2\) does not fit examples"),
        (Batch(NOTES, extras={"wieght": [1, 2]}), "no extra 'wieght'; it has weight, place"),
        (Batch(NOTES, extras={"weight": [1.0]}), r"'weight' must have the shape \(2,\) for 2"),
        (Batch(NOTES, extras={"place": [1.0, 2.0]}), r"'place' must have the shape \(2, 2\)"),
    ],
)
def test_what_belongs_to_examples_must_fit_them(batch, message, parted):
    with pytest.raises(ValueError, match=message):
        next(parted.batches(batch))


def test_numbers_in_any_form_belong_to_examples(parted):
    present, weight = np.array([1, 0]), [0.5, 2]
    batch = next(
        parted.batches(Batch(NOTES, present={"note": present}, extras={"weight": weight}))
    )
    assert batch.has("note").tolist() == [True, False]
    assert batch.extras["weight"].tolist() == weight
    for generate in (
        parted.sample,
        lambda n, extras: parted.decode(torch.zeros(n, 2), extras=extras),
    ):
        with pytest.raises(ValueError, match="no extra 'size'"):
            generate(2, extras={"size": weight})


def test_a_part_without_data_is_missing_in_all_examples(parted):
    batch = next(parted.batches({"note": torch.ones(2, 3)}))
    assert batch.has("image").tolist() == [False, False] and batch.has("note") is None
    assert batch.x["image"].shape == (2, *SHAPE)
    for x in ({}, {"sound": torch.ones(2, 3)}):
        with pytest.raises(ValueError, match="expected some of the parts image, note, got"):
            next(parted.batches(Batch(x)))


def test_an_example_that_is_not_finite_is_an_error_that_names_it(model):
    built, x = model((6,)), torch.zeros(2, 6)
    x[1, 3] = torch.nan
    for call in (built.encode, built.reconstruct, built.log_likelihood):
        with pytest.raises(DataError, match="x of example 1 is nan"):
            call(x)
        with pytest.raises(UsageError, match="expected at least one example, got none"):
            call(x[:0])
        hidden = torch.ones(2, 6) > 0
        hidden[1, 3] = False
        with pytest.raises(DataError, match="x of example 0 is inf"):
            call(torch.where(hidden, torch.inf, x), mask=hidden)


def test_what_is_hidden_or_missing_may_be_anything(parted):
    note = torch.tensor([[1.0, torch.nan, 3.0], [torch.inf] * 3])
    batch = Batch(
        {"image": BRIGHT.repeat(2, 1, 1, 1), "note": note},
        mask={"note": torch.tensor([[True, False, True], [True] * 3])},
        present={"note": torch.tensor([True, False])},
    )
    assert len(next(parted.batches(batch))) == 2
    for changes, says in (
        ({"mask": None}, "note of example 0 is nan"),
        ({"present": None}, "note of example 1 is inf"),
        ({"extras": {"weight": [1.0, torch.nan]}}, "weight of example 1 is nan"),
    ):
        with pytest.raises(DataError, match=says):
            next(parted.batches(replace(batch, **changes)))


def test_what_the_likelihood_has_no_density_for_is_refused(spec, composed_model):
    grey = torch.full((3, 1, 8, 8), 0.5)
    for likelihood, permits in (("bernoulli", False), ("normal", True)):
        built = composed_model(spec(data={"type": "digits"}, model={"likelihood": likelihood}))
        built.encode(grey)
        bright = grey.clone()
        bright[2, 0, 0, 0] = 1.5
        for call in (built.encode, built.log_likelihood, built.reconstruct):
            if permits:
                call(bright)
                continue
            with pytest.raises(DataError, match="x of example 2 must be numbers from 0 to 1"):
                call(bright)


def test_calls_without_examples_say_so(spec, composed_model):
    built = composed_model(spec(data={"type": "digits"}))
    for n in (0, -1):
        with pytest.raises(UsageError, match=f"expected at least one example, got {n}"):
            built.sample(n)
    with pytest.raises(UsageError, match="expected at least one code, got none"):
        built.decode(torch.zeros(0, built.latent_dim))
    with pytest.raises(UsageError, match="samples must be at least 1, not 0"):
        built.log_likelihood(torch.zeros(2, 1, 8, 8), samples=0)
    with pytest.raises(ValueError, match=r"got one example; add a first dimension: x\[None\]"):
        built.encode(torch.zeros(1, 8, 8))
    z = torch.zeros(2, built.latent_dim)
    z[1, 0] = torch.nan
    with pytest.raises(DataError, match="z of example 1 is nan"):
        built.decode(z)
    conditional = vaezoo.load("cvae-mnist")
    with pytest.raises(UsageError, match="expected at least one example, got -1"):
        conditional.sample(-1, condition=9)
    with pytest.raises(ValueError, match=r"not \(\); one condition for all is an int or text"):
        conditional.sample(3, condition=9.5)


def test_one_sequence_alone_gets_a_hint(model):
    built = model((6, 2), variable_length=True, mask_dims=1)
    with pytest.raises(ValueError, match=r"got one example; add a first dimension: x\[None\]"):
        built.prepare(torch.zeros(9, 2))


@pytest.mark.parametrize(
    ("support", "supports", "permitted"),
    [
        ("binary", {"binary"}, "unit"),
        ("one-hot", {"one-hot"}, "unit"),
        ("count", {"count"}, "count"),
        ("count", {"count", "real"}, "real"),
        ("mixed", {"mixed"}, "mixed"),
    ],
)
def test_means_may_be_passed_to_a_model(support, supports, permitted):
    class Some(vaezoo.Likelihood):
        def forward(self, h, extras):
            raise NotImplementedError

    Some.supports = frozenset(supports)
    wiring = vaezoo.Wiring(data=DataSpec((3,), support), train_size=1)
    likelihood = Some(wiring)
    assert likelihood.permitted_support == permitted
    assert likelihood.by_part == {"x": likelihood} and likelihood.is_normalised

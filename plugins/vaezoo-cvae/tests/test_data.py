"""Quadrants and colours: the condition follows from the image, and the mask counts the unseen
pixels alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import vaezoo
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.utils.errors import DataError, SpecError

CPU = torch.device("cpu")


def spec(data, condition, **model):
    return {
        "spec": "vaezoo/v1",
        "name": "t",
        "data": {"batch_size": 32, **data},
        "model": {
            "latent_dim": 3,
            "encoder": "mlp",
            "decoder": "mlp",
            "likelihood": "bernoulli",
            "condition": condition,
            **model,
        },
        "train": {"epochs": 1},
    }


def quadrants(observed, binarize="dynamic"):
    data = {
        "type": "quadrants",
        "source": {"type": "digits", "binarize": binarize},
        "observed_quadrants": observed,
    }
    return spec(data, {"type": "image", "channels": [], "hidden": [16]})


@pytest.mark.parametrize("observed", [1, 2, 3])
def test_the_condition_shows_the_given_quadrants_and_the_mask_the_others(observed):
    _, train, _ = prepare_training(load_spec(quadrants(observed)), CPU)
    batch = next(train.epoch(0))
    visible = batch.condition[:, 1:].bool()
    assert torch.equal(batch.condition[:, :1], batch.x * visible), (
        "of one and the same binarization"
    )
    assert torch.equal(batch.mask, ~visible)
    corners = {
        name: bool(visible[0, 0, y, x])
        for name, (y, x) in {"bl": (7, 0), "tl": (0, 0), "tr": (0, 7)}.items()
    }
    assert (
        corners == {"bl": True, "tl": observed > 1, "tr": observed > 2} and not visible[0, 0, 7, 7]
    )
    assert visible[0].float().mean() == observed / 4


def test_given_pixels_count_neither_in_the_likelihood_nor_in_what_the_encoder_sees_twice():
    _, train, (task,) = prepare_training(load_spec(quadrants(2)), CPU)
    batch = train.first(16)
    other = vaezoo.Batch(
        torch.where(batch.mask, batch.x, 1 - batch.x), batch.condition, batch.mask
    )
    torch.manual_seed(0)
    first = task.model(batch)
    torch.manual_seed(0)
    second = task.model(other)
    assert torch.equal(first.distortion, second.distortion) and torch.equal(
        first.rate, second.rate
    )
    half = vaezoo.Batch(batch.x, batch.condition, None)
    assert (task.model(half).distortion > first.distortion).all()


def test_what_is_given_stands_in_samples_and_reconstructions():
    _, train, (task,) = prepare_training(load_spec(quadrants(1)), CPU)
    batch, model = train.first(6), task.model.eval()
    sampled, rebuilt = (
        model.sample(6, batch.condition),
        model.reconstruct(batch.x, batch.condition, batch.mask),
    )
    for built in (
        sampled,
        rebuilt,
        model.decode(torch.zeros(6, model.latent_dim), batch.condition),
    ):
        assert torch.equal(built[~batch.mask], batch.x[~batch.mask])
        assert not torch.equal(built[batch.mask], batch.x[batch.mask])


def test_conditions_that_are_not_n_are_refused():
    _, train, (task,) = prepare_training(load_spec(quadrants(1)), CPU)
    with pytest.raises(
        ValueError,
        match=r"conditions for 4 examples have the shape \(4, 2, 8, 8\), not \(3, 2, 8, 8\)",
    ):
        task.model.sample(4, train.first(3).condition)


def test_each_image_has_one_colour_for_ever():
    loaded = load_spec(
        spec(
            {"type": "colored-mnist", "source": "digits"},
            {"type": "image", "channels": [4], "hidden": [16]},
        )
    )
    dataset, train, _ = prepare_training(loaded, CPU)
    batch = train.first(50)
    grey, planes = batch.condition[:, :1], batch.condition[:, 1:]
    torch.testing.assert_close(batch.x, grey * planes)
    assert (planes.amax((2, 3)) == planes.amin((2, 3))).all() and len(
        planes[:, :, 0, 0].unique(dim=0)
    ) > 5
    again = prepare_training(loaded, CPU)[1].first(50)
    assert torch.equal(again.x, batch.x) and dataset.spec.condition_shape == (4, 8, 8)


def test_colours_by_name_are_attributes():
    data = {"type": "colored-mnist", "source": "digits", "condition": "attributes"}
    dataset, train, _ = prepare_training(load_spec(spec(data, "attributes")), CPU)
    assert [a.name for a in dataset.spec.condition_fields] == ["digit", "color"]
    batch = train.first(20)
    red = batch.condition[:, 1] == 0
    assert red.any() and torch.equal(batch.x[red, 1], batch.x[red, 2]), (
        "red has as much green as blue"
    )


def folder_of_images(folder, **options):
    """A data set of ten grey images of two classes, with a file that is none."""
    for i in range(10):
        (folder / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.new("L", (4, 4), i).save(folder / "ab"[i % 2] / f"{i}.png")
    (folder / "notes.txt").touch()
    return {"type": "image-folder", "path": str(folder), "channels": 1, **options}


@pytest.mark.parametrize("kind", ["colored-mnist", "quadrants"])
def test_sizes_and_what_is_left_out_are_those_of_the_source(tmp_path, kind, monkeypatch):
    source = folder_of_images(tmp_path)
    dataset = load_spec(spec({"type": kind, "source": source}, "image")).data.build()
    assert dataset.sizes == {"train": 8, "validation": 1, "test": 1}
    assert dataset.left_out == ("1 file with another ending (notes.txt)",)
    monkeypatch.setattr(type(dataset.source), "notes", ("a note",), raising=False)
    assert dataset.notes == ("a note",)


def test_images_to_colour_must_be_in_memory(tmp_path):
    source = folder_of_images(tmp_path, memory=0)
    dataset = load_spec(spec({"type": "colored-mnist", "source": source}, "image")).data.build()
    with pytest.raises(DataError, match=r"needs images in memory; raise `source\.memory`"):
        dataset.split("train")


def test_data_that_is_no_image_is_refused(tmp_path):
    vectors = tmp_path / "x.npz"
    np.savez(vectors, x=np.random.default_rng(0).random((30, 2)))
    data = {"type": "quadrants", "source": {"type": "npz", "path": str(vectors)}}
    with pytest.raises((DataError, SpecError), match="quadrants needs images"):
        prepare_training(load_spec(spec(data, "image")), CPU)

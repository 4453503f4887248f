"""Sprites: their shapes, their factors and their splits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from vaezoo_beta import sprites
from vaezoo_beta.sprites import (
    COUNT,
    SHAPES,
    SIZES,
    Sprites,
    factors_of,
    index_of,
    render,
    to_images,
)

import vaezoo

CPU = torch.device("cpu")
NAMES = ("train", "validation", "test")
SCALES = np.linspace(0.5, 1, 6)
ANGLES = np.linspace(0, 2 * np.pi, 40)
PLACES = np.linspace(0, 1, 32)


def at(shape: str, scale: int = 5, orientation: int = 0, x: int = 15, y: int = 15) -> torch.Tensor:
    """One image, bool [64, 64]."""
    return render(index_of(torch.tensor([[SHAPES.index(shape), scale, orientation, x, y]])))[0, 0]


def heart() -> list[tuple[float, float]]:
    corners = []
    for k in range(64):
        t = 2 * math.pi * k / 64
        v = (
            -0.66
            * (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t))
            - 1.5
        )
        corners.append((9.648 * math.sin(t) ** 3, v))
    return corners


def slowly(index: int) -> np.ndarray:
    """The definition, pixel by pixel, from the factors' real values: bool [64, 64]."""
    shape, scale, orientation, x, y = np.unravel_index(index, (3, 6, 40, 32, 32))
    columns, rows = np.meshgrid(np.arange(64) + 0.5, np.arange(64) + 0.5)
    dx, dy = columns - (16 + 32 * PLACES[x]), rows - (16 + 32 * PLACES[y])
    sin, cos = math.sin(ANGLES[orientation]), math.cos(ANGLES[orientation])
    u, v = (cos * dx - sin * dy) / SCALES[scale], (sin * dx + cos * dy) / SCALES[scale]
    if shape == 0:
        return (abs(u) <= 9.6) & (abs(v) <= 9.6)
    if shape == 1:
        return (u / 12.8) ** 2 + (v / 7.25) ** 2 <= 1
    inside = np.zeros((64, 64), bool)
    corners = heart()
    for (u1, v1), (u2, v2) in zip(corners, corners[1:] + corners[:1], strict=True):
        if v1 != v2:  # a ray from the pixel along u
            inside ^= ((v1 > v) != (v2 > v)) & (u < (u2 - u1) * (v - v1) / (v2 - v1) + u1)
    return inside


@pytest.mark.parametrize("shape", range(3))
def test_images_are_what_the_definition_says(shape):
    third = COUNT // 3
    index = torch.from_numpy(
        np.random.default_rng(shape).integers(shape * third, (shape + 1) * third, 300)
    )
    samples = render(index)
    assert (samples.shape, samples.dtype) == ((300, 1, 64, 64), torch.bool)
    for i, image in zip(index.tolist(), samples[:, 0].numpy(), strict=True):
        assert np.array_equal(image, slowly(i)), f"index {i}"


def test_images_at_the_corners_are_whole():
    corners = [
        [s, 5, o, x, y] for s in range(3) for o in (0, 5, 13, 39) for x in (0, 31) for y in (0, 31)
    ]
    index = index_of(torch.tensor(corners))
    for i, image in zip(index.tolist(), render(index)[:, 0].numpy(), strict=True):
        assert np.array_equal(image, slowly(i)), f"index {i}"
        assert not (image[0].any() or image[-1].any() or image[:, 0].any() or image[:, -1].any())


def test_no_crossing_is_too_near_to_a_pixel_for_float64():
    angles = torch.arange(39, dtype=torch.float64) * (2 * math.pi / 39)
    dy = torch.arange(-843, 844, 2, dtype=torch.float64) / 62
    square = torch.tensor(
        [[-9.6, -9.6], [9.6, -9.6], [9.6, 9.6], [-9.6, 9.6]], dtype=torch.float64
    )
    for scale in SCALES:
        for crossings in (
            sprites._polygon_crossings(square * scale, angles, dy),
            sprites._ellipse_crossings(12.8 * scale, 7.25 * scale, angles, dy),
            sprites._polygon_crossings(
                torch.tensor(heart(), dtype=torch.float64) * scale, angles, dy
            ),
        ):
            units = crossings[crossings.isfinite()] * 62
            to_nearest_odd = ((units - 1) / 2 - ((units - 1) / 2).round()).abs() * 2
            assert to_nearest_odd.min() > 1e-6


def test_an_index_counts_factors_with_y_fastest():
    assert COUNT == 737_280
    assert factors_of(torch.tensor([0, 1, 32, 1024, 40_960, COUNT - 1])).tolist() == [
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 1, 0],
        [0, 0, 1, 0, 0],
        [0, 1, 0, 0, 0],
        [2, 5, 39, 31, 31],
    ]


def test_index_and_factors_are_inverse():
    index = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))[:10_000]
    assert torch.equal(index_of(factors_of(index)), index)
    expected = np.stack(np.unravel_index(index.numpy(), SIZES), -1)
    assert np.array_equal(factors_of(index).numpy(), expected)


def test_orientation_comes_back_to_where_it_began():
    for shape in range(3):
        factors = torch.tensor([[shape, 3, 0, 7, 20], [shape, 3, 39, 7, 20], [shape, 3, 1, 7, 20]])
        first, last, second = render(index_of(factors))
        assert torch.equal(first, last)
        assert not torch.equal(first, second)


def test_x_moves_right_and_y_moves_down():
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    near, right, low = at("square", x=0, y=0), at("square", x=31, y=0), at("square", x=0, y=31)
    assert columns[right].mean() - columns[near].mean() == 32
    assert rows[right].mean() == rows[near].mean() == pytest.approx(15.5)
    assert rows[low].mean() - rows[near].mean() == 32


def test_turning_is_counter_clockwise_and_the_heart_stands_on_its_tip():
    turned = at(
        "ellipse", orientation=5
    )  # by 46 degrees: the long axis from lower left to upper right
    assert turned[:32, 32:].sum() > 1.5 * turned[:32, :32].sum()
    widths = at("heart").sum(1)
    widths = widths[widths > 0]
    assert widths[-1] <= 3 < widths[0]


@pytest.mark.parametrize("shape", SHAPES)
def test_as_many_pixels_as_the_shape_has_area(shape):
    corners = np.array(heart())
    following = np.roll(corners, -1, 0)
    shoelace = abs(np.sum(corners[:, 0] * following[:, 1] - following[:, 0] * corners[:, 1])) / 2
    area = {"square": 19.2**2, "ellipse": math.pi * 12.8 * 7.25, "heart": shoelace}[shape]
    generator = torch.Generator().manual_seed(0)
    factors = torch.stack(
        [torch.randint(size, (2_000,), generator=generator) for size in SIZES], -1
    )
    factors[:, 0] = SHAPES.index(shape)
    for scale in (0, 5):
        factors[:, 1] = scale
        assert render(index_of(factors)).sum((1, 2, 3)).double().mean() == pytest.approx(
            area * SCALES[scale] ** 2, rel=0.005
        )


def test_splits_are_disjoint_and_cover_everything():
    splits = [Sprites().split(name).x for name in NAMES]
    assert [len(x) for x in splits] == list(Sprites().sizes.values()) == [707_280, 10_000, 20_000]
    assert torch.equal(torch.cat(splits).sort().values, torch.arange(COUNT))


def test_splits_are_repeatable_and_depend_on_the_seed_alone():
    for name in NAMES:
        first, again = (
            Sprites(split_seed=3).split(name).x,
            Sprites(split_seed=3, train=500).split(name).x,
        )
        assert torch.equal(first[: len(again)], again)
        assert not torch.equal(first, Sprites(split_seed=4).split(name).x)
    few = Sprites(train=500)
    assert {name: len(few.split(name)) for name in NAMES} == few.sizes
    assert few.sizes == {"train": 500, "validation": 10_000, "test": 20_000}


def test_the_spec_describes_what_is_seen():
    data = Sprites(train=200)
    split = data.split("train")
    batch = next(vaezoo.Loader(split, CPU, 100, seed=1).epoch(0))
    assert tuple(batch.x.shape) == (100, *data.spec.shape)
    assert (data.spec.support, data.spec.levels, batch.x.dtype) == ("binary", 2, torch.float32)
    assert batch.x.unique().tolist() == [0, 1]
    assert (data.spec.classes, data.spec.condition_shape) == (SHAPES, ())
    assert tuple(len(set(factor.categories)) for factor in data.spec.factors) == SIZES


def test_images_factors_and_conditions_belong_together():
    split = Sprites(train=300).split("train")
    loader = vaezoo.Loader(split, CPU, 64)
    index = torch.tensor([5, 250, 17])
    batch = loader.gather(index)
    assert torch.equal(split.factors, factors_of(split.x))
    assert torch.equal(batch.x, to_images(index_of(split.factors[index])))
    assert torch.equal(batch.condition, split.factors[index, 0])
    assert torch.equal(loader.first(3).x, to_images(split.x[:3]))


def test_a_spec_finds_the_data_and_checks_its_options():
    block = {"data": {"type": "sprites", "train": 64}, "train": {"epochs": 1}}
    block["model"] = {
        "latent_dim": 2,
        "encoder": "mlp",
        "decoder": "mlp",
        "likelihood": "bernoulli",
    }
    spec = vaezoo.load_spec({"spec": "vaezoo/v1", "name": "some", **block})
    built = spec.data.build()
    assert (type(built), built.train) == (Sprites, 64)
    block["data"]["train"] = COUNT
    with pytest.raises(vaezoo.SpecError, match="707280"):
        vaezoo.load_spec({"spec": "vaezoo/v1", "name": "some", **block})


class TensorOperations(TorchDispatchMode):
    """Counts tensor operations and the elements that they return."""

    def __init__(self):
        super().__init__()
        self.count, self.elements = 0, 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        self.count += 1
        self.elements += result.numel() if isinstance(result, torch.Tensor) else 0
        return result


def test_a_thousand_images_take_as_many_operations_as_ten():
    index = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))[:1_000]
    render(index)  # caches the table of crossings
    measured = []
    for n in (10, 1_000):
        with TensorOperations() as operations:
            assert render(index[:n]).shape == (n, 1, 64, 64)
        measured.append(operations)
    assert measured[0].count == measured[1].count < 100
    assert (
        measured[1].elements <= 12 * 64 * 64 * 1_000
    )  # the image, and two for each of four crossings

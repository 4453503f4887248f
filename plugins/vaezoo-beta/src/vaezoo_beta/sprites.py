"""dSprites, rendered on demand: an image is a function of its index, so only indices are stored.

The data set of Matthey et al. (2017), `dSprites: disentanglement testing sprites`, rendered from
its factors, because the official file is not available here. Call it "dSprites (regenerated)" in
reports. Compared with 320 real frames, 1.44 of 4,096 pixels differ on average, and at most 8.

Definition. A pixel in row j and column i is 1 iff its centre (i + 0.5, j + 0.5) lies in the shape;
x points right, y points down. The shape's centre is (16 + 32 x, 16 + 32 y), for positions x, y of
linspace(0, 1, 32). An offset (dx, dy) from the centre lies in the shape iff the point u = (cos θ
dx - sin θ dy) / scale, v = (sin θ dx + cos θ dy) / scale lies in the unscaled shape:

* square: |u| <= 9.6 and |v| <= 9.6;
* ellipse: (u / 12.8)² + (v / 7.25)² <= 1;
* heart: inside, by the even-odd rule, the polygon with corners u = 9.648 sin³ t,
  v = -0.66 (13 cos t - 5 cos 2t - 2 cos 3t - cos 4t) - 1.5 at 64 equally spaced t.

Rendering. The offset of a pixel from a shape's centre is an odd multiple of 1/62 pixel: for the
x-th position dx = (62 i - 961 - 64 x) / 62, and similarly dy. A table holds the crossings of scan
lines and outlines, at most four for each pose (shape, scale and orientation) and each possible dy,
as the smallest integer 62 dx at or right of the crossing. A pixel is 1 iff an odd number of
crossings lie at or left of its centre. Rendering compares integers, so it gives identical images
on every device. The crossing nearest to any pixel's centre is 4e-8 pixels away, much more than the
float64 errors in the table.
"""

from __future__ import annotations

import math
from functools import cached_property, lru_cache
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

import vaezoo

SHAPES = ("square", "ellipse", "heart")
SIZES = (len(SHAPES), 6, 40, 32, 32)
"""The number of values of each factor: shape, scale, orientation, x, y (varies fastest)."""

COUNT = math.prod(SIZES)
SIDE = 64
VALIDATION, TEST = 10_000, 20_000

_UNITS_PER_PIXEL = 62  # offsets are odd multiples of 1/62 pixel, one unit
_FIRST_CENTRE = 16 * _UNITS_PER_PIXEL  # the centre at position 0, in units
_CENTRE_STEP = 64  # the distance of neighbouring positions, in units
_MAX_OFFSET = 843  # larger than any shape's distance from its centre, in units
_CROSSINGS = 4
_NO_CROSSING = 2**15 - 1
_ORIENTATIONS = SIZES[2] - 1  # distinct ones: the last orientation equals the first


def factors_of(index: Tensor) -> Tensor:
    """From indices ``[n]`` to factor values ``[n, 5]``: shape, scale, orientation, x, y."""
    return torch.stack(torch.unravel_index(index, SIZES), -1)


def index_of(factors: Tensor) -> Tensor:
    """The inverse of ``factors_of``, ``[n, 5]`` to ``[n]``."""
    strides = [math.prod(SIZES[factor + 1 :]) for factor in range(len(SIZES))]
    return (factors * torch.tensor(strides, device=factors.device)).sum(-1)


def render(index: Tensor) -> Tensor:
    """Renders images.

    Args:
        index: int64 ``[n]``, from 0 to ``COUNT - 1``, on any device.

    Returns:
        bool ``[n, 1, 64, 64]``, on the same device.
    """
    shape, scale, orientation, x, y = factors_of(index).unbind(-1)
    table = _crossings(index.device)  # [4, poses, rows]
    pose = (shape * SIZES[1] + scale) * _ORIENTATIONS + orientation % _ORIENTATIONS
    columns = torch.arange(SIDE, device=index.device)
    centres = _UNITS_PER_PIXEL * columns + _UNITS_PER_PIXEL // 2 - _FIRST_CENTRE
    dx = (centres - _CENTRE_STEP * x[:, None]).to(table.dtype)  # [n, 64], in units
    dy = centres - _CENTRE_STEP * y[:, None]
    row = ((dy + _MAX_OFFSET) // 2).clamp(0, _MAX_OFFSET)
    inside = torch.zeros(len(index), SIDE, SIDE, dtype=torch.bool, device=index.device)
    for crossing in table:
        edge = crossing[pose[:, None], row]  # [n, 64]
        inside ^= dx[:, None, :] >= edge[:, :, None]
    return inside[:, None]


def to_images(index: Tensor) -> Tensor:
    """From indices ``[n]`` to model inputs, float ``[n, 1, 64, 64]``."""
    return render(index).float()


@lru_cache(maxsize=8)
def _crossings(device: torch.device) -> Tensor:
    """The crossings of scan lines and outlines, int16 ``[4, poses, rows]``, in units.

    Entries without a crossing are ``_NO_CROSSING``. In poses the 39 distinct orientations vary
    fastest; rows are the odd dy from ``-_MAX_OFFSET`` to ``_MAX_OFFSET``.
    """
    angles = torch.arange(_ORIENTATIONS, dtype=torch.float64) * (2 * math.pi / _ORIENTATIONS)
    dy = torch.arange(-_MAX_OFFSET, _MAX_OFFSET + 1, 2, dtype=torch.float64) / _UNITS_PER_PIXEL
    scales = torch.linspace(0.5, 1.0, SIZES[1], dtype=torch.float64).tolist()
    corners = [[-9.6, -9.6], [9.6, -9.6], [9.6, 9.6], [-9.6, 9.6]]
    square = torch.tensor(corners, dtype=torch.float64)
    dx = [_polygon_crossings(square * scale, angles, dy) for scale in scales]
    dx += [_ellipse_crossings(12.8 * scale, 7.25 * scale, angles, dy) for scale in scales]
    dx += [_polygon_crossings(_heart_corners() * scale, angles, dy) for scale in scales]
    units = (torch.cat(dx) * _UNITS_PER_PIXEL).ceil().clamp(max=_NO_CROSSING)  # [poses, rows, 4]
    return units.to(torch.int16).permute(2, 0, 1).contiguous().to(device)  # [4, poses, rows]


def _heart_corners() -> Tensor:
    """The corners (u, v) of the heart, ``[64, 2]``."""
    t = torch.arange(64, dtype=torch.float64) * (2 * math.pi / 64)
    v = -0.66 * (13 * t.cos() - 5 * (2 * t).cos() - 2 * (3 * t).cos() - (4 * t).cos()) - 1.5
    return torch.stack([9.648 * t.sin() ** 3, v], -1)


def _polygon_crossings(corners: Tensor, angles: Tensor, dy: Tensor) -> Tensor:
    """The crossings of scan lines and a rotated polygon.

    Args:
        corners: (u, v) ``[P, 2]``.
        angles: ``[A]``.
        dy: the positions of R scan lines, ``[R]``.

    Returns:
        dx ``[A, R, 4]``, from left to right, padded with infinity.
    """
    u, v = corners.unbind(-1)
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    x, y = cos * u + sin * v, cos * v - sin * u  # [A, P]: the inverse of the rotation
    slope = (x.roll(-1, 1) - x) / (y.roll(-1, 1) - y)
    below = y[:, None] <= dy[:, None]  # [A, R, P]
    crosses = below != below.roll(-1, 2)
    dx = x[:, None] + (dy[:, None] - y[:, None]) * slope[:, None]
    dx = torch.where(crosses, dx, math.inf)
    missing = max(0, _CROSSINGS - len(corners))
    dx = torch.nn.functional.pad(dx, (0, missing), value=math.inf)
    return dx.topk(_CROSSINGS, largest=False).values


def _ellipse_crossings(a: float, b: float, angles: Tensor, dy: Tensor) -> Tensor:
    """The crossings of scan lines and a rotated ellipse; see ``_polygon_crossings``.

    Args:
        a: the semi-axis along u.
        b: the semi-axis along v.
        angles: ``[A]``.
        dy: ``[R]``.
    """
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    # Crossings solve p dx² + 2 q dx + r = 0.
    p = (cos / a) ** 2 + (sin / b) ** 2
    q = dy * cos * sin * (1 / b**2 - 1 / a**2)
    r = dy**2 * ((sin / a) ** 2 + (cos / b) ** 2) - 1
    root = (q**2 - p * r).sqrt()  # nan if the scan line misses the ellipse
    dx = torch.stack([(-q - root) / p, (-q + root) / p], -1).nan_to_num(math.inf)
    return torch.nn.functional.pad(dx, (0, _CROSSINGS - 2), value=math.inf)


def _value_names(values: Tensor) -> tuple[str, ...]:
    return tuple(f"{value:.3g}" for value in values.tolist())


class Sprites(vaezoo.Dataset):
    """dSprites (regenerated): white squares, ellipses and hearts, 64x64, with known factors.

    There are 737,280 images. Orientations 0 and 39 of 40 are equal, so 1 in 20 images has a
    duplicate, possibly in another split. The condition is the shape.

    Args:
        train: the number of training examples; 0 for all 707,280 that are neither in validation
            (10,000) nor in test (20,000).
        split_seed: the seed of the random division into splits.
    """

    def __init__(
        self,
        *,
        train: Annotated[int, Ge(0), Le(COUNT - VALIDATION - TEST)] = 0,
        split_seed: int = 0,
    ) -> None:
        self.train, self.split_seed = train, split_seed

    @property
    def spec(self) -> vaezoo.DataSpec:
        """One binary channel, 64x64; three classes; five factors.

        Positions are in [0, 1], orientations in radians.
        """
        values = {
            "shape": SHAPES,
            "scale": _value_names(torch.linspace(0.5, 1, SIZES[1])),
            "orientation": _value_names(torch.linspace(0, 2 * math.pi, SIZES[2])),
            "x": _value_names(torch.linspace(0, 1, SIZES[3])),
            "y": _value_names(torch.linspace(0, 1, SIZES[4])),
        }
        factors = tuple(
            vaezoo.Field(name, "categorical", (i, i + 1), categories=names)
            for i, (name, names) in enumerate(values.items())
        )
        return vaezoo.DataSpec(
            (1, SIDE, SIDE), "binary", 2, classes=SHAPES, condition_shape=(), factors=factors
        )

    @property
    def sizes(self) -> dict[str, int]:
        """The number of images of each split."""
        train = self.train or COUNT - VALIDATION - TEST
        return {"train": train, "validation": VALIDATION, "test": TEST}

    @cached_property
    def _order(self) -> Tensor:
        return torch.randperm(COUNT, generator=torch.Generator().manual_seed(self.split_seed))

    def split(self, name: str) -> vaezoo.Split:
        """One of ``train``, ``validation``, ``test``, each in random order."""
        start = TEST + VALIDATION
        end = start + self.train if self.train else COUNT
        slices = {
            "test": slice(0, TEST),
            "validation": slice(TEST, start),
            "train": slice(start, end),
        }
        index = self._order[slices[name]].clone()
        factors = factors_of(index)
        return vaezoo.Split(index, factors[:, 0].clone(), transform=to_images, factors=factors)

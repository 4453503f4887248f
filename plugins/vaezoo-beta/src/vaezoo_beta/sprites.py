"""dSprites as a generator: every image is a function of its index, so that only indices are stored.

The data set of Matthey et al. (2017), `dSprites: disentanglement testing sprites`, drawn anew from its factors: the
official file cannot be had here, so say "dSprites (regenerated)". Against 320 real frames the drawing errs by 1.44 of
4,096 pixels on average, by 8 at most.

The definition. A pixel in row j and column i is 1 iff its centre (i + 0.5, j + 0.5) lies in the shape, x to the
right, y down. The shape's centre is (16 + 32 x, 16 + 32 y) for positions x, y of linspace(0, 1, 32). An offset (dx, dy)
from it lies in the shape iff u = (cos θ dx - sin θ dy) / scale and v = (sin θ dx + cos θ dy) / scale do:

* square: |u| <= 9.6 and |v| <= 9.6;
* ellipse: (u / 12.8)² + (v / 7.25)² <= 1;
* heart: inside, by even-odd, the polygon of u = 9.648 sin³ t, v = -0.66 (13 cos t - 5 cos 2t - 2 cos 3t - cos 4t) - 1.5
  at 64 equally spaced t.

How it is drawn. An offset from a centre is an odd multiple of 1/62 pixel, dx = (62 i - 961 - 64 x) / 62 for the x-th
position, and likewise dy. So a table holds, for each pose (shape, scale and orientation) and each possible dy, the
integers that 62 dx has reached where a scan line has crossed the outline, at most four times. A pixel is 1 iff an odd
number of crossings lie at or left of its centre. Drawing compares integers: it gives the same bits on every device. The
crossing nearest to any pixel's centre is 4e-8 pixels away, far more than float64 errs in the table.
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
"""How many values the factors have: shape, scale, orientation, x, y; an index counts them with y fastest."""

COUNT = math.prod(SIZES)
SIDE = 64
VALIDATION, TEST = 10_000, 20_000

_UNIT = 62  # offsets are odd multiples of 1/62 pixel
_FIRST, _STEP = 16 * _UNIT, 64  # in such units: the centre at position 0, and from one position to the next
_REACH = 843  # no shape reaches that far from its centre
_CROSSINGS = 4
_NEVER = 2**15 - 1
_TURNS = SIZES[2] - 1  # the last orientation is the first


def factors_of(index: Tensor) -> Tensor:
    """The index of each factor's value, ``[n]`` to ``[n, 5]``: shape, scale, orientation, x, y."""
    return torch.stack(torch.unravel_index(index, SIZES), -1)


def index_of(factors: Tensor) -> Tensor:
    """The inverse of ``factors_of``, ``[n, 5]`` to ``[n]``."""
    strides = [math.prod(SIZES[place + 1 :]) for place in range(len(SIZES))]
    return (factors * torch.tensor(strides, device=factors.device)).sum(-1)


def render(index: Tensor) -> Tensor:
    """Draws images.

    Args:
        index: int64 ``[n]``, each from 0 up to ``COUNT``, on any device.

    Returns:
        bool ``[n, 1, 64, 64]``, on the same device.
    """
    shape, scale, orientation, x, y = factors_of(index).unbind(-1)
    table = _table(index.device)  # [4, poses, rows]
    pose = (shape * SIZES[1] + scale) * _TURNS + orientation % _TURNS
    pixels = _UNIT * torch.arange(SIDE, device=index.device) + _UNIT // 2 - _FIRST
    dx = (pixels - _STEP * x[:, None]).to(table.dtype)  # [n, 64], in units
    dy = pixels - _STEP * y[:, None]
    row = ((dy + _REACH) // 2).clamp(0, _REACH)
    inside = torch.zeros(len(index), SIDE, SIDE, dtype=torch.bool, device=index.device)
    for crossing in table:
        reached = crossing[pose[:, None], row]  # [n, 64]
        inside ^= dx[:, None, :] >= reached[:, :, None]
    return inside[:, None]


def to_images(index: Tensor) -> Tensor:
    """Model input, ``[n]`` to float ``[n, 1, 64, 64]``."""
    return render(index).float()


@lru_cache(maxsize=8)
def _table(device: torch.device) -> Tensor:
    """Where scan lines cross outlines: int16 ``[4, poses, rows]``, in units, ``_NEVER`` where there is no crossing.

    Poses count the 39 distinct orientations fastest, rows are the odd dy from ``-_REACH`` to ``_REACH``.
    """
    angles = torch.arange(_TURNS, dtype=torch.float64) * (2 * math.pi / _TURNS)
    dy = torch.arange(-_REACH, _REACH + 1, 2, dtype=torch.float64) / _UNIT
    scales = torch.linspace(0.5, 1.0, SIZES[1], dtype=torch.float64).tolist()
    square = torch.tensor([[-9.6, -9.6], [9.6, -9.6], [9.6, 9.6], [-9.6, 9.6]], dtype=torch.float64)
    rows = [_polygon(square * scale, angles, dy) for scale in scales]
    rows += [_ellipse(12.8 * scale, 7.25 * scale, angles, dy) for scale in scales]
    rows += [_polygon(_heart() * scale, angles, dy) for scale in scales]
    units = (torch.cat(rows) * _UNIT).ceil().clamp(max=_NEVER)  # [poses, rows, 4]
    return units.to(torch.int16).permute(2, 0, 1).contiguous().to(device)


def _heart() -> Tensor:
    """The heart's corners (u, v), ``[64, 2]``."""
    t = torch.arange(64, dtype=torch.float64) * (2 * math.pi / 64)
    v = -0.66 * (13 * t.cos() - 5 * (2 * t).cos() - 2 * (3 * t).cos() - (4 * t).cos()) - 1.5
    return torch.stack([9.648 * t.sin() ** 3, v], -1)


def _polygon(corners: Tensor, angles: Tensor, dy: Tensor) -> Tensor:
    """Where scan lines cross a turned polygon, from left to right; infinity where they do not.

    Args:
        corners: (u, v) ``[P, 2]``.
        angles: ``[A]``.
        dy: ``[R]``.

    Returns:
        dx ``[A, R, 4]``.
    """
    u, v = corners.unbind(-1)
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    x, y = cos * u + sin * v, cos * v - sin * u  # [A, P]: the inverse of the rotation
    slope = (x.roll(-1, 1) - x) / (y.roll(-1, 1) - y)
    below = y[:, None] <= dy[:, None]  # [A, R, P]
    crosses = below != below.roll(-1, 2)
    found = torch.where(crosses, x[:, None] + (dy[:, None] - y[:, None]) * slope[:, None], math.inf)
    missing = max(0, _CROSSINGS - len(corners))
    found = torch.nn.functional.pad(found, (0, missing), value=math.inf)
    return found.topk(_CROSSINGS, largest=False).values


def _ellipse(a: float, b: float, angles: Tensor, dy: Tensor) -> Tensor:
    """Where scan lines cross a turned ellipse of half-axes ``a`` along u and ``b`` along v; as ``_polygon``."""
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]  # quadratic in dx: p dx² + 2 q dx + r = 0
    p = (cos / a) ** 2 + (sin / b) ** 2
    q = dy * cos * sin * (1 / b**2 - 1 / a**2)
    r = dy**2 * ((sin / a) ** 2 + (cos / b) ** 2) - 1
    root = (q**2 - p * r).sqrt()  # nan where the line misses
    found = torch.stack([(-q - root) / p, (-q + root) / p], -1).nan_to_num(math.inf)
    return torch.nn.functional.pad(found, (0, _CROSSINGS - 2), value=math.inf)


def _names(values: Tensor) -> tuple[str, ...]:
    return tuple(f"{value:.3g}" for value in values.tolist())


class Sprites(vaezoo.Dataset):
    """dSprites (regenerated): a white square, ellipse or heart on 64x64, in 737,280 poses, with all factors known.

    Orientations 0 and 39 of 40 are one, so 1 in 20 images has a twin, perhaps in another split. The condition is the
    shape.

    Args:
        train: how many training examples; 0 for all 707,280 that validation (10,000) and test (20,000) leave.
        split_seed: decides which example goes where.
    """

    def __init__(self, *, train: Annotated[int, Ge(0), Le(COUNT - VALIDATION - TEST)] = 0, split_seed: int = 0) -> None:
        self.train, self.split_seed = train, split_seed

    @property
    def spec(self) -> vaezoo.DataSpec:
        """One binary channel, 64x64; three classes; five factors, positions in [0, 1], orientation in radians."""
        factors = (
            vaezoo.Field("shape", SHAPES),
            vaezoo.Field("scale", _names(torch.linspace(0.5, 1, SIZES[1]))),
            vaezoo.Field("orientation", _names(torch.linspace(0, 2 * math.pi, SIZES[2]))),
            vaezoo.Field("x", _names(torch.linspace(0, 1, SIZES[3]))),
            vaezoo.Field("y", _names(torch.linspace(0, 1, SIZES[4]))),
        )
        return vaezoo.DataSpec((1, SIDE, SIDE), "binary", 2, classes=SHAPES, condition_shape=(), factors=factors)

    @cached_property
    def _order(self) -> Tensor:
        return torch.randperm(COUNT, generator=torch.Generator().manual_seed(self.split_seed))

    def split(self, name: str) -> vaezoo.Split:
        """One of ``train``, ``validation``, ``test``, each in random order."""
        start = TEST + VALIDATION
        end = start + self.train if self.train else COUNT
        part = {"test": slice(0, TEST), "validation": slice(TEST, start), "train": slice(start, end)}[name]
        index = self._order[part].clone()
        factors = factors_of(index)
        return vaezoo.Split(index, factors[:, 0].clone(), transform=to_images, factors=factors)

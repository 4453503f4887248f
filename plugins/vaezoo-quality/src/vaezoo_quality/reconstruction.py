"""Structural similarity and peak signal-to-noise ratio of reconstructions.

Shapes: n images of C channels, H rows and W columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge
from torch import Tensor

import vaezoo
from vaezoo_quality import images

_WINDOW, _SIGMA = 11, 1.5
_K1, _K2 = 0.01, 0.03
_LEAST_ERROR = 1e-10  # of the squared range: 100 dB


def ssim(a: Tensor, b: Tensor, data_range: float = 1.0) -> Tensor:
    """The structural similarity of each pair of images (Wang et al. 2004), ``[n]``.

    With a Gaussian window of 11 x 11 pixels and standard deviation 1.5, K1 = .01 and K2 = .03,
    averaged over all places of the window within the image, and over channels.

    Args:
        a, b: images ``[n, C, H, W]``, H and W at least 11.
        data_range: the difference of the largest and the smallest possible value.
    """
    offsets = torch.arange(_WINDOW, device=a.device).double() - _WINDOW // 2
    window = torch.exp(-offsets.square() / (2 * _SIGMA**2))
    window = (window / window.sum()).outer(window / window.sum()).expand(1, 1, -1, -1)

    def smooth(x: Tensor) -> Tensor:
        return F.conv2d(x.flatten(0, 1)[:, None], window)  # [n * C, 1, H - 10, W - 10]

    a, b = a.double(), b.double()
    mean_a, mean_b = smooth(a), smooth(b)
    var_a, var_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    covariance = smooth(a * b) - mean_a * mean_b
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    values = luminance * (2 * covariance + c2) / (var_a + var_b + c2)
    return values.view(len(a), -1).mean(1)


def psnr(a: Tensor, b: Tensor, data_range: float = 1.0) -> Tensor:
    """The peak signal-to-noise ratio of each pair of images, in decibels, ``[n]``.

    Args:
        a, b: images ``[n, C, H, W]``. Equal ones have 100 dB.
        data_range: as for ``ssim``.
    """
    error = (a.double() - b.double()).square().flatten(1).mean(1) / data_range**2
    return -10 * error.clamp(min=_LEAST_ERROR).log10()


def similarities(pairs: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Both numbers of pairs of images in blocks; no SSIM if they are smaller than its window."""
    found: dict[str, list[Tensor]] = {"psnr": [], "ssim": []}
    for a, b in pairs:
        found["psnr"].append(psnr(a, b))
        if min(a.shape[-2:]) >= _WINDOW:
            found["ssim"].append(ssim(a, b))
    return {name: torch.cat(values) for name, values in found.items() if values}


class ReconstructionQuality(vaezoo.Metric):
    """SSIM and PSNR of the reconstructions of images.

    A reconstruction is the mean of p(x|z) at a sample z of q(z|x), also of binary images: a mean
    is the best guess of the pixels. SSIM is that of Wang et al. 2004 with its window of 11 x 11
    pixels, and is left out for smaller images; 1 is the best. PSNR is averaged over images, in
    decibels. The ``floor`` is that of as many training examples, the ``ceiling`` that of images
    whose pixels are shuffled in place of reconstructions; ``mean_image`` is that of the mean of
    these training examples.

    Args:
        examples: the number of images of each split.
    """

    higher_is_better = frozenset({"ssim", "psnr"})

    def __init__(self, *, examples: Annotated[int, Ge(2)] = 10_000) -> None:
        self.examples = examples

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """Returns ``psnr``, and ``ssim`` of images that are large enough."""
        _require_images(model.data)
        train = images.training_split(self)()
        count = min(self.examples, len(data), len(train))
        rows, train_rows = (images.rows_of(count, len(each)) for each in (data, train))
        values = similarities(_reconstructed(model, images.real_blocks(data, rows)))
        floors = similarities(_reconstructed(model, images.real_blocks(train, train_rows)))
        real = [batch.x for batch in images.real_blocks(data, rows)]
        ceilings = similarities((x, images.shuffled(x)) for x in real)
        total = sum(batch.x.sum(0) for batch in images.real_blocks(train, train_rows))
        baselines = similarities((x, (total / count).expand_as(x)) for x in real)
        return {
            name: vaezoo.Estimate(
                float(each.mean()),
                float(each.std()) / len(each) ** 0.5,
                len(each),
                {
                    "floor": float(floors[name].mean()),
                    "ceiling": float(ceilings[name].mean()),
                    "mean_image": float(baselines[name].mean()),
                },
                unit="dB" if name == "psnr" else "1",
                note="reconstructions are means of p(x|z)",
            )
            for name, each in values.items()
        }


def _reconstructed(
    model: vaezoo.Model, batches: Iterable[vaezoo.Batch]
) -> Iterable[tuple[Tensor, Tensor]]:
    """Images and their reconstructions, in blocks."""
    for batch in batches:
        x = model.reconstruct(batch)
        vaezoo.require_finite(x, "a pixel of reconstruction")
        yield batch.x, x


def _require_images(data: vaezoo.DataSpec) -> None:
    """Raises NotImplementedError unless examples are images with values in [0, 1]."""
    if data.parts or len(data.shape) != 3 or data.support not in ("unit", "binary"):
        raise NotImplementedError("needs images with values from 0 to 1")

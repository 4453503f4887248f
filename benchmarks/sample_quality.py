"""Compares the metrics of vaezoo-quality with other packages on the same features.

pip install --target TOOLS --no-deps prdc torch-fidelity torchmetrics lightning-utilities
PYTHONPATH=TOOLS python benchmarks/sample_quality.py [--samples 10000]

The features are those of real test images of MNIST and of samples of vae-mnist-conv, in the
network of features/mnist. Each row has both values and their relative difference; the command
fails if one exceeds 1e-4.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import numpy as np
from torch import Tensor
from vaezoo_quality.frechet import frechet_distance, moments
from vaezoo_quality.kernel import subset_values
from vaezoo_quality.manifolds import Comparison
from vaezoo_quality.reconstruction import psnr, ssim

import vaezoo
from vaezoo.data.datasets.torchvision import import_torchvision

TOLERANCE = 1e-4
SUBSET = 1000
KERNEL = {
    "kid_kernel": "poly",
    "kid_kernel_poly_degree": 3,
    "kid_kernel_poly_gamma": None,
    "kid_kernel_poly_coef0": 1.0,
}
Row = tuple[str, str, float, float]


def distances(real: Tensor, samples: Tensor) -> Iterator[Row]:
    """The Frechet and the kernel distance."""
    from torch_fidelity import metric_fid, metric_kid
    from torchmetrics.image.fid import _compute_fid
    from torchmetrics.image.kid import poly_mmd

    a, b = moments(real), moments(samples)
    ours = frechet_distance(a, b)
    statistics = [metric_fid.fid_features_to_statistics(x.double()) for x in (real, samples)]
    found = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
    yield "fd", "torch-fidelity", ours, float(found["frechet_inception_distance"])
    theirs = _compute_fid(a.mean, a.covariance, b.mean, b.covariance)
    yield "fd", "torchmetrics", ours, float(theirs)
    ours = float(subset_values(real, samples, SUBSET).mean())
    count = len(real) // SUBSET * SUBSET
    blocks = [x[:count].double().split(SUBSET) for x in (real, samples)]
    pairs = list(zip(*blocks, strict=True))
    theirs = np.mean([metric_kid.kernel_mmd(x.numpy(), y.numpy(), **KERNEL) for x, y in pairs])
    yield f"kid, {len(pairs)} subsets", "torch-fidelity", ours, float(theirs)
    theirs = np.mean([float(poly_mmd(x, y)) for x, y in pairs])
    yield f"kid, {len(pairs)} subsets", "torchmetrics", ours, float(theirs)


def manifolds(real: Tensor, samples: Tensor) -> Iterator[Row]:
    """Precision, recall, density and coverage."""
    from prdc import compute_prdc

    for neighbours in (3, 5):
        ours = Comparison.of(real, samples, neighbours).values()
        theirs = compute_prdc(real.double().numpy(), samples.double().numpy(), neighbours)
        for name, value in ours.items():
            yield f"{name}, k = {neighbours}", "prdc", value, float(theirs[name])


def reconstructions(x: Tensor, y: Tensor) -> Iterator[Row]:
    """SSIM and PSNR."""
    from torchmetrics.functional.image import (
        peak_signal_noise_ratio,
        structural_similarity_index_measure,
    )

    _, full = structural_similarity_index_measure(
        y.double(), x.double(), data_range=1.0, return_full_image=True
    )
    # torchmetrics adds places of the window that reach out of the image
    yield "ssim", "torchmetrics", float(ssim(x, y).mean()), float(full[..., 5:-5, 5:-5].mean())
    theirs = peak_signal_noise_ratio(
        y.double(), x.double(), data_range=1.0, dim=(1, 2, 3), reduction="elementwise_mean"
    )
    yield "psnr", "torchmetrics", float(psnr(x, y).mean()), float(theirs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=10_000)
    options = parser.parse_args()
    import_torchvision()  # which torch-fidelity imports, too
    model, features = vaezoo.load("vae-mnist-conv"), vaezoo.load_features("features/mnist")
    spec = {"spec": "vaezoo/v2", "name": "x", "data": {"type": "mnist", "binarize": "static"}}
    block = {"latent_dim": 1, "encoder": "mlp", "decoder": "mlp", "likelihood": "bernoulli"}
    split = vaezoo.load_spec({**spec, "model": block}).data.build().split("test")
    x = split.transform(split.x[: options.samples])
    generated = model.sample(options.samples, mean=False, seed=0)
    real, samples = features.extract(x), features.extract(generated)
    rows = [*distances(real, samples), *manifolds(real, samples)]
    rows += reconstructions(x[:500], model.reconstruct(x[:500]))
    worst = 0.0
    for name, package, ours, theirs in rows:
        difference = abs(ours - theirs) / abs(theirs)
        worst = max(worst, difference)
        print(f"{name:<20} {package:<15} {ours:<18.10g} {theirs:<18.10g} {difference:.1e}")
    print(f"largest relative difference {worst:.1e}, allowed {TOLERANCE:.0e}")
    if worst > TOLERANCE:
        sys.exit(1)


if __name__ == "__main__":
    main()

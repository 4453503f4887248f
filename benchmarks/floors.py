"""Prints what models without latent variables reach: the floors in docs/results.md.

    python benchmarks/floors.py mnist        # a Bernoulli for each pixel; for unseen quadrants
    python benchmarks/floors.py jsb          # a Bernoulli for each key; given it a step before
    python benchmarks/floors.py nottingham   # the same
    python benchmarks/floors.py sprites      # mutual information gap: PCA-10, true factors

Rates are shares of the training split, at least 1e-5 away from 0 and 1. PCA is fitted to the
first 5,000 training images; nothing is drawn at random. Music needs polyphonic_bl2012.npz in
VAEZOO_DATA.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor

LEAST = 1e-5


def log_likelihood(x: Tensor, rate: Tensor) -> Tensor:
    """Of binary numbers, elementwise, in nats."""
    rate = rate.clamp(LEAST, 1 - LEAST)
    return x * rate.log() + (1 - x) * (1 - rate).log()


def mnist() -> None:
    """Nats per image: negative log-likelihood of the fixed draw of the 10,000 test images."""
    from vaezoo_cvae.quadrants import Quadrants
    from vaezoo_mnist.dataset import MNIST

    data = MNIST(binarize="static")
    rate = data.split("train").x.double().mean(0)
    nats = -log_likelihood(data.split("test").x.double(), rate).mean(0)
    print(f"a Bernoulli for each pixel alone: {nats.sum():.4f}")
    for observed in (1, 2, 3):
        unseen = ~Quadrants(source=data, observed_quadrants=observed).observed_pixels()
        print(f"unseen pixels with {observed} quadrants given: {nats[unseen].sum():.4f}")


def polyphonic(name: str) -> None:
    """Nats per step: log-likelihood of the test pieces."""
    from vaezoo_vrae.polyphonic import Polyphonic

    data = Polyphonic(name=name)
    rows = {}
    for split in ("train", "test"):
        part = data.split(split)
        assert part.mask is not None
        x = part.x.double()
        before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)
        rows[split] = before[part.mask], x[part.mask]
    (before, now), (test_before, test_now) = rows["train"], rows["test"]
    print(f"a Bernoulli for each key: {log_likelihood(test_now, now.mean(0)).sum(1).mean():.4f}")
    after_one = (before * now).sum(0) / before.sum(0).clamp(min=1)
    after_none = ((1 - before) * now).sum(0) / (1 - before).sum(0).clamp(min=1)
    rate = torch.where(test_before > 0, after_one, after_none)
    print(f"given the same key a step before: {log_likelihood(test_now, rate).sum(1).mean():.4f}")


def sprites() -> None:
    """Mutual information gap, 20 bins, 10,000 test images."""
    from sklearn.decomposition import PCA
    from vaezoo_beta.scores import mig
    from vaezoo_beta.sprites import Sprites, factors_of, render

    data = Sprites()
    train, test = data.split("train").x, data.split("test").x[:10_000]
    fitted = PCA(10, random_state=0).fit(render(train[:5_000]).flatten(1).float().numpy())
    factors = factors_of(test).numpy()
    means = fitted.transform(render(test).flatten(1).float().numpy())
    print(f"PCA-10: {mig(means, factors):.4f}")
    print(f"the true factors: {mig(factors.astype(float), factors):.4f}")


def main() -> None:
    """Prints the floors of the data named."""
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name == "mnist":
        mnist()
    elif name in ("jsb", "nottingham"):
        polyphonic(name)
    elif name == "sprites":
        sprites()
    else:
        sys.exit("usage: python benchmarks/floors.py mnist | jsb | nottingham | sprites")


if __name__ == "__main__":
    main()

"""Times training steps of variants against hand-written loops of the same computation, in pairs.

    python benchmarks/steps.py                   # 25 pairs of each: an hour of one core
    python benchmarks/steps.py vamp --pairs 5    # one of them

The MLP VAE 784-400-400-16 at batch 128 on MNIST, with the distributions of the plugins in both
loops, so that what is compared is the training loop and the composition. The order within a pair
alternates. Prints the geometric mean of the ratios vaezoo / hand-written of the seconds of a step
with its 95 % interval, by wall time and by CPU time. Ends with 1 if an upper limit by ``--clock``
is above 1.1.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import handwritten
import nll
import speed
import torch
import torch.nn.functional as F
import zuko
from torch import Tensor, nn
from torch.distributions import kl_divergence
from vaezoo_divergences.mmd import squared_mmd
from vaezoo_spheres.uniform import UniformSphere
from vaezoo_spheres.von_mises_fisher import VonMisesFisher

import vaezoo
from vaezoo.distributions import NormalMixture
from vaezoo.runs.report import page
from vaezoo.utils.allocator import tune_allocator

LIMIT = 1.1
WARMUP, BATCH, LATENT = 50, 128, handwritten.LATENT
STEPS = {"hamiltonian": 60}
IMQ = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Loop(handwritten.VAE):
    """The MLP VAE; subclasses change the loss."""

    def __init__(self) -> None:
        super().__init__("mlp")

    def loss(self, x: Tensor) -> Tensor:
        """The mean loss of a batch ``[B, 1, 28, 28]``."""
        distortion, rate = self.distortion_and_rate(x)
        return (distortion + rate).mean()

    def distortion(self, z: Tensor, x: Tensor) -> Tensor:
        logits, pixels = self.decoder(z), x.flatten(1)
        return F.binary_cross_entropy_with_logits(logits, pixels, reduction="none").sum(1)

    def draw(self, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A sample, log q(z|x) and log N(z; 0, I), in nats ``[B]``."""
        noise = torch.randn_like(mean)
        z = mean + noise * (0.5 * log_variance).exp()
        constant = 0.5 * LATENT * math.log(2 * math.pi)
        log_q = -0.5 * (noise.square() + log_variance).sum(1) - constant
        return z, log_q, -0.5 * z.square().sum(1) - constant


class Vamp(Loop):
    """A VampPrior of 500 pseudo-inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.pseudo = nn.Parameter(torch.randn(500, 784))

    def loss(self, x: Tensor) -> Tensor:
        z, log_q, _ = self.draw(*self.encode(x))
        mean, log_variance = self.encode(self.pseudo.sigmoid())
        prior = NormalMixture(z.new_zeros(500), mean, 0.5 * log_variance)
        return (self.distortion(z, x) + log_q - prior.log_prob(z)).mean()


class Inverse(Loop):
    """An inverse autoregressive posterior of two transforms."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(400, 2 * LATENT + 64)
        self.flow = zuko.flows.MAF(LATENT, 64, transforms=2, hidden_features=(256,)).transform

    def loss(self, x: Tensor) -> Tensor:
        heads = self.head(self.encoder(x)).split([LATENT, LATENT, 64], -1)
        start, log_q, _ = self.draw(*heads[:2])
        z, log_det = self.flow(heads[2]).call_and_ladj(start)
        log_p = -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)
        return (self.distortion(z, x) + log_q - log_det - log_p).mean()


class Wasserstein(Loop):
    """WAE-MMD with the kernel imq."""

    def loss(self, x: Tensor) -> Tensor:
        z, _, _ = self.draw(*self.encode(x))
        penalty = squared_mmd(z, torch.randn_like(z), "imq", IMQ, 1.0)
        return self.distortion(z, x).mean() + 10 * penalty


class Regularized(Loop):
    """RAE-GP."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(400, LATENT)

    def loss(self, x: Tensor) -> Tensor:
        z = self.head(self.encoder(x))
        code = z.detach().requires_grad_()
        mean = self.decoder(code).sigmoid()
        signs = torch.randint_like(mean, 2) * 2 - 1
        (slope,) = torch.autograd.grad((signs * mean).sum(), code, create_graph=True)
        norm = 0.5 * z.square().sum(1)
        return (self.distortion(z, x) + 0.02 * norm + 0.01 * slope.square().sum(1)).mean()


class Sphere(Loop):
    """A von Mises-Fisher posterior."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(400, LATENT + 1)

    def loss(self, x: Tensor) -> Tensor:
        direction, scale = self.head(self.encoder(x)).tensor_split((-1,), -1)
        q = VonMisesFisher(F.normalize(direction, dim=-1), F.softplus(scale).squeeze(-1) + 1)
        z = q.rsample()
        rate = kl_divergence(q, UniformSphere(torch.zeros(LATENT)))
        return (self.distortion(z, x) + rate).mean()


class Hamiltonian(Loop):
    """Three leapfrog steps of the posterior."""

    def __init__(self) -> None:
        super().__init__()
        self.log_step = nn.Parameter(torch.full((LATENT,), 0.05).log())

    def loss(self, x: Tensor) -> Tensor:
        z, log_q, _ = self.draw(*self.encode(x))
        noise, root, first = torch.randn_like(z), 0.3**0.5, 0.3**0.5
        momentum, step = noise / root, self.log_step.exp()

        def slope(z: Tensor) -> Tensor:
            energy = (self.distortion(z, x) + 0.5 * z.square().sum(1)).sum()
            return torch.autograd.grad(energy, z, create_graph=True)[0]

        for k in range(1, 4):
            momentum = momentum - step / 2 * slope(z)
            z = z + step * momentum
            momentum = momentum - step / 2 * slope(z)
            new = 1 / ((1 - 1 / first) * (k / 3) ** 2 + 1 / first)
            momentum, root = momentum * root / new, new
        log_q = log_q - 0.5 * (noise.square() - momentum.square()).sum(1)
        log_p = -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)
        return (self.distortion(z, x) + log_q - log_p).mean()


VARIANTS: dict[str, tuple[type[Loop], dict[str, Any]]] = {
    "plain": (Loop, {}),
    "vamp": (Vamp, {"model": {"prior": {"type": "vamp", "components": 500}}}),
    "iaf": (Inverse, {"model": {"posterior": {"type": "inverse-autoregressive"}}}),
    "mmd": (Wasserstein, {"regularizers": ["mmd"], "train": {"select": "last"}}),
    "rae-gp": (
        Regularized,
        {
            "model": {"posterior": "deterministic"},
            "regularizers": [{"type": "code-norm", "weight": 0.02}, "decoder-gradient"],
            "train": {"select": "last"},
        },
    ),
    "vmf": (Sphere, {"model": {"posterior": "von-mises-fisher", "prior": "uniform-sphere"}}),
    "hamiltonian": (Hamiltonian, {"model": {"latents": {"type": "hamiltonian", "steps": 3}}}),
}


class Marks(vaezoo.Callback):
    """The clocks at the first and the last record of the training split."""

    def __init__(self) -> None:
        self.marks: list[dict[str, float]] = []

    def log(self, record: Any) -> None:
        if record["split"] == "train":
            self.marks.append({name: clock() for name, clock in nll.CLOCKS.items()})

    def seconds(self, steps: int) -> dict[str, float]:
        """The seconds of a step by each clock."""
        first, last = self.marks[0], self.marks[-1]
        return {name: (last[name] - first[name]) / steps for name in first}


def own(name: str, steps: int, out: str) -> dict[str, float]:
    """The seconds of a step of vaezoo by each clock."""
    spec, changes = speed.spec("mlp", "fp32"), VARIANTS[name][1]
    length = {"epochs": None, "steps": WARMUP + steps, "log_every": WARMUP, "validate_every": 99}
    spec["train"] = {"precision": "fp32", **length, **changes.get("train", {})}
    spec["model"] |= changes.get("model", {})
    if "regularizers" in changes:
        spec["regularizers"] = changes["regularizers"]
    marks = Marks()
    vaezoo.run(spec, out=out, callbacks=[marks])
    return marks.seconds(steps)


def by_hand(name: str, steps: int, x: Tensor) -> dict[str, float]:
    """The seconds of a step of the hand-written loop by each clock."""
    model = VARIANTS[name][0]()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    marks, order, total = Marks(), torch.randperm(len(x)), torch.zeros(())
    for step in range(WARMUP + steps + 1):
        if step in (WARMUP, WARMUP + steps):
            marks.log({"split": "train"})
        rows = order[step * BATCH % (len(x) - BATCH) :][:BATCH]
        loss = model.loss(handwritten.binarize(x.index_select(0, rows)))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += loss.detach()
    return marks.seconds(steps)


def measure(name: str, pairs: int, x: Tensor, out: str) -> dict[str, tuple[float, float, float]]:
    """The geometric mean of the ratios and its 95 % interval, by clock."""
    steps = STEPS.get(name, 200)
    contenders: list[Callable[[], dict[str, float]]] = [
        lambda: own(name, steps, out),
        lambda: by_hand(name, steps, x),
    ]
    ratios: dict[str, list[float]] = {clock: [] for clock in nll.CLOCKS}
    for pair in range(pairs):
        times = [each() for each in contenders[:: 1 if pair % 2 else -1]]
        ours, hand = times[:: 1 if pair % 2 else -1]
        for clock in ratios:
            ratios[clock].append(ours[clock] / hand[clock])
    return {clock: nll.interval(values) for clock, values in ratios.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--pairs", type=int, default=25)
    parser.add_argument("--clock", choices=nll.CLOCKS, default="wall")
    options = parser.parse_args()
    tune_allocator()
    torch.set_num_threads(1)
    page.write_report = lambda run: None
    x, worst, begun = speed.load()["train"], 0.0, time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        for name in options.names:
            limits = measure(name, options.pairs, x, out)
            worst = max(worst, limits[options.clock][2])
            for clock, (mean, low, high) in limits.items():
                print(f"{name:12s} {clock:5s} {mean:.3f}, 95 % interval {low:.3f} to {high:.3f}")
    print(f"{options.pairs} pairs, {time.perf_counter() - begun:.0f} s")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())

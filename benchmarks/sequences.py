"""Times sequence models against plain PyTorch loops; prints medians and ratios.

    python benchmarks/sequences.py             # five interleaved repetitions

Data: random piano-rolls of 60 steps, batch 16, 200 units, 32 latent dimensions, fp32. Of 150
training steps the last 100 are timed. vaezoo trains through its public API with all defaults of a
run. The loops use plain PyTorch: fused GRUs if the recurrence does not depend on z, else a
``GRUCell`` and the networks of prior and posterior step by step. The cells are those of vaezoo. A
ratio of 1.00 is the speed of the loop; larger is faster. Shapes: T steps, B examples, D keys.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import speed
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaezoo.utils.allocator import tune_allocator

PIECES, STEPS, KEYS, BATCH, UNITS, LATENT = 2400, 60, 88, 16, 200, 32
TIMED_STEPS, ALL_STEPS = 100, speed.WARMUP_STEPS + 100
CHAIN = {"type": "chain", "units": UNITS, "hidden": UNITS}
MODELS: dict[str, dict[str, Any]] = {
    "gru": {"type": "recurrent", "units": UNITS, "latent": False},
    "vrae": {"type": "recurrent", "units": UNITS},
    "vrnn": CHAIN,
    "hvrnn": CHAIN | {"levels": 2},
}


def spec(name: str, path: Path) -> dict[str, Any]:
    encoder = {"type": "recurrent", "hidden": [UNITS], "units": UNITS, "direction": "backward"}
    if name == "gru":
        encoder |= {"cell": "none"}
    return {
        "spec": "vaezoo/v1",
        "name": name,
        "data": {
            "type": "sequences",
            "path": str(path),
            "batch_size": BATCH,
            "fractions": [0.98, 0.01, 0.01],
        },
        "model": {
            "latent_dim": LATENT,
            "encoder": encoder,
            "latents": MODELS[name],
            "decoder": {"type": "steps", "hidden": [UNITS]},
            "likelihood": "bernoulli",
        },
        "train": {
            "steps": ALL_STEPS,
            "clip": 1.0,
            "select": "last",
            "optimizer": {"type": "adam", "lr": 1e-3},
        },
        "evaluate": [],
    }


def normal(h: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and log-scale of a normal."""
    mean, log_scale = h.chunk(2, -1)
    return mean, log_scale


def kl_normal(q: tuple[Tensor, Tensor], p: tuple[Tensor, Tensor]) -> Tensor:
    shift, ratio = (q[0] - p[0]) * (-p[1]).exp(), q[1] - p[1]
    return (0.5 * (shift.square() + (2 * ratio).exp() - 1) - ratio).sum(-1)


def sample(q: tuple[Tensor, Tensor]) -> Tensor:
    return q[0] + torch.randn_like(q[0]) * q[1].exp()


def mlp(in_features: int, out_features: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(in_features, UNITS), nn.ReLU(), nn.Linear(UNITS, out_features))


class SequenceLatent(nn.Module):
    """A recurrent decoder with one latent vector, or none."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.embed = nn.Sequential(nn.Linear(KEYS, UNITS), nn.ReLU())
        if latent_dim:
            self.backward_rnn = nn.GRU(UNITS, UNITS)
            self.posterior = nn.Linear(UNITS, 2 * latent_dim)
            self.initial_state = nn.Linear(latent_dim, UNITS)
        self.rnn = nn.GRU(UNITS + latent_dim, UNITS)
        self.out = mlp(UNITS + latent_dim, KEYS)

    def forward(self, x: Tensor) -> Tensor:
        """The mean loss of sequences ``[T, B, D]``."""
        features = self.embed(x)
        rnn_input = torch.cat([torch.zeros_like(features[:1]), features[:-1]])
        kl, state = x.new_zeros(x.shape[1]), None
        if self.latent_dim:
            q = normal(self.posterior(self.backward_rnn(features.flip(0))[0][-1]))
            z = sample(q)
            kl = kl_normal(q, (torch.zeros_like(z), torch.zeros_like(z)))
            z_steps = z.expand(len(x), *z.shape)  # [T, B, latent_dim]
            rnn_input = torch.cat([rnn_input, z_steps], -1)
            state = torch.tanh(self.initial_state(z))[None]
        states, _ = self.rnn(rnn_input, state)
        code = torch.cat([states, z_steps], -1) if self.latent_dim else states
        distortion = F.binary_cross_entropy_with_logits(self.out(code), x, reduction="none")
        return (distortion.sum((0, 2)) + kl).mean()


class Chain(nn.Module):
    """A VRNN with one or two levels, with a posterior from a backward GRU."""

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(KEYS, UNITS), nn.ReLU())
        self.backward_rnn = nn.GRU(UNITS, UNITS)
        parent_dims = [LATENT * level for level in range(levels)]
        self.priors = nn.ModuleList(mlp(UNITS + dims, 2 * LATENT) for dims in parent_dims)
        self.posteriors = nn.ModuleList(mlp(2 * UNITS + dims, 2 * LATENT) for dims in parent_dims)
        self.cells = nn.ModuleList(
            nn.GRUCell(UNITS + dims + LATENT, UNITS) for dims in parent_dims
        )
        self.out = mlp(levels * (UNITS + LATENT), KEYS)

    def forward(self, x: Tensor) -> Tensor:
        """The mean loss of sequences ``[T, B, D]``."""
        features = self.embed(x)
        future = self.backward_rnn(features.flip(0))[0].flip(0)
        states = [x.new_zeros(x.shape[1], UNITS) for _ in self.cells]
        kl, codes = x.new_zeros(x.shape[1]), []
        for t in range(len(x)):
            parent_latents, latents = x.new_zeros(x.shape[1], 0), []
            for prior, posterior, state in zip(self.priors, self.posteriors, states, strict=True):
                context = torch.cat([state, parent_latents], -1)
                q = normal(posterior(torch.cat([context, future[t]], -1)))
                z = sample(q)
                kl = kl + kl_normal(q, normal(prior(context)))
                parent_latents = torch.cat([parent_latents, z], -1)
                latents.append(parent_latents)
            codes.append(torch.cat([*states, parent_latents], -1))
            states = [
                cell(torch.cat([features[t], z], -1), state)
                for cell, z, state in zip(self.cells, latents, states, strict=True)
            ]
        logits = self.out(torch.stack(codes))
        distortion = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
        return (distortion.sum((0, 2)) + kl).mean()


def build_net(name: str) -> nn.Module:
    if name == "gru":
        return SequenceLatent(0)
    if name == "vrae":
        return SequenceLatent(LATENT)
    return Chain(2 if name == "hvrnn" else 1)


def time_plain_loop(name: str, rolls: Tensor) -> float:
    """Trains a model by a plain loop; returns the seconds of the timed steps."""
    net = build_net(name)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    start = 0.0
    for step in range(ALL_STEPS):
        if step == speed.WARMUP_STEPS:
            start = time.perf_counter()
        rows = torch.randint(len(rolls), (BATCH,))
        x = rolls[rows].float().transpose(0, 1)  # [T, B, D]
        loss = net(x)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    tune_allocator()
    rolls = np.random.default_rng(0).random((PIECES, STEPS, KEYS)) < 0.05
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in MODELS}
    with tempfile.TemporaryDirectory() as out:
        path = Path(out) / "rolls.npz"
        np.savez(path, x=rolls)
        for repetition in range(options.repetitions + 1):  # the first is a warm-up
            for name in MODELS:
                vaezoo_seconds = speed.train(spec(name, path), out)[1]
                plain_seconds = time_plain_loop(name, torch.from_numpy(rolls))
                if repetition:
                    times[name].append((vaezoo_seconds, plain_seconds))
    print(f"{'':8}{'vaezoo, sequences a second':>28}{'by hand':>10}{'ratio':>8}   range")
    for name, pairs in times.items():
        ratios = [plain / vaezoo for vaezoo, plain in pairs]
        rates = [
            BATCH * TIMED_STEPS / statistics.median(seconds)
            for seconds in zip(*pairs, strict=True)
        ]
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        ratio = statistics.median(ratios)
        print(f"{name:8}{rates[0]:28,.0f}{rates[1]:10,.0f}{ratio:8.2f}   {spread}")


if __name__ == "__main__":
    main()

"""Times models of sequences against plain torch loops with the same cells; prints medians and ratios.

    python benchmarks/sequences.py             # five interleaved repetitions

Random piano-rolls of 60 steps, batch 16, 200 units, 32 latent dimensions, fp32, 150 steps of training of which the last
100 count. vaezoo trains through its public API with everything a run has by default. The loops are straight torch:
fused GRUs wherever the recurrence does not depend on z, a ``GRUCell`` and the networks of prior and posterior step by
step where it does. 1.00 is the loop's own speed, more is faster.
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
COUNTED, ALL = 100, speed.AFTER + 100
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
        "data": {"type": "sequences", "path": str(path), "batch_size": BATCH, "fractions": [0.98, 0.01, 0.01]},
        "model": {
            "latent_dim": LATENT,
            "encoder": encoder,
            "latents": MODELS[name],
            "decoder": {"type": "steps", "hidden": [UNITS]},
            "likelihood": "bernoulli",
        },
        "train": {"steps": ALL, "clip": 1.0, "select": "last", "optimizer": {"type": "adam", "lr": 1e-3}},
        "evaluate": [],
    }


def normal(h: Tensor) -> tuple[Tensor, Tensor]:
    mean, log_scale = h.chunk(2, -1)
    return mean, log_scale


def divergence(q: tuple[Tensor, Tensor], p: tuple[Tensor, Tensor]) -> Tensor:
    shift, ratio = (q[0] - p[0]) * (-p[1]).exp(), q[1] - p[1]
    return (0.5 * (shift.square() + (2 * ratio).exp() - 1) - ratio).sum(-1)


def drawn(q: tuple[Tensor, Tensor]) -> Tensor:
    return q[0] + torch.randn_like(q[0]) * q[1].exp()


def layer(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, UNITS), nn.ReLU(), nn.Linear(UNITS, out))


class SequenceLatent(nn.Module):
    """A recurrent decoder with one z or none."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.latent = latent
        self.embed = nn.Sequential(nn.Linear(KEYS, UNITS), nn.ReLU())
        if latent:
            self.back, self.q, self.first = nn.GRU(UNITS, UNITS), nn.Linear(UNITS, 2 * latent), nn.Linear(latent, UNITS)
        self.rnn, self.out = nn.GRU(UNITS + latent, UNITS), layer(UNITS + latent, KEYS)

    def forward(self, x: Tensor) -> Tensor:
        """The loss of sequences ``[T, B, D]``."""
        features = self.embed(x)
        heard = torch.cat([torch.zeros_like(features[:1]), features[:-1]])
        kl, state = x.new_zeros(x.shape[1]), None
        if self.latent:
            q = normal(self.q(self.back(features.flip(0))[0][-1]))
            z = drawn(q)
            kl = divergence(q, (torch.zeros_like(z), torch.zeros_like(z)))
            beside = z.expand(len(x), *z.shape)
            heard, state = torch.cat([heard, beside], -1), torch.tanh(self.first(z))[None]
        states, _ = self.rnn(heard, state)
        code = torch.cat([states, beside], -1) if self.latent else states
        told = F.binary_cross_entropy_with_logits(self.out(code), x, reduction="none").sum((0, 2))
        return (told + kl).mean()


class Chain(nn.Module):
    """A VRNN with one level or two, its posterior from a backward GRU."""

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.embed, self.back = nn.Sequential(nn.Linear(KEYS, UNITS), nn.ReLU()), nn.GRU(UNITS, UNITS)
        above = [LATENT * i for i in range(levels)]
        self.p = nn.ModuleList(layer(UNITS + u, 2 * LATENT) for u in above)
        self.q = nn.ModuleList(layer(2 * UNITS + u, 2 * LATENT) for u in above)
        self.cells = nn.ModuleList(nn.GRUCell(UNITS + u + LATENT, UNITS) for u in above)
        self.out = layer(levels * (UNITS + LATENT), KEYS)

    def forward(self, x: Tensor) -> Tensor:
        """The loss of sequences ``[T, B, D]``."""
        features = self.embed(x)
        seen = self.back(features.flip(0))[0].flip(0)
        h = [x.new_zeros(x.shape[1], UNITS) for _ in self.cells]
        kl, codes = x.new_zeros(x.shape[1]), []
        for t in range(len(x)):
            above, latents = x.new_zeros(x.shape[1], 0), []
            for p, q, state in zip(self.p, self.q, h, strict=True):
                known = torch.cat([state, above], -1)
                posterior = normal(q(torch.cat([known, seen[t]], -1)))
                z = drawn(posterior)
                kl = kl + divergence(posterior, normal(p(known)))
                above = torch.cat([above, z], -1)
                latents.append(above)
            codes.append(torch.cat([*h, above], -1))
            h = [cell(torch.cat([features[t], z], -1), s) for cell, z, s in zip(self.cells, latents, h, strict=True)]
        logits = self.out(torch.stack(codes))
        return (F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum((0, 2)) + kl).mean()


def by_hand(name: str, rolls: Tensor) -> float:
    """Seconds of the counted steps."""
    net = (
        SequenceLatent(0)
        if name == "gru"
        else SequenceLatent(LATENT)
        if name == "vrae"
        else Chain(1 + (name == "hvrnn"))
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    started = 0.0
    for step in range(ALL):
        if step == speed.AFTER:
            started = time.perf_counter()
        x = rolls[torch.randint(len(rolls), (BATCH,))].float().transpose(0, 1)
        loss = net(x)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    return time.perf_counter() - started


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
        for repetition in range(options.repetitions + 1):  # the first warms up and is not counted
            for name in MODELS:
                ours, theirs = speed.train(spec(name, path), out)[1], by_hand(name, torch.from_numpy(rolls))
                if repetition:
                    times[name].append((ours, theirs))
    print(f"{'':8}{'vaezoo, sequences a second':>28}{'by hand':>10}{'ratio':>8}   range")
    for name, found in times.items():
        ratios = [theirs / ours for ours, theirs in found]
        rates = [BATCH * COUNTED / statistics.median(column) for column in zip(*found, strict=True)]
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        print(f"{name:8}{rates[0]:28,.0f}{rates[1]:10,.0f}{statistics.median(ratios):8.2f}   {spread}")


if __name__ == "__main__":
    main()

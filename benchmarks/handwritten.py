"""What vaezoo is measured against: a plain training loop, and the best one we can write by hand.

Neither has a log, a progress line, a checkpoint or a choice of anything; both validate once an epoch, as vaezoo does.
"""

from __future__ import annotations

import contextlib
import math
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

LATENT = 16


class VAE(nn.Module):
    """The MLP 784-400-400-16, or the convolutional 32-64-16."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        if kind == "mlp":
            self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU())
            self.decoder = nn.Sequential(
                nn.Linear(LATENT, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 784)
            )
            self.head = nn.Linear(400, 2 * LATENT)
        else:
            self.encoder = nn.Sequential(
                nn.Conv2d(1, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU(), nn.Flatten()
            )
            self.decoder = nn.Sequential(
                nn.Linear(LATENT, 64 * 49),
                nn.ReLU(),
                nn.Unflatten(1, (64, 7, 7)),
                nn.ConvTranspose2d(64, 32, 4, 2, 1),
                nn.ReLU(),
                nn.ConvTranspose2d(32, 1, 4, 2, 1),
                nn.Flatten(),
            )
            self.head = nn.Linear(64 * 49, 2 * LATENT)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.head(self.encoder(x).float()).chunk(2, -1)
        return mean, log_variance

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Distortion and rate of each example."""
        mean, log_variance = self.encode(x)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        logits = self.decoder(z).float()
        flat = x.flatten(1)
        distortion = F.binary_cross_entropy_with_logits(logits, flat, reduction="none").sum(1)
        rate = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        return distortion, rate


def autocast(precision: str) -> contextlib.AbstractContextManager:
    return torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()


def draw(x: Tensor) -> Tensor:
    return (torch.rand(x.shape).mul_(255) < x).float()


class Clock:
    """Seconds from the ``after``-th step to the end."""

    def __init__(self, after: int) -> None:
        self.after, self.steps, self.started = after, 0, 0.0

    def tick(self) -> None:
        self.steps += 1
        if self.steps == self.after:
            self.started = time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self.started


@torch.inference_mode()
def validate(model: VAE, x: Tensor, precision: str) -> float:
    model.eval()
    total = 0.0
    for start in range(0, len(x), 1000):
        with autocast(precision):
            distortion, rate = model.parts(x[start : start + 1000].float())
        total += float((distortion + rate).sum())
    model.train()
    return -total / len(x)


def train_plain(kind: str, x: Tensor, held_out: Tensor, epochs: int, after: int) -> tuple[VAE, float]:
    """A loop as tutorials write it: DataLoader, Adam, a loss read at every step."""
    model = VAE(kind)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    data = DataLoader(TensorDataset(x.float() / 255), batch_size=128, shuffle=True)
    clock, losses = Clock(after), []
    for _ in range(epochs):
        for (batch,) in data:
            distortion, rate = model.parts(torch.bernoulli(batch))
            loss = (distortion + rate).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            clock.tick()
        validate(model, held_out, "fp32")
    return model, clock.seconds()


def train_best(kind: str, x: Tensor, held_out: Tensor, epochs: int, after: int, precision: str) -> tuple[VAE, float]:
    """The fastest loop we know: gathers from one uint8 tensor, fused Adam, losses left on the device."""
    model = VAE(kind)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    clock, total = Clock(after), torch.zeros(())
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for start in range(0, len(x), 128):
            batch = draw(x.index_select(0, order[start : start + 128]))
            with autocast(precision):
                distortion, rate = model.parts(batch)
            loss = (distortion + rate).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach()
            clock.tick()
        validate(model, held_out, precision)
    return model, clock.seconds()


@torch.inference_mode()
def sample(model: VAE, n: int, precision: str) -> Tensor:
    with autocast(precision):
        return torch.cat([model.decoder(torch.randn(1000, LATENT)).float().sigmoid() for _ in range(n // 1000)])


@torch.inference_mode()
def encode(model: VAE, x: Tensor, precision: str) -> Tensor:
    with autocast(precision):
        return torch.cat([model.encode(part)[0] for part in x.split(1000)])


@torch.inference_mode()
def log_likelihood(model: VAE, x: Tensor, samples: int, precision: str) -> Tensor:
    """Encodes once; a few samples at a time, so that they stay in the cache."""
    with autocast(precision):
        mean, log_variance = model.encode(x)
    scale, flat, at_once = (0.5 * log_variance).exp(), x.flatten(1), 5
    total = torch.full((len(x),), -math.inf)
    for _ in range(samples // at_once):
        noise = torch.randn(at_once, *mean.shape)
        z = mean + noise * scale
        with autocast(precision):
            logits = model.decoder(z.flatten(0, 1))
        logits = logits.float().view(at_once, *flat.shape)
        log_px = (flat * logits - F.softplus(logits)).sum(-1)
        log_ratio = 0.5 * (noise.square() - z.square()).sum(-1) + 0.5 * log_variance.sum(-1)
        total = torch.logaddexp(total, torch.logsumexp(log_px + log_ratio, 0))
    return total - math.log(samples)

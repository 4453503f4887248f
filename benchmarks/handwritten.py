"""The loops that vaezoo is compared with: a plain training loop and the fastest we can write.

Neither has logs, a progress line, checkpoints or options. Both validate once per epoch, as vaezoo
does. Shapes: B examples, D = 784 pixels, 16 latent dimensions, S samples.
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
    """The MLP 784-400-400-16, or convolutions with 32 and 64 channels."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        if kind == "mlp":
            self.encoder = nn.Sequential(
                nn.Flatten(), nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU()
            )
            self.decoder = nn.Sequential(
                nn.Linear(LATENT, 400),
                nn.ReLU(),
                nn.Linear(400, 400),
                nn.ReLU(),
                nn.Linear(400, 784),
            )
            self.head = nn.Linear(400, 2 * LATENT)
        else:
            self.encoder = nn.Sequential(
                nn.Conv2d(1, 32, 4, 2, 1),
                nn.ReLU(),
                nn.Conv2d(32, 64, 4, 2, 1),
                nn.ReLU(),
                nn.Flatten(),
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

    def distortion_and_rate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Distortion and rate in nats, ``[B]`` each."""
        mean, log_variance = self.encode(x)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        logits = self.decoder(z).float()
        pixels = x.flatten(1)  # [B, D]
        distortion = F.binary_cross_entropy_with_logits(logits, pixels, reduction="none").sum(1)
        rate = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        return distortion, rate


def autocast(precision: str) -> contextlib.AbstractContextManager:
    return (
        torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else contextlib.nullcontext()
    )


def binarize(x: Tensor) -> Tensor:
    return (torch.rand(x.shape).mul_(255) < x).float()


class Clock:
    """Seconds from the end of step ``warmup_steps`` to the end."""

    def __init__(self, warmup_steps: int) -> None:
        self.warmup_steps, self.steps, self.start = warmup_steps, 0, 0.0

    def tick(self) -> None:
        self.steps += 1
        if self.steps == self.warmup_steps:
            self.start = time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self.start


@torch.inference_mode()
def validate(model: VAE, x: Tensor, precision: str) -> float:
    model.eval()
    total = 0.0
    for start in range(0, len(x), 1000):
        with autocast(precision):
            distortion, rate = model.distortion_and_rate(x[start : start + 1000].float())
        total += float((distortion + rate).sum())
    model.train()
    return -total / len(x)


def train_plain(
    kind: str, x: Tensor, validation: Tensor, *, epochs: int, warmup_steps: int
) -> tuple[VAE, float]:
    """A loop as in tutorials: DataLoader, Adam, and the loss is read in every step."""
    model = VAE(kind)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    data = DataLoader(TensorDataset(x.float() / 255), batch_size=128, shuffle=True)
    clock, losses = Clock(warmup_steps), []
    for _ in range(epochs):
        for (batch,) in data:
            distortion, rate = model.distortion_and_rate(torch.bernoulli(batch))
            loss = (distortion + rate).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            clock.tick()
        validate(model, validation, "fp32")
    return model, clock.seconds()


def train_best(
    kind: str,
    x: Tensor,
    validation: Tensor,
    *,
    epochs: int,
    warmup_steps: int,
    precision: str,
) -> tuple[VAE, float]:
    """The fastest loop we know: batches from one uint8 tensor, fused Adam, losses not read."""
    model = VAE(kind)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    clock, total = Clock(warmup_steps), torch.zeros(())
    for _ in range(epochs):
        order = torch.randperm(len(x))
        for start in range(0, len(x), 128):
            batch = binarize(x.index_select(0, order[start : start + 128]))
            with autocast(precision):
                distortion, rate = model.distortion_and_rate(batch)
            loss = (distortion + rate).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach()
            clock.tick()
        validate(model, validation, precision)
    return model, clock.seconds()


@torch.inference_mode()
def sample(model: VAE, n: int, precision: str) -> Tensor:
    with autocast(precision):
        images = [
            model.decoder(torch.randn(1000, LATENT)).float().sigmoid() for _ in range(n // 1000)
        ]
        return torch.cat(images)


@torch.inference_mode()
def encode(model: VAE, x: Tensor, precision: str) -> Tensor:
    with autocast(precision):
        return torch.cat([model.encode(batch)[0] for batch in x.split(1000)])


@torch.inference_mode()
def log_likelihood(model: VAE, x: Tensor, samples: int, precision: str) -> Tensor:
    """Encodes once, and decodes 5 samples at a time, so that they fit in the CPU cache."""
    with autocast(precision):
        mean, log_variance = model.encode(x)
    scale, block = (0.5 * log_variance).exp(), 5
    pixels = x.flatten(1)  # [B, D]
    total = torch.full((len(x),), -math.inf)
    for _ in range(samples // block):
        noise = torch.randn(block, *mean.shape)
        z = mean + noise * scale
        with autocast(precision):
            logits = model.decoder(z.flatten(0, 1))  # [block * B, D]
        logits = logits.float().view(block, *pixels.shape)  # [block, B, D]
        log_px = (pixels * logits - F.softplus(logits)).sum(-1)
        log_ratio = 0.5 * (noise.square() - z.square()).sum(-1) + 0.5 * log_variance.sum(-1)
        total = torch.logaddexp(total, torch.logsumexp(log_px + log_ratio, 0))
    return total - math.log(samples)

"""Models that stand still: their posterior means are the data themselves."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest
import torch

import vaezoo


class Planted:
    """A model whose posterior means are its data."""

    def __init__(self, dimensions, classes=("a", "b", "c"), support="real"):
        self.data = vaezoo.DataSpec((dimensions,), "real", classes=classes)
        self.spaces = (vaezoo.Space((dimensions,), support=support),)
        self.conditioner = self.into_encoder = None
        self.into_prior, self.latents = False, SimpleNamespace(conditional=False)

    def batch_size(self):
        return 64

    def posterior_mean(self, batch):
        return batch.x


def served(x, labels=None):
    return vaezoo.Loader(vaezoo.Split(x, labels), torch.device("cpu"), 64)


def blobs(n, distance=3.0, dimensions=4, seed=0):
    """Points around three corners, with the labels of these."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (n,), generator=generator)
    noise = torch.randn(n, dimensions, generator=generator)
    return distance * torch.eye(3, dimensions)[labels] + noise, labels


@pytest.fixture
def measure():
    """Calls a metric with the seed and the settings of an evaluation."""

    def call(metric, model, data, training=None):
        torch.manual_seed(0)
        metric.training = None if training is None else lambda: training
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("error")
            return metric(model, data)

    return call

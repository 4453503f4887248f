"""Specs on the digits, a conditioner and a data set with few labels, both known to this process
alone."""

from __future__ import annotations

import copy
import sys
import types

import pytest
import torch
import torch.nn.functional as F

import vaezoo
from vaezoo.plugins import discovery
from vaezoo.plugins.catalogue import Catalogue, ComponentEntry, PluginInfo
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.training.phase_optimizer import PhaseOptimizer
from vaezoo.utils.devices import pick_device

torch.set_num_threads(1)


class OneHot(vaezoo.Conditioner):
    """A one-hot label; zeros where it is not known."""

    def __init__(self, wiring: vaezoo.Wiring, /) -> None:
        super().__init__()
        self.classes = len(wiring.data.classes)

    def forward(self, condition):
        return F.one_hot(condition.clamp(min=0), self.classes).float() * (condition >= 0)[:, None]

    def unconditional_context(self, n):
        return torch.zeros(n, self.classes)


class Embedding(vaezoo.Conditioner):
    """A learned vector for each label."""

    def __init__(self, wiring: vaezoo.Wiring, /) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(len(wiring.data.classes), 3)

    def forward(self, condition):
        return self.table(condition)


class FewLabels(vaezoo.Dataset):
    """The digits, every ``keep``-th training example with its label, the others with -1.

    Args:
        keep: 1 keeps all.
    """

    def __init__(self, *, keep: int = 5) -> None:
        self.keep = keep
        self.digits = load_spec(spec()).data.build()

    @property
    def spec(self):
        return self.digits.spec

    def split(self, name):
        result = copy.copy(self.digits.split(name))
        if name != "train":
            return result
        known = torch.arange(len(result)) % self.keep == 0
        return vaezoo.Split(
            result.x, torch.where(known, result.condition, -1), transform=result.transform
        )


@pytest.fixture(autouse=True)
def _parts(monkeypatch):
    module = types.ModuleType("vaezoo_aae_parts")
    targets = {
        "conditioner": {"one-hot-label": OneHot, "embedding": Embedding},
        "dataset": {"few-labels": FewLabels},
    }
    entries = []
    for kind, result in targets.items():
        for name, cls in result.items():
            setattr(module, cls.__name__, cls)
            entries.append(
                ComponentEntry(kind, name, f"vaezoo_aae_parts:{cls.__name__}", "vaezoo")
            )
    monkeypatch.setitem(sys.modules, module.__name__, module)
    known = discovery.catalogue()
    extended = Catalogue(
        list(known.plugins), {key: list(value) for key, value in known.entries.items()}
    )
    extended.add(PluginInfo("parts", "0", "ok", entries=tuple(entries)))
    monkeypatch.setattr(discovery, "catalogue", lambda: extended)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def spec(
    *, regularizers=({"type": "adversarial", "hidden": [16, 16]},), data=None, train=None, **model
):
    """A spec on the digits: deterministic and adversarial unless told otherwise."""
    block = {
        "latent_dim": 2,
        "encoder": {"type": "mlp", "hidden": [32]},
        "posterior": "deterministic",
        "decoder": {"type": "mlp", "hidden": [32]},
        "likelihood": "bernoulli",
        **model,
    }
    return {
        "spec": "vaezoo/v2",
        "name": "aae",
        "data": data or {"type": "digits", "batch_size": 64},
        "model": block,
        "regularizers": [*regularizers],
        "train": {"epochs": 1, "select": "last", "device": "cpu", **(train or {})},
        "evaluate": ["distortion"],
    }


def phase_optimizers(inputs, batch_size=64):
    """The task of a spec, its players by name, and a batch."""
    loaded = load_spec(inputs)
    _, train, (task,) = prepare_training(loaded, pick_device("cpu"))
    result = {
        phase.name: PhaseOptimizer(phase, task=task, config=loaded.train, total_steps=100)
        for phase in task.phases()
    }
    return task, result, train.first(batch_size)


def snapshot(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def changed(before, module):
    return {
        name
        for name, tensor in module.state_dict().items()
        if not torch.equal(before[name], tensor)
    }


def _data(classes=10):
    names = tuple(map(str, range(classes)))
    return vaezoo.DataSpec(
        (1, 8, 8), "unit", 256, classes=names, condition_shape=() if classes else None
    )


def wiring(*dims, context_dim=0, classes=10):
    """The wiring of a penalty for latent vectors of ``dims`` numbers; one of 2 if not given."""
    return vaezoo.TaskWiring(
        data=_data(classes),
        train_size=1000,
        context_shape=(context_dim,) if context_dim else None,
        spaces=tuple(vaezoo.Space((size,), name=f"z{i}") for i, size in enumerate(dims or (2,))),
    )


def posterior_wiring(in_features, latent_dim):
    """The wiring of a posterior of one latent vector."""
    return vaezoo.PosteriorWiring(
        data=_data(), train_size=1000, in_shape=(in_features,), space=vaezoo.Space((latent_dim,))
    )


def prior_wiring(latent_dim, context_dim=0):
    """The wiring of a prior of one latent vector."""
    return vaezoo.PriorWiring(
        data=_data(),
        train_size=1000,
        context_shape=(context_dim,) if context_dim else None,
        space=vaezoo.Space((latent_dim,)),
    )


def latents_wiring(feature_shapes, latent_dim, posterior, prior):
    """The wiring of latents without a context.

    Args:
        feature_shapes: the shapes of the features of one example.
        latent_dim: the number of dimensions of the latent vector.
        posterior, prior: the classes.
    """
    return vaezoo.LatentsWiring(
        data=_data(),
        train_size=1000,
        feature_shapes=feature_shapes,
        space=vaezoo.Space((latent_dim,)),
        posterior=lambda shape, space: posterior(posterior_wiring(*shape, *space.shape)),
        prior=lambda space: prior(prior_wiring(*space.shape)),
    )


def trace(*sites, context=None, condition=None):
    """A trace without a model or a likelihood."""
    batch = vaezoo.Batch(torch.zeros(sites[0].z.shape[1], 1, 8, 8), condition)
    return vaezoo.Trace(None, batch, sites, sites[0].z, None, context)

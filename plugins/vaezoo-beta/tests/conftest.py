"""Wirings, traces and results of steps for one latent vector, which need no composed model."""

from __future__ import annotations

from types import SimpleNamespace

import torch

import vaezoo
from vaezoo.utils.process_group import ProcessGroup


class GivenLikelihood(vaezoo.Likelihood):
    """The likelihood of traces whose ``px`` is given and not decoded."""

    def forward(self, h, extras):
        raise NotImplementedError


MODEL = SimpleNamespace(
    likelihood=GivenLikelihood(vaezoo.Wiring(data=vaezoo.DataSpec((2,)), train_size=1))
)


def task_wiring(latent_dim, train_size=100):
    """The wiring of a penalty or an objective for one latent vector."""
    return vaezoo.TaskWiring(
        data=vaezoo.DataSpec((1, 8, 8)),
        train_size=train_size,
        spaces=(vaezoo.Space((latent_dim,)),),
    )


def given_trace(batch, *sites, px=None):
    """A trace of given latent variables; the code is the first of them."""
    return vaezoo.Trace(MODEL, batch, sites, sites[0].z, px)


def step_result(step=0, processes=None, **terms):
    """What a component is told after a training step with given means of its terms."""
    terms = {name: torch.as_tensor(mean) for name, mean in terms.items()}
    return vaezoo.StepResult(
        step=step, model=MODEL, processes=processes or ProcessGroup(), read_terms=lambda: terms
    )

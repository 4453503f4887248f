"""Promises about latent variables in use: generated, decoded, encoded as means, and kept."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaezoo.distributions import DiagonalNormal
from vaezoo.model.latents import Latents
from vaezoo.model.parts import Prior
from vaezoo.model.passes import Generation
from vaezoo.model.protocol import GenerativeModel
from vaezoo.model.trace import Site
from vaezoo.testing.case import CPU, Bench, Case
from vaezoo.testing.noise import steady
from vaezoo.testing.passes import LOSS_KINDS, differs, loss_results, same_bits
from vaezoo.testing.promise import Rule
from vaezoo.utils.seeds import seeded

_SAMPLES, _ERRORS, _COLD = 2000, 6.0, 0.25


class StandIn(Prior):
    """A normal far from N(0, I), as a sampler in place of a prior.

    Args:
        shape: the shape of a value.
    """

    conditional = True

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.mean = torch.linspace(2, 3, math.prod(shape)).reshape(shape)
        self.log_scale = torch.full(shape, -0.5)

    def forward(self, context: Tensor | None, model: GenerativeModel) -> Distribution:
        """The normal, whatever the context is."""
        return DiagonalNormal(self.mean, self.log_scale, self.mean.dim())


def _inferred(bench: Bench, k: int) -> tuple[tuple[Site, ...], Tensor]:
    return bench.model.latents.infer(bench.model.start_inference(bench.batch, k))


def _vectors(sites: tuple[Site, ...]) -> Tensor:
    """All latent variables side by side, ``[K, B, D]``."""
    return torch.cat([site.z.flatten(2).float() for site in sites], -1)


def _generation(bench: Bench, n: int, **changes: Any) -> Generation:
    """A generation with the conditions of the batch, in turn."""
    condition, model = bench.batch.condition, bench.model
    if model.conditioner is None or condition is None:
        return Generation(model, n, **changes)
    context = model.context(condition[torch.arange(n) % len(condition)], n)
    return Generation(model, n, context, model.prior_context(context), **changes)


def _has_vectors(case: Case) -> bool:
    """Whether the latent variables are vectors or maps, without steps."""
    bench = case.probe
    if bench.model.latents.stepwise:
        return False
    spaces, (sites, _) = bench.model.spaces, _inferred(bench, 1)
    return all(
        site.mask is None and tuple(site.z.shape[2:]) == space.shape
        for site, space in zip(sites, spaces, strict=True)
    )


def _defines(case: Case, method: str) -> bool:
    return getattr(case.cls, method) is not getattr(Latents, method)


@torch.no_grad()
def check_code(case: Case) -> None:
    """Given latent vectors have the codes that inference has for them."""
    bench = case.compose()
    bench.task.eval()
    with steady():
        sites, code = _inferred(bench, 2)
        for z, expected in zip(_vectors(sites), code, strict=True):
            found = bench.model.latents.code(z, _generation(bench, len(z)))
            assert not differs(found, expected), (
                "`code` and `infer` disagree: the code of latent vectors is not the one that "
                "`infer` returned with them, so that what is interpolated or traversed is decoded "
                "otherwise than in training; compute both alike"
            )


@torch.no_grad()
def check_generate(case: Case) -> None:
    """Generated codes are those of samples of the prior in use, at its temperature."""
    bench = case.compose()
    bench.task.eval()
    latents, (space,) = bench.model.latents, bench.model.spaces
    prior = StandIn(space.shape)
    with seeded(CPU, "promise", "generate"):
        own = prior(None, bench.model).sample(torch.Size((_SAMPLES,)))
        for temperature in (1.0, _COLD):
            z = prior.mean + math.sqrt(temperature) * (own - prior.mean)
            generation = _generation(bench, _SAMPLES, prior_temperature=temperature, sampler=prior)
            expected = _code_of(case, z, generation)
            problem = _compared(latents.generate(generation), expected)
            what = "samples of the prior in use" if temperature == 1 else "them at T = 0.25"
            assert not problem, (
                f"generates from something else: {problem} of {what}; return the codes of "
                "generation.sample(self.prior), which knows samplers and the temperature"
            )


def _code_of(case: Case, z: Tensor, generation: Generation) -> Tensor:
    """The codes of latent variables, which are these themselves without a method `code`."""
    return case.probe.model.latents.code(z.flatten(1), generation) if _codes(case) else z


def _codes(case: Case) -> bool:
    return _defines(case, "code")


def _compared(found: Tensor, expected: Tensor) -> str | None:
    """How means and spreads of codes ``[n, ...]`` differ; None if they do not."""
    if found.shape != expected.shape:
        return f"the codes have the shape {tuple(found.shape)}, not the {tuple(expected.shape)}"
    spread, other = expected.std(0), found.std(0)
    error = _ERRORS * (spread + other) / math.sqrt(len(found)) + 1e-4
    if bool(((found.mean(0) - expected.mean(0)).abs() > error).any()):
        pair = float(found.mean()), float(expected.mean())
        return "the mean of the codes is {:.3g}, not {:.3g} as that of the codes".format(*pair)
    if bool(((other - spread).abs() > error).any()):
        pair = float(other.mean()), float(spread.mean())
        return "the spread of the codes is {:.3g}, not {:.3g} as that of the codes".format(*pair)
    return None


def _generates_one(case: Case) -> bool:
    """Whether codes are made of one real variable, by a method or as they are."""
    spaces = case.probe.model.spaces
    if len(spaces) != 1 or spaces[0].support != "real" or not _has_vectors(case):
        return False
    (site,), code = _inferred(case.probe, 1)
    return _codes(case) or code is site.z


@torch.no_grad()
def check_mean(case: Case) -> None:
    """The posterior mean is the mean of samples."""
    bench = case.compose()
    bench.task.eval()
    with seeded(CPU, "promise", "mean"):
        inference = bench.model.start_inference(bench.batch, _SAMPLES)
        sites, _ = bench.model.latents.infer(inference)
        mean = bench.model.latents.posterior_mean(inference)
    z = _vectors(sites)  # [K, B, D]
    assert mean.shape == z.shape[1:], (
        f"posterior_mean has the shape {tuple(mean.shape)}, not {tuple(z.shape[1:])} [B, D]"
    )
    error = _ERRORS * z.std(0) / math.sqrt(len(z)) + 1e-3
    assert bool(((mean - z.mean(0)).abs() <= error).all()), (
        f"posterior_mean is not the mean of z: it is {float(mean.mean()):.3g} on average, and "
        f"samples have {float(z.mean()):.3g}; return the mean of q(z|x)"
    )


def _has_own_mean(case: Case) -> bool:
    if not _defines(case, "posterior_mean") or not _has_vectors(case):
        return False
    (first, *others), _ = _inferred(case.probe, 1)
    return not others and first.log_q is None and case.probe.model.spaces[0].support == "real"


@torch.no_grad()
def check_kept(case: Case) -> None:
    """Decoding and losses leave z and the codes as they are."""
    bench = case.compose()
    bench.task.eval()
    seen: list[tuple[str, Tensor, Tensor]] = []
    latents: Any = bench.model.latents
    infer = latents.infer

    def recorded(inference: Any) -> Any:
        sites, code = infer(inference)
        values = {"the samples z": sites[0].z if sites else code, "the codes": code}
        seen.extend((name, value, value.clone()) for name, value in values.items())
        return sites, code

    latents.infer = recorded
    try:
        if case.kind in LOSS_KINDS:
            loss_results(bench, bench.batch)
        else:
            bench.model(bench.batch, 2)
    finally:
        del latents.infer
    for name, value, before in seen:
        assert same_bits(value, before), (
            f"changes {name} in place, so that the KL and other terms are those of other values; "
            "work on a copy (avoid mul_(), relu_() and inplace=True)"
        )


RULES = (
    Rule(
        "given latent vectors have their codes",
        ("latents",),
        check_code,
        applies=lambda case: _codes(case) and _has_vectors(case),
    ),
    Rule("generates from the prior in use", ("latents",), check_generate, applies=_generates_one),
    Rule("the posterior mean is that of z", ("latents",), check_mean, applies=_has_own_mean),
    Rule("the latents stay as they are", ("decoder", *LOSS_KINDS), check_kept),
)
"""Promises about latent variables in use."""

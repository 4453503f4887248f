"""Promises about random numbers: they come from the seed, and they are random."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaezoo.distributions import density_of, draw
from vaezoo.model.wiring import Space
from vaezoo.testing.case import CPU, Bench, Case
from vaezoo.testing.noise import touched_generators
from vaezoo.testing.passes import LATENT_KINDS, PASS_KINDS, results, same_bits
from vaezoo.testing.promise import Rule
from vaezoo.utils.seeds import seeded

_DRAWS = 40
_DRAWING = (*LATENT_KINDS, "likelihood")


def _repeat(bench: Bench, seed: int) -> dict[str, Tensor]:
    with seeded(CPU, "promise", seed):
        values = results(bench, bench.batch)
    return {name: value.detach() for name, value in values.items()}


def check_repeats(case: Case) -> None:
    """One seed gives one result, and global generators stay as they are."""
    bench = case.compose()
    bench.task.eval()
    (first, again), touched = touched_generators(lambda: [_repeat(bench, 0) for _ in range(2)])
    assert not touched, (
        f"uses or seeds {touched[0]}; draw with torch's functions and without a seed of your own: "
        "vaezoo seeds every pass"
    )
    for name, value in first.items():
        assert same_bits(value, again[name]), (
            f"ignores the seed: the {name} of two passes with one seed differs; draw from torch's "
            "generator, not from one of your own and not from the time"
        )


def generated(bench: Bench, seed: int) -> Tensor:
    """Samples of the model, one for each example of the batch."""
    condition = bench.batch.condition if bench.model.conditioner is not None else None
    given: dict[str, Any] = {} if condition is None else {"condition": condition}
    if bench.model.data.extras:
        given["extras"] = dict(bench.batch.extras)
    x = bench.model.sample(len(bench.batch), seed=seed, **given)
    return x if isinstance(x, Tensor) else torch.cat([part.flatten(1) for part in x.values()], 1)


def check_generation(case: Case) -> None:
    """``Model.sample`` is a function of its seed, and gives different samples."""
    bench = case.compose()
    bench.model.eval()
    (first, again, other), touched = touched_generators(
        lambda: [generated(bench, seed) for seed in (1, 1, 2)]
    )
    assert not touched, (
        f"generating uses or seeds {touched[0]}; draw with torch's functions, without a seed"
    )
    assert torch.equal(first, again), (
        "ignores the seed: two calls of model.sample with one seed differ; draw from torch's "
        "generator, not from one of your own and not from the time"
    )
    assert not torch.equal(first, other), (
        "ignores the seed: model.sample gives the same for seeds 1 and 2; do not seed torch, or a "
        "generator of your own, with a constant"
    )
    alike = (first[1:] == first[:1]).flatten(1).all(1)
    assert not bool(alike.all()) or bench.model.conditioner is not None, (
        "generates identical samples: the examples of one call of model.sample are all the same; "
        "draw as many as generation.n says"
    )


def distributions_of(bench: Bench) -> list[tuple[str, Distribution]]:
    """The distributions that the component makes for two examples, in evaluation mode."""
    bench.task.eval()
    kind, model = bench.case.kind, bench.model
    trace = model(bench.batch.select(slice(0, 2)), 1)
    if kind == "likelihood":
        assert trace.px is not None
        return [("p(x|z)", trace.px)]
    priors = [(f"the prior of {site.name!r}", site.p) for site in trace.sites]
    posteriors = [
        (f"the posterior of {site.name!r}", site.q) for site in trace.sites if site.log_q is None
    ]
    return {"prior": priors, "posterior": posteriors}.get(kind, priors + posteriors)


def space_of(bench: Bench, name: str) -> Space:
    """The space of a latent variable whose prior or posterior ``distributions_of`` names."""
    return next(space for space in bench.model.spaces if repr(space.name) in name)


@torch.no_grad()
def check_varied(case: Case) -> None:
    """K samples are not one sample K times."""
    bench = case.compose()
    for name, distribution in distributions_of(bench):
        if density_of(distribution) == "none":
            continue
        draws = _tensor(distribution.sample(torch.Size((_DRAWS,))))
        if case.kind != "likelihood" and _is_certain(distribution, draws):
            continue
        assert not bool((draws[1:] == draws[:1]).all()), (
            f"{name} gives {_DRAWS} identical samples; sample(sample_shape) must draw each anew"
        )
    if case.kind not in LATENT_KINDS:
        return
    first, second = (_sites(bench, seed) for seed in (0, 1))
    for name, z in first.items():
        assert not bool((z[1:] == z[:1]).all()), (
            f"the K = {_DRAWS} samples of {name!r} are identical; draw K of them, as in "
            "q.rsample(torch.Size((inference.k,))), instead of expanding one"
        )
        assert not torch.equal(z, second[name]), (
            f"ignores the seed: the samples of {name!r} are the same for two seeds; do not seed "
            "torch, or a generator of your own, with a constant"
        )


def _sites(bench: Bench, seed: int) -> dict[str, Tensor]:
    """The samples of the latent variables whose posterior has a density, by name."""
    with seeded(CPU, "promise", seed):
        inference = bench.model.start_inference(bench.batch, _DRAWS)
        sites = bench.model.infer(inference).sites
    return {
        site.name: site.z
        for site in sites
        if site.density != "none" and (site.log_q is not None or not _is_certain(site.q, site.z))
    }


def _is_certain(distribution: Distribution, values: Tensor) -> bool:
    """Whether values have the probability 1, as the symbols of a quantizer have."""
    return bool((distribution.log_prob(values).abs() < 1e-3).all())


@torch.no_grad()
def check_temperature(case: Case) -> None:
    """At temperature 0 there is one value."""
    for name, distribution in distributions_of(case.compose()):
        with suppress(NotImplementedError):
            first, second = (_tensor(draw(distribution, 0.0)) for _ in range(2))
            assert torch.equal(first, second), (
                f"{name} is random at temperature 0; return its most probable value (`mode`)"
            )


def _tensor(value: Any) -> Tensor:
    """Samples ``[n, ...]``; those of several parts side by side."""
    if isinstance(value, Tensor):
        return value
    return torch.cat([part.flatten(1) for part in value.values()], 1)


RULES = (
    Rule("one seed gives one result", PASS_KINDS, check_repeats),
    Rule("generation follows the seed", ("prior", "latents"), check_generation),
    Rule("samples differ", _DRAWING, check_varied),
    Rule("temperature 0 is not random", _DRAWING, check_temperature),
)
"""Promises about random numbers."""

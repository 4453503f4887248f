"""Gradients of iwae that reach the posterior through its samples only, for all latents that there
are: they have the expectation of the standard gradient, or are refused at the objective's line.

Shapes: K samples, B copies of one example, R repetitions.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import vaezoo
from vaezoo.plugins import discovery
from vaezoo.utils.errors import SpecError

IMAGES = vaezoo.DataSpec((1, 4, 4), "binary")
LABELLED = replace(IMAGES, classes=("a", "b"), condition_shape=())
SEQUENCES = vaezoo.DataSpec((3, 2), "binary", mask_dims=1)
JOINT = vaezoo.DataSpec((), "joint", parts={"left": IMAGES, "right": IMAGES})
MLP, CONV = {"type": "mlp", "hidden": [8]}, {"type": "conv", "channels": [4]}
VECTORS = {"encoder": MLP, "decoder": MLP, "likelihood": "bernoulli"}
MAPS = {"encoder": CONV, "decoder": CONV, "likelihood": "bernoulli"}
STEPS = {
    "encoder": {"type": "recurrent", "hidden": [6], "units": 6, "direction": "backward"},
    "decoder": {"type": "steps", "hidden": [6]},
    "likelihood": "bernoulli",
}
CHAIN = {"type": "chain", "units": 6, "hidden": 6}
BOTH = {"left": MLP, "right": MLP}
EXPERTS = {
    "encoder": {"type": "joint", "parts": BOTH},
    "latents": "product-of-experts",
    "decoder": {"type": "joint", "parts": BOTH},
    "likelihood": {"type": "joint", "parts": dict.fromkeys(BOTH, "bernoulli")},
}
SPHERE = {"posterior": "von-mises-fisher", "prior": "uniform-sphere", "latent_dim": 3}
GUMBEL = {"latents": {"type": "gumbel-softmax", "classes": 3}, "prior": "uniform-classes"}
VQ = {"latents": {"type": "vector-quantized", "codes": 4}, "prior": "uniform-symbols"}
SYMBOLS = {"latents": {"type": "symbol-map", "symbols": 4}, "prior": "uniform-symbols"}
SEVERAL = r"dreg needs one latent variable, and there are \d"
EARLIER = "the posterior of 'level-1' depends on earlier samples; use gradient: standard"
NO_GRADIENT = r"the posterior of '\w+' has samples without gradient; use gradient: standard"
NO_DENSITY = "is not defined here: the posterior of latent variable '[a-z]+' has no density"
CASES = {  # the data, the model, and why dreg and stl are refused
    "single": (IMAGES, VECTORS, {}),
    "single, maps": (IMAGES, {**MAPS, "latents": {"type": "single", "maps": True}}, {}),
    "single, sphere": (IMAGES, {**VECTORS, **SPHERE}, {}),
    "single, vamp": (IMAGES, {**VECTORS, "prior": {"type": "vamp", "components": 3}}, {}),
    "single, deterministic": (
        IMAGES,
        {**VECTORS, "posterior": "deterministic"},
        {"dreg": NO_DENSITY, "stl": NO_DENSITY},
    ),
    "recurrent": (SEQUENCES, {**STEPS, "latents": {"type": "recurrent", "units": 6}}, {}),
    "chain": (SEQUENCES, {**STEPS, "latents": CHAIN}, {"dreg": EARLIER}),
    "chain, 2 levels": (
        SEQUENCES,
        {**STEPS, "latents": {**CHAIN, "levels": 2, "clocks": [2, 1]}},
        {"dreg": SEVERAL},
    ),
    "chain, z of the sequence": (
        SEQUENCES,
        {**STEPS, "latents": {**CHAIN, "sequence_dim": 2}},
        {"dreg": SEVERAL},
    ),
    "category-and-style": (
        IMAGES,
        {**VECTORS, "latents": "category-and-style"},
        {"dreg": NO_DENSITY, "stl": NO_DENSITY},
    ),
    "ladder": (
        IMAGES,
        {**MAPS, "encoder": {**CONV, "channels": [4, 4]}, "latents": "ladder"},
        {"dreg": SEVERAL},
    ),
    "class-and-style": (
        LABELLED,
        {**VECTORS, "latents": "class-and-style"},
        {"dreg": SEVERAL, "stl": NO_GRADIENT},
    ),
    "hamiltonian": (
        IMAGES,
        {**VECTORS, "latents": "hamiltonian"},
        dict.fromkeys(("dreg", "stl"), "the posterior of 'z' is refined in the pass"),
    ),
    "gumbel-softmax": (IMAGES, {**VECTORS, **GUMBEL}, {"dreg": NO_GRADIENT, "stl": NO_GRADIENT}),
    "symbol-map": (IMAGES, {**MAPS, **SYMBOLS}, {"dreg": NO_GRADIENT, "stl": NO_GRADIENT}),
    "vector-quantized": (IMAGES, {**MAPS, **VQ}, {"dreg": NO_GRADIENT, "stl": NO_GRADIENT}),
    "product-of-experts": (JOINT, EXPERTS, {}),
}
REPETITIONS = 6
LARGER = {"single, sphere": 0.8}
"""Where weights like those of the others would give a gradient that is small beside its noise."""


@pytest.fixture(autouse=True)
def _installed(variants):
    """The package of variants is installed like a stranger's."""


def composed(case, gradient, samples):
    """The task of one gradient, with weights that are not those of the beginning."""
    data, model, _ = CASES[case]
    objective = {"type": "iwae", "samples": samples, "gradient": gradient}
    spec = {"spec": "vaezoo/v1", "name": "t", "data": "digits", "objective": objective}
    spec = vaezoo.load_spec({**spec, "model": {"latent_dim": 2, **model}, "regularizers": []})
    task = vaezoo.compose(spec, data, 100)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in task.parameters():
            parameter.add_(LARGER.get(case, 0.2) * torch.randn_like(parameter))
    return task


def copies(data, count):
    """One example, ``count`` times."""
    generator = torch.Generator().manual_seed(2)

    def example(part):
        return (
            (torch.rand(part.shape, generator=generator) < 0.5).float().expand(count, *part.shape)
        )

    if data.parts:
        return vaezoo.Batch({name: example(part) for name, part in data.parts.items()})
    mask = torch.ones(count, data.shape[0], dtype=torch.bool) if data.mask_dims else None
    return vaezoo.Batch(example(data), None, mask)


def gradients(task, batch):
    """The mean gradient of a batch for each weight, in several repetitions, ``[R, numbers]``."""
    weights = [w for name, w in task.named_parameters() if "encoder" in name or "latents" in name]
    torch.manual_seed(3)
    rows = [torch.autograd.grad(task(batch)[0].mean(), weights) for _ in range(REPETITIONS)]
    return [torch.stack(column).flatten(1) for column in zip(*rows, strict=True)]


def test_all_latents_are_among_the_cases():
    names = {case.partition(",")[0] for case in CASES}
    assert names == {*discovery.catalogue().names("latents")}


@pytest.mark.parametrize(("gradient", "samples"), [("dreg", 3), ("stl", 1)])
@pytest.mark.parametrize("case", CASES)
def test_a_gradient_has_the_expectation_of_the_standard_one_or_is_refused(case, gradient, samples):
    data, _, refused = CASES[case]
    if gradient in refused:
        with pytest.raises(SpecError, match=rf"objective: .*{refused[gradient]}"):
            composed(case, gradient, samples)
        return
    batch = copies(data, 600)
    standard, other = (
        gradients(composed(case, g, samples), batch) for g in ("standard", gradient)
    )
    # how far each gradient goes in the direction of the standard one, less 1; the mean of weights
    excess = torch.stack(
        [
            (b - a) @ a.mean(0) / a.mean(0).square().sum()
            for a, b in zip(standard, other, strict=True)
            if a.any()
        ]
    ).mean(0)  # [R]
    error = excess.std() / REPETITIONS**0.5
    assert error < 0.07, "a gradient that is off by a third must be seen"
    assert abs(excess.mean()) < 4 * error + 0.02


class Hidden(vaezoo.distributions.DiagonalNormal):
    """A normal that hides its parameters from ``detach``."""

    def __init__(self, loc, log_scale):
        super().__init__(loc, log_scale)
        self.hidden = {"loc": loc}

    def log_prob(self, value):
        return -(value - self.hidden["loc"]).square().sum(-1)


class Odd(vaezoo.Latents):
    """Latents of a stranger, of two dimensions that are drawn in a certain ``way``.

    Args:
        way: how.
    """

    def __init__(self, wiring, /, *, way: str) -> None:
        super().__init__()
        self.posterior, self.prior = (
            wiring.posterior((8,), wiring.space),
            wiring.prior(wiring.space),
        )
        self.spaces, self.way, self.weight = (
            (wiring.space,),
            way,
            torch.nn.Parameter(torch.zeros(1)),
        )

    def infer(self, inference):
        q = self.posterior(inference.features[-1].flatten(1))
        z = q.rsample((inference.k,))
        code = z.exp() if self.way == "function" else z
        if self.way == "copy":
            z = z.clone()
        elif self.way == "half":
            z, _ = torch.cat([z, z], -1).chunk(2, -1)
            code = code + z
        elif self.way == "steps":  # whose weight is 0 before training
            loc = torch.stack(
                [q.loc[:, 0] + 0 * z[..., 0], q.loc[:, 1] + self.weight * z[..., 0]], -1
            )
            q = vaezoo.distributions.DiagonalNormal(loc, q.log_scale.expand_as(loc))
        elif self.way == "hidden":
            q = Hidden(q.loc, q.log_scale)
        elif self.way == "numpy":
            noise = np.random.default_rng(0).random((inference.k, *q.loc.shape), dtype=np.float32)
            z = code = q.loc + q.scale * torch.from_numpy(noise)
        return (vaezoo.Site("z", z, q, inference.p(self.prior)),), code

    def generate(self, generation):
        return generation.sample(self.prior)


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("function", None),
        ("copy", "code or prior are not computed from the samples z that 'z' reports"),
        ("half", "code or prior are not computed from the samples z that 'z' reports"),
        ("steps", "the posterior of 'z' depends on earlier samples"),
        ("hidden", "the parameters of Hidden cannot be held constant"),
        ("numpy", "the samples of 'z' are not drawn by torch"),
    ],
)
def test_what_latents_do_is_found_out_whatever_they_are(way, reason):
    vaezoo.register("latents", "odd", Odd)
    CASES["odd"] = (IMAGES, {**VECTORS, "latents": {"type": "odd", "way": way}}, {})
    try:
        if reason is None:
            states = [composed("odd", g, 3).state_dict() for g in ("standard", "dreg")]
            assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        else:
            with pytest.raises(SpecError, match=rf"objective: .*{reason}"):
                composed("odd", "dreg", 3)
    finally:
        del CASES["odd"]

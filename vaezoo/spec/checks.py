"""Checks that posteriors, priors, objectives and metrics of a spec fit together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaezoo.distributions import DENSITIES, density_of
from vaezoo.model.latents import Latents
from vaezoo.model.model import Model
from vaezoo.model.trace import Site
from vaezoo.model.wiring import SUPPORTS, Space
from vaezoo.spec.options import ComponentSpec
from vaezoo.spec.spec import Spec
from vaezoo.utils.errors import SpecError


def check_features(spec: Spec, features: Any) -> None:
    """Checks that the encoder returned a tuple of batches of two.

    Raises:
        SpecError: it did not.
    """
    component = spec.model.encoder
    if not (
        isinstance(features, tuple)
        and features
        and all(isinstance(feature, Tensor) for feature in features)
    ):
        raise spec.problem(
            component.path, f"encoder {component.name!r} must return a tuple of tensors"
        )
    for feature in features:
        if feature.dim() < 2 or feature.shape[0] != 2:
            shape = tuple(feature.shape)
            message = f"encoder {component.name!r}: expected features (2, ...), got {shape}"
            raise spec.problem(component.path, message)


def check_posterior_support(spec: Spec, space: Space) -> None:
    """Checks that the spec's posterior samples the space of a latent variable.

    Raises:
        SpecError: it does not.
    """
    posterior = spec.model.posterior
    support, usable = posterior.cls.support, spec.model.latents.cls.supports
    _check_word(spec, posterior, support)
    _check_word(spec, spec.model.latents, space.support)
    if usable is not None and support not in usable:
        message = (
            f"posterior {posterior.name!r} samples the support {support!r}, which latents "
            f"{spec.model.latents.name!r} cannot use; they take {' or '.join(sorted(usable))}"
        )
        raise spec.problem(posterior.path, message)
    if support != space.support:
        message = (
            f"posterior {posterior.name!r} samples the support {support!r}, but latent variable "
            f"{space.name!r} of latents {spec.model.latents.name!r} is {space.support!r}"
        )
        raise spec.problem(posterior.path, message)


def check_prior_support(spec: Spec, space: Space) -> None:
    """Checks that the spec's prior is a distribution over the space of a latent variable.

    Raises:
        SpecError: it is not.
    """
    prior = spec.model.prior
    supports = prior.cls.supports
    if isinstance(supports, str):
        message = f"prior {prior.name!r}: supports is a set: write frozenset({{{supports!r}}})"
        raise spec.problem(prior.path, message)
    for support in sorted(supports):
        _check_word(spec, prior, support)
    if space.support not in supports:
        message = (
            f"prior {prior.name!r} is a distribution over {' or '.join(sorted(supports))} values, "
            f"but latent variable {space.name!r} has the support {space.support!r}; "
            "set model.prior to one for this support"
        )
        model = spec.tree.find(("model",)).value
        # a default prior has no line of its own
        culprit = next((role for role in ("prior", "posterior") if role in model), "latents")
        raise spec.problem(f"model.{culprit}", message)


def _check_word(spec: Spec, component: ComponentSpec, support: str) -> None:
    if support not in SUPPORTS and ":" not in support:
        message = (
            f"{component.kind} {component.name!r} names an unknown support {support!r}; "
            f"known: {', '.join(SUPPORTS)}, or plugin:word"
        )
        raise spec.problem(component.path, message)


def check_spaces(spec: Spec, latents: Latents) -> None:
    """Checks that latents declare their variables.

    Raises:
        SpecError: they do not, or two variables have one name.
    """
    component, spaces = spec.model.latents, getattr(latents, "spaces", None)
    if not isinstance(spaces, tuple) or not all(isinstance(space, Space) for space in spaces):
        message = (
            f"latents {component.name!r} must set self.spaces to a tuple of vaezoo.Space, one for "
            "each latent variable"
        )
        raise spec.problem(component.path, message)
    names = [space.name for space in spaces]
    if len({*names}) < len(names):
        message = f"latents {component.name!r} have two variables of one name: {', '.join(names)}"
        raise spec.problem(component.path, message)


def check_sites(spec: Spec, model: Model, sites: Any) -> None:
    """Checks the latent variables of one pass over two examples against ``Latents.spaces``.

    Args:
        spec: the spec, for messages.
        model: the model.
        sites: what ``Latents.infer`` returned for one sample of each example.

    Raises:
        SpecError: names or shapes differ, or a distribution is not one over the space.
    """
    latents = spec.model.latents
    if not isinstance(sites, tuple) or not all(isinstance(site, Site) for site in sites):
        message = f"latents {latents.name!r}: infer must return a tuple of sites, and the code"
        raise spec.problem(latents.path, message)
    declared = [space.name for space in model.spaces]
    inferred = [site.name for site in sites]
    if declared != inferred:
        message = (
            f"latents {latents.name!r} declare the variables {', '.join(declared) or 'none'}, but "
            f"infer {', '.join(inferred) or 'none'}; spaces and sites must agree"
        )
        raise spec.problem(latents.path, message)
    for site, space in zip(sites, model.spaces, strict=True):
        for role, distribution in (("posterior", site.q), ("prior", site.p)):
            check_distribution(spec, role, distribution, space)
        lead = (1, 2) if site.mask is None else (1, 2, site.mask.shape[1])
        expected, actual = (*lead, *space.shape), tuple(site.z.shape)
        if actual != expected:
            message = (
                f"latents {latents.name!r}: samples z of {site.name!r} have shape {actual}, "
                f"expected {expected}, with K = 1 sample of 2 examples"
            )
            raise spec.problem(latents.path, message)
        for role, distribution in (("posterior", site.q), ("prior", site.p)):
            check_batch_shape(spec, role, distribution, site.name, lead)


def check_distribution(spec: Spec, role: str, distribution: Any, space: Space) -> None:
    """Checks that a posterior or prior returned a distribution over a space.

    Args:
        spec: the spec, for messages.
        role: ``posterior`` or ``prior``.
        distribution: what it returned.
        space: the latent variable.

    Raises:
        SpecError: it is not one.
    """
    error = None
    if not isinstance(distribution, Distribution):
        error = f"expected a torch Distribution, got {type(distribution).__name__}"
    elif tuple(distribution.event_shape) != space.shape:
        error = (
            f"{type(distribution).__name__} has event shape {tuple(distribution.event_shape)}, "
            f"but the variable has {space.shape}"
        )
    elif density_of(distribution) not in DENSITIES:
        error = (
            f"{type(distribution).__name__} has density {density_of(distribution)!r}; "
            f"it is one of {', '.join(DENSITIES)}"
        )
    if error:
        raise _distribution_problem(spec, role, space.name, error)


def check_batch_shape(
    spec: Spec, role: str, distribution: Distribution, variable: str, expected: tuple[int, ...]
) -> None:
    """Checks that the batch shape of a posterior or prior broadcasts to that of the samples.

    Args:
        spec: the spec, for messages.
        role: ``posterior`` or ``prior``.
        distribution: the distribution.
        variable: the name of the latent variable.
        expected: the batch shape of its samples.

    Raises:
        SpecError: it does not.
    """
    try:
        fits = torch.broadcast_shapes(distribution.batch_shape, expected) == expected
    except RuntimeError:
        fits = False
    if not fits:
        error = (
            f"{type(distribution).__name__} has batch shape {tuple(distribution.batch_shape)}, "
            f"which does not broadcast to {expected}"
        )
        raise _distribution_problem(spec, role, variable, error)


def _distribution_problem(spec: Spec, role: str, variable: str, error: str) -> SpecError:
    path = getattr(spec.model, role).path
    return spec.problem(path, f"{role} of latent variable {variable!r}: {error}")


def check_density(spec: Spec, sites: tuple[Site, ...]) -> None:
    """Checks that objective, regularizers and metrics are defined for the model's densities.

    Args:
        spec: the spec.
        sites: the latent variables of one pass.

    Raises:
        SpecError: one of them is not.
    """
    for site in sites:
        if site.density == "exact":
            continue
        components = [spec.objective, *spec.evaluate]
        needs = ["requires_exact_density"]
        role = "prior" if density_of(site.p) != "exact" else "posterior"
        known = f"{role} of latent variable {site.name!r} has only a bound of its density"
        if site.density == "none":
            components = [spec.objective, *spec.regularizers]
            needs = ["loss_includes_rate", "penalizes_rate"]
            known = f"{role} of latent variable {site.name!r} has no density, so no rate"
        for component in components:
            if any(getattr(component.cls, name, False) for name in needs):
                message = f"{component.kind} {component.name!r} is not defined here: the {known}"
                raise spec.problem(component.path, message)


def check_selection(spec: Spec, model: Model) -> None:
    """Checks that ``train.select`` names a metric that is defined for the model.

    Raises:
        SpecError: it is a bound, and a posterior or prior has no density.
    """
    if spec.train.select in ("bound", "elbo") and model.density == "none":
        message = (
            f"{spec.train.select!r} is not defined for a posterior or prior without density; "
            "use distortion or last"
        )
        raise spec.problem("train.select", message)

"""Checks that posteriors, priors, objectives and metrics of a spec fit together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaezoo.distributions import DENSITIES, density_of
from vaezoo.model.model import Model
from vaezoo.model.trace import Site
from vaezoo.model.wiring import SUPPORTS, Space
from vaezoo.spec.options import ComponentSpec
from vaezoo.spec.spec import Spec


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


def check_sites(spec: Spec, model: Model, sites: tuple[Site, ...]) -> None:
    """Checks the latent variables of one pass against ``Latents.spaces``.

    Args:
        spec: the spec, for messages.
        model: the model.
        sites: the latent variables, inferred from two examples.

    Raises:
        SpecError: names or shapes differ, or a distribution is not one over the space.
    """
    latents = spec.model.latents
    declared = [(space.name, space.shape) for space in model.spaces]
    inferred = [(site.name, _value_shape(site)) for site in sites]
    if declared != inferred:
        message = (
            f"latents {latents.name!r} declare the variables {_describe(declared)}, but infer "
            f"{_describe(inferred)}; spaces and sites must agree"
        )
        raise spec.problem(latents.path, message)
    for site, space in zip(sites, model.spaces, strict=True):
        for role, distribution in (("posterior", site.q), ("prior", site.p)):
            if error := _distribution_error(distribution, site, space):
                raise spec.problem(
                    getattr(spec.model, role).path,
                    f"{role} of latent variable {site.name!r}: {error}",
                )


def _value_shape(site: Site) -> tuple[int, ...]:
    """The shape of one value: without samples, examples and steps."""
    return tuple(site.z.shape[2 if site.mask is None else 3 :])


def _describe(variables: list[tuple[str, tuple[int, ...]]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in variables) or "none"


def _distribution_error(distribution: object, site: Site, space: Space) -> str | None:
    """What is wrong with the posterior or prior of a site; None if nothing is."""
    if not isinstance(distribution, Distribution):
        return f"expected a torch Distribution, got {type(distribution).__name__}"
    name, event_shape = type(distribution).__name__, tuple(distribution.event_shape)
    if event_shape != space.shape:
        return f"{name} has event shape {event_shape}, but the variable has {space.shape}"
    batch_shape = site.z.shape[: site.z.dim() - len(space.shape)]
    try:
        fits = torch.broadcast_shapes(distribution.batch_shape, batch_shape) == batch_shape
    except RuntimeError:
        fits = False
    if not fits:
        actual = tuple(distribution.batch_shape)
        return f"{name} has batch shape {actual}, which does not broadcast to {tuple(batch_shape)}"
    density = density_of(distribution)
    if density not in DENSITIES:
        return f"{name} has density {density!r}; it is one of {', '.join(DENSITIES)}"
    return None


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
        needs = "requires_exact_density"
        role = "prior" if density_of(site.p) != "exact" else "posterior"
        known = f"{role} of latent variable {site.name!r} has only a bound of its density"
        if site.density == "none":
            components = [spec.objective, *spec.regularizers]
            needs = "loss_includes_rate or penalizes_rate"
            known = f"{role} of latent variable {site.name!r} has no density, so no rate"
        for component in components:
            if any(getattr(component.cls, name, False) for name in needs.split(" or ")):
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

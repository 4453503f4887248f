"""Checks that posteriors, priors, objectives and metrics of a spec fit together."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from vaezoo.distributions import DENSITIES, Density, density_of
from vaezoo.model.latents import Latents
from vaezoo.model.model import Model
from vaezoo.model.task import Task
from vaezoo.model.trace import Site
from vaezoo.model.wiring import SUPPORTS, Space
from vaezoo.spec.options import ComponentSpec
from vaezoo.spec.spec import Spec
from vaezoo.spec.stage import Stage
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


def check_sampler_support(spec: Spec, component: ComponentSpec, space: Space) -> None:
    """Checks that a sampler is a distribution over the space of the latent variable.

    Raises:
        SpecError: it is not.
    """
    prior: Any = component.cls
    if space.support not in prior.supports:
        message = (
            f"prior {component.name!r} is a distribution over "
            f"{' or '.join(sorted(prior.supports))} values, but latent variable "
            f"{space.name!r} has the support {space.support!r}"
        )
        raise spec.problem(component.path, message)


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
            check_distribution(spec, getattr(spec.model, role), distribution, space)
        lead = (1, 2) if site.mask is None else (1, 2, site.mask.shape[1])
        expected, actual = (*lead, *space.shape), tuple(site.z.shape)
        if actual != expected:
            message = (
                f"latents {latents.name!r}: samples z of {site.name!r} have shape {actual}, "
                f"expected {expected}, with K = 1 sample of 2 examples"
            )
            raise spec.problem(latents.path, message)
        for role, distribution in (("posterior", site.q), ("prior", site.p)):
            check_batch_shape(spec, getattr(spec.model, role), distribution, site.name, lead)


def check_distribution(
    spec: Spec, component: ComponentSpec, distribution: Any, space: Space
) -> None:
    """Checks that a posterior or prior returned a distribution over a space.

    Args:
        spec: the spec, for messages.
        component: the posterior or prior.
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
        raise _distribution_problem(spec, component, space.name, error)


def check_batch_shape(
    spec: Spec,
    component: ComponentSpec,
    distribution: Distribution,
    variable: str,
    expected: tuple[int, ...],
) -> None:
    """Checks that the batch shape of a posterior or prior broadcasts to that of the samples.

    Args:
        spec: the spec, for messages.
        component: the posterior or prior.
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
        raise _distribution_problem(spec, component, variable, error)


def _distribution_problem(
    spec: Spec, component: ComponentSpec, variable: str, error: str
) -> SpecError:
    message = f"{component.kind} of latent variable {variable!r}: {error}"
    return spec.problem(component.path, message)


def check_density(
    spec: Spec, components: Iterable[ComponentSpec], sites: tuple[Site, ...]
) -> None:
    """Checks that objective, regularizers or metrics are defined for the model's densities.

    Args:
        spec: the spec.
        components: the objective, regularizers and metrics.
        sites: the latent variables of one pass.

    Raises:
        SpecError: one of them is not.
    """
    for component, site in itertools.product(components, sites):
        cls: Any = component.cls
        if site.density == "exact":
            continue
        needs = ["requires_exact_density"]
        role = "prior" if density_of(site.p) != "exact" else "posterior"
        known = f"{role} of latent variable {site.name!r} has only a bound of its density"
        if site.density == "none":
            needs = ["loss_includes_rate", "penalizes_rate"]
            known = f"{role} of latent variable {site.name!r} has no density, so no rate"
        uses_prior_only = getattr(cls, "requires_prior_density_only", False)
        if uses_prior_only and density_of(site.p) != "none":
            continue
        if any(getattr(cls, name, False) for name in needs):
            message = f"{component.kind} {component.name!r} is not defined here: the {known}"
            if component.kind == "regularizer" and site.density == "none":
                message += "; list regularizers without it, or write regularizers: []"
            raise spec.problem(component.path, message)


def check_selection(spec: Spec, stage: Stage, task: Task, density: Density) -> None:
    """Checks that ``select`` of a stage names a metric that is defined for its loss.

    Args:
        spec: the spec.
        stage: the stage.
        task: its task.
        density: the weakest density of the latent variables in the stage.

    Raises:
        SpecError: it is not.
    """
    select, objective = stage.train.select, task.objective
    message = ""
    if select == "last":
        return
    if not objective.decodes and select != "bound":
        message = (
            f"for objective {stage.objective.name!r}, which skips the decoder; use bound or last"
        )
    elif objective.decodes and select != "distortion" and not task.has_rate:
        message = (
            "here: up to this stage the prior is not trained, and the loss has no rate; "
            "use distortion or last"
        )
    elif objective.decodes and select != "distortion" and density == "none":
        message = "for a posterior or prior without density; use distortion or last"
    if message:
        raise spec.problem(stage.path_of("select"), f"{select!r} is not defined {message}")

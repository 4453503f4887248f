"""Checks of the task of a stage: that gradients are those of the loss that the spec describes."""

from __future__ import annotations

from functools import partial

import torch

from vaezoo.distributions import detach
from vaezoo.model.objectives import Objective
from vaezoo.model.task import Task
from vaezoo.model.trace import Site, Trace
from vaezoo.spec import dummies
from vaezoo.spec.noise import MarkedNoise
from vaezoo.spec.parts import path_of
from vaezoo.spec.spec import Spec
from vaezoo.spec.stage import Stage
from vaezoo.utils.errors import one_line
from vaezoo.utils.seeds import seeded


def check_accumulation(spec: Spec, stage: Stage, task: Task) -> None:
    """Checks that the parts of a batch have the gradient of the whole batch.

    Raises:
        SpecError: a component depends on all examples of a batch, which is divided into parts.
    """
    parts = stage.train.accumulate
    for component in task.pooling_parts if parts > 1 else ():
        name = type(component).__name__
        message = (
            f"{path_of(spec, stage, task, component)} ({name}) depends on all examples of a "
            f"batch and would be another term in each of {parts} parts; use accumulate: 1"
        )
        raise spec.problem(stage.path_of("accumulate"), message)


def check_class_weights(spec: Spec, stage: Stage, task: Task) -> None:
    """Checks that the loss of a batch is a sum over examples, which weights can weigh.

    Raises:
        SpecError: a component depends on all examples of a batch at once.
    """
    for component in task.pooling_parts:
        where, name = path_of(spec, stage, task, component), type(component).__name__
        message = f"{where} ({name}) is a term of a whole batch, which weights of single examples"
        raise spec.problem("data.class_weights", f"{message} do not weigh; use class_sampling")


def check_loss(spec: Spec, stage: Stage, task: Task) -> None:
    """Checks, with two examples of zeros, that the terms of the loss are defined for the model.

    What else goes wrong in the pass is left to training, where it is said of the user's data.

    Raises:
        SpecError: one is not, such as a term of one latent vector with latents of several.
    """
    data = task.model.data
    batch = dummies.batch(data, stepwise=False, conditional=data.condition_shape is not None)
    # with random numbers of its own, so that the check changes no initial weights
    with seeded(torch.device("cpu")), task.active(), torch.no_grad():
        task.eval()
        term, regularizers = stage.objective, task.regularizers.values()
        try:
            trace = task.objective.trace(task.model, batch)
            task.objective(trace)
            for component, regularizer in zip(stage.regularizers, regularizers, strict=True):
                term = component
                regularizer(trace)
        except (ValueError, NotImplementedError) as error:
            message = f"{term.kind} {term.name!r}: {one_line(error)}"
            raise spec.problem(term.path, message) from error
        except Exception:
            return
        finally:
            task.train()


def check_path_gradients(spec: Spec, stage: Stage, task: Task) -> None:
    """Checks that an objective which changes the gradient of the posterior can do so.

    One pass over two examples of zeros shows by its autograd graph how samples are drawn and what
    they are used for.

    Raises:
        SpecError: it cannot.
    """
    objective, model = task.objective, task.model
    if not (objective.detaches_posterior or objective.rescales_gradients):
        return
    batch = dummies.batch(model.data, stepwise=False, conditional=model.conditioner is not None)

    def probe() -> list[str]:
        inference = model.start_inference(batch, 2)
        with MarkedNoise() as noise:
            trace = model.infer(inference)
        return [_path_error(objective, trace, site, noise) for site in trace.sites]

    # with random numbers of its own, so that the check changes no initial weights
    with seeded(torch.device("cpu")), model.use_prior(task.prior), torch.enable_grad():
        model.eval()
        problem = partial(spec.problem, stage.objective.path)
        errors = stage.objective.locate_errors(probe, problem)
        model.train()
    error = next((error for error in errors if error), "")
    if error:
        name = spec.model.latents.name
        message = f"{stage.objective.name!r} cannot be used with latents {name!r}: {error}"
        raise spec.problem(stage.objective.path, message)


def _path_error(objective: Objective, trace: Trace, site: Site, noise: MarkedNoise) -> str:
    """Why the objective cannot change the gradient of one latent variable; empty if it can."""
    if site.log_q is not None or not site.q.has_rsample:
        kind = "is refined in the pass" if site.q.has_rsample else "has samples without gradient"
        return f"the posterior of {site.name!r} {kind}; use gradient: standard"
    z = site.z.detach()
    try:
        is_constant = not detach(site.q).log_prob(z).requires_grad
    except TypeError as error:
        return str(error)
    if not is_constant:
        name = type(site.q).__name__
        return f"the parameters of {name} cannot be held constant; use gradient: standard"
    if not objective.rescales_gradients:
        return ""
    if noise.reaches(site.q.log_prob(z)):
        return f"the posterior of {site.name!r} depends on earlier samples; use gradient: standard"
    if not noise.reaches(site.z):
        return f"the samples of {site.name!r} are not drawn by torch; use gradient: standard"
    if any(noise.reaches(v, around=site.z) for v in (trace.code, site.p.log_prob(z))):
        return (
            f"code or prior are not computed from the samples z that {site.name!r} reports; use "
            "gradient: standard"
        )
    return ""

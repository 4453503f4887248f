"""Computes the bounds on log p(x) that are reported during training for the validation split."""

from __future__ import annotations

from vaezoo.data.loader import Loader
from vaezoo.model.task import Task


def validate(task: Task, data: Loader) -> dict[str, float]:
    """The distortion, rate, ELBO and the objective's own bound on a split, in nats per example.

    The weights of regularizers are not used and networks compute in fp32, so that results of
    different epochs can be compared.

    Args:
        task: is put into evaluation mode.
        data: the split.

    Returns:
        The means over examples by name, as far as they are defined: only ``distortion`` if a
        density is missing, no ``distortion`` if the objective skips the decoder.
    """
    task.eval()
    sums: dict[str, float] = {}
    num_samples = task.objective.num_samples
    with task.model.inference("fp32", others=[task.objective]):
        for batch in data.ordered(task.model.batch_size(num_samples)):
            trace = task.objective.trace(task.model, batch)
            values = {} if trace.px is None else {"distortion": trace.mean_distortion}
            has_rate = trace.has_rate and task.has_rate
            if has_rate:
                values["rate"] = trace.mean_rate
            if has_rate or trace.px is None:
                values["bound"] = task.objective.bound(trace)
            if has_rate and trace.px is not None:
                values["elbo"] = trace.mean_elbo
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + float(value.double().sum())
    return {name: total / len(data) for name, total in sums.items()}

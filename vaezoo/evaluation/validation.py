"""The bounds that training is validated by."""

from __future__ import annotations

from vaezoo.data.loader import Loader
from vaezoo.model.task import Task


def validate(task: Task, data: Loader) -> dict[str, float]:
    """ELBO, rate, distortion and the objective's own bound on a split, in nats per example, as far as defined.

    Nothing of a training weight enters, and networks compute in fp32: what is compared between epochs is the bound.
    """
    task.eval()
    sums: dict[str, float] = {}
    k = task.objective.num_samples
    with task.model.inference("fp32"):
        for batch in data.ordered(task.model.batch_size(k)):
            trace = task.model(batch, k)
            values = {"distortion": trace.mean_distortion}
            if trace.has_rate:
                elbo = -(trace.mean_distortion + trace.mean_rate)
                values |= {"rate": trace.mean_rate, "elbo": elbo, "bound": task.objective.bound(trace)}
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + float(value.double().sum())
    return {name: total / len(data) for name, total in sums.items()}

"""How unlike the training data an example is, and how well that tells anomalies apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypeAlias

import numpy as np
import torch
from annotated_types import Gt, MinLen
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.loader import Loader
from vaezoo.evaluation.metric import Estimate, Metric
from vaezoo.model.estimators import importance
from vaezoo.model.model import Model
from vaezoo.model.objectives import Regularizer
from vaezoo.utils.errors import did_you_mean

Method: TypeAlias = Literal["reconstruction", "elbo", "nll", "critic", "mahalanobis"]


def scores(
    model: Model,
    data: Loader,
    method: Method,
    samples: int = 50,
    *,
    reference: Loader | None = None,
    critics: Sequence[Regularizer] = (),
    per_step: bool = False,
) -> Tensor:
    """One number for each example, ``[n]``, larger for what is less like the training data.

    Args:
        model: in evaluation mode.
        data: the examples.
        method: ``reconstruction``: -log p(x|z), averaged over samples; ``elbo``: its negative; ``nll``: -log p(x) by
            importance sampling, all in nats; ``critic``: what regularizers with a player say of the latents;
            ``mahalanobis``: the distance of the posterior mean from those of the reference, squared.
        samples: of the posterior, for each example.
        reference: the training split, for ``mahalanobis``.
        critics: the trained regularizers, for ``critic``.
        per_step: divide what is in nats by the steps of each sequence, without which long ones have large scores.

    Raises:
        NotImplementedError: the posterior has no density, which ``elbo`` and ``nll`` need, there is no critic, or
            examples have no steps.
    """
    if per_step and not (model.data.is_sequence and method in ("reconstruction", "elbo", "nll")):
        raise NotImplementedError("only the nats of sequences are divided by their steps")
    with model.inference():
        if method == "mahalanobis":
            if reference is None:
                raise NotImplementedError("mahalanobis needs the training split")
            return _mahalanobis(_means(model, reference), _means(model, data))
        if method == "critic":
            return _judged(model, data, samples, critics)
        size = model.importance_batch_size if method == "nll" else model.batch_size()
        parts = [
            _score(model, batch, method, samples) / (_steps(batch) if per_step else 1) for batch in data.ordered(size)
        ]
        return torch.cat(parts).double().cpu()


def _score(model: Model, batch: Batch, method: Method, samples: int) -> Tensor:
    if method == "nll":
        return -importance(model, batch, samples)[0]
    total = torch.zeros(len(batch), device=batch.x.device)
    for _ in range(samples):
        trace = model(batch)
        total += trace.mean_distortion if method == "reconstruction" else trace.mean_distortion + trace.mean_rate
    return total / samples


def _steps(batch: Batch) -> Tensor | int:
    """How many steps of each sequence are observed."""
    return batch.x.shape[1] if batch.mask is None else batch.mask.sum(1).clamp(min=1)


def _judged(model: Model, data: Loader, samples: int, critics: Sequence[Regularizer]) -> Tensor:
    able = [critic for critic in critics if critic.has_score]
    if not able:
        raise NotImplementedError("no regularizer of this model has a critic")
    traces = (model.infer_detached(batch, samples) for batch in data.ordered(model.batch_size(samples)))
    return torch.cat([torch.stack([critic.score(trace) for critic in able]).sum(0) for trace in traces]).double().cpu()


def _means(model: Model, data: Loader) -> Tensor:
    return torch.cat([model.posterior_mean(batch) for batch in data.ordered(model.batch_size())]).double().cpu()


def _mahalanobis(reference: Tensor, means: Tensor) -> Tensor:
    centre = reference.mean(0)
    precision = torch.linalg.pinv(torch.atleast_2d(torch.cov(reference.T)))
    shift = means - centre
    return ((shift @ precision) * shift).sum(1)


def area_under_curve(score: np.ndarray, anomalous: np.ndarray) -> Mapping[str, Estimate]:
    """AUROC with its standard error (Hanley & McNeil 1982), and average precision beside the share of anomalies."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    area = float(roc_auc_score(anomalous, score))
    many, few = int(anomalous.sum()), int((~anomalous).sum())
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + (many - 1) * (q1 - area**2) + (few - 1) * (q2 - area**2)) / (many * few)
    precision = float(average_precision_score(anomalous, score))
    details = {"anomalies": float(many)}
    return {
        "anomaly_auroc": Estimate(area, max(variance, 0.0) ** 0.5, len(score), details, "area"),
        "anomaly_average_precision": Estimate(
            precision, None, len(score), details | {"floor": many / len(score)}, "share"
        ),
    }


class Anomaly(Metric):
    """How well a score tells the examples of some classes, which training did without, from the others.

    Args:
        anomalous: the names of these classes.
        method: ``reconstruction``, ``elbo`` or ``nll``.
        samples: of the posterior, for each example.
        per_step: divide by the steps of each sequence, so that its length is no score.
    """

    def __init__(
        self,
        *,
        anomalous: Annotated[Sequence[str], MinLen(1)],
        method: Literal["reconstruction", "elbo", "nll"] = "reconstruction",
        samples: Annotated[int, Gt(0)] = 10,
        per_step: bool = False,
    ) -> None:
        self.anomalous, self.method, self.samples, self.per_step = anomalous, method, samples, per_step

    def __call__(self, model: Model, data: Loader) -> Mapping[str, Estimate]:
        """``anomaly_auroc`` and ``anomaly_average_precision``."""
        unknown = sorted(set(self.anomalous) - set(model.data.classes))
        if unknown:
            raise NotImplementedError(f"no class {unknown[0]!r}{did_you_mean(unknown[0], model.data.classes)}")
        labels = torch.cat([b.condition for b in data.ordered() if b.condition is not None]).cpu()
        indices = torch.tensor([model.data.classes.index(name) for name in self.anomalous])
        anomalous = torch.isin(labels, indices).numpy()
        found = scores(model, data, self.method, self.samples, per_step=self.per_step)
        return area_under_curve(found.numpy(), anomalous)

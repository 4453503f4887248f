"""Anomaly scores of examples, and a metric of how well they detect anomalies.

Shapes: n examples of a split, B examples of a batch, D latent dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Literal, TypeAlias

import numpy as np
import torch
from annotated_types import Gt, MinLen
from torch import Tensor
from torch.nn import functional

from vaezoo.data.batch import Batch
from vaezoo.data.loader import Loader
from vaezoo.evaluation.metric import Estimate, Metric
from vaezoo.model.estimators import importance_sampling
from vaezoo.model.model import Model
from vaezoo.model.objectives import Regularizer
from vaezoo.utils.errors import did_you_mean
from vaezoo.utils.finite import require_finite

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
    """The anomaly score of each example, ``[n]``; larger if it is less like the training data.

    Args:
        model: in evaluation mode.
        data: the examples.
        method: the definition of the score. ``reconstruction``: -E_q[log p(x|z)], ``elbo``: the
            negative ELBO, and ``nll``: -log p(x) by importance sampling, all in nats. ``critic``:
            the sum of the critics' scores of the latents. ``mahalanobis``: the squared Mahalanobis
            distance of the posterior mean from those of ``reference``.
        samples: posterior samples for each example.
        reference: the training split, for ``mahalanobis``.
        critics: the trained regularizers, for ``critic``; those without a score are ignored.
        per_step: divide a score in nats by the number of observed steps of each sequence,
            because scores otherwise grow with the length.

    Raises:
        NotImplementedError: a density is missing, which ``elbo`` and ``nll`` need, or only a
            bound, for ``nll``; there is no critic; or ``per_step`` is used with data that are not
            sequences.
    """
    if per_step and not (model.data.is_sequence and method in ("reconstruction", "elbo", "nll")):
        raise NotImplementedError(
            "per_step is defined only for sequences and methods reconstruction, elbo and nll"
        )
    with model.inference(others=critics):
        if method == "mahalanobis":
            if reference is None:
                raise NotImplementedError("mahalanobis needs the training split")
            return _mahalanobis(_posterior_means(model, reference), _posterior_means(model, data))
        if method == "critic":
            return _critic_scores(model, data, samples, critics)
        size = model.importance_batch_size if method == "nll" else model.batch_size()
        batches = data.ordered(size)
        batch_scores = [
            _score(model, batch, method, samples) / (_num_steps(batch) if per_step else 1)
            for batch in batches
        ]
        return torch.cat(batch_scores).double().cpu()


def _score(model: Model, batch: Batch, method: Method, samples: int) -> Tensor:
    """The score of each example by ``reconstruction``, ``elbo`` or ``nll``, in nats, ``[B]``."""
    if method == "nll":
        return -importance_sampling(model, batch, samples)[0]
    total = torch.zeros(len(batch), device=batch.device)
    for _ in range(samples):
        trace = model(batch)
        total += trace.mean_distortion if method == "reconstruction" else -trace.mean_elbo
    return total / samples


def _num_steps(batch: Batch) -> Tensor | int:
    """The number of observed steps of each sequence, ``[B]``, or of all if there is no mask."""
    mask = batch.step_mask
    return batch.x.shape[1] if mask is None else mask.sum(1).clamp(min=1)


def step_scores(model: Model, data: Loader, samples: int = 50) -> tuple[Tensor, Tensor]:
    """-E_q[log p(x_t|z)] of each step of sequences, in nats, ``[n, T]``; 0 at hidden steps.

    Their sum over the steps is the score ``reconstruction`` of a sequence.

    Returns:
        The scores, and which steps are shown, bool ``[n, T]``.

    Args:
        model: in evaluation mode.
        data: the sequences; T counts the steps of the longest.
        samples: posterior samples for each sequence.

    Raises:
        NotImplementedError: the data are no sequences.
    """
    parts, masks = [], []
    with model.inference():
        for batch in data.ordered(model.batch_size()):
            total = torch.zeros(batch.x.shape[:2], device=batch.device)
            for _ in range(samples):
                trace = model(batch)
                total -= trace.mean(model.likelihood.step_log_prob(trace))
            parts.append((total / samples).double().cpu())
            mask = batch.step_mask
            masks.append(torch.ones_like(total).bool().cpu() if mask is None else mask.cpu())
    steps = max(part.shape[1] for part in parts)

    def join(values: Sequence[Tensor]) -> Tensor:
        return torch.cat([functional.pad(each, (0, steps - each.shape[1])) for each in values])

    return join(parts), join(masks)


def _critic_scores(
    model: Model, data: Loader, samples: int, critics: Sequence[Regularizer]
) -> Tensor:
    """The sum of the critics' scores of each example, ``[n]``."""
    scoring_critics = [critic for critic in critics if critic.has_score]
    if not scoring_critics:
        raise NotImplementedError("no regularizer of this model has a critic")
    traces = (
        model.infer_detached(batch, samples) for batch in data.ordered(model.batch_size(samples))
    )
    batch_scores = [
        torch.stack([critic.score(trace) for critic in scoring_critics]).sum(0) for trace in traces
    ]
    return torch.cat(batch_scores).double().cpu()


def _posterior_means(model: Model, data: Loader) -> Tensor:
    """The posterior mean of each example, ``[n, D]``."""
    return (
        torch.cat([model.posterior_mean(batch) for batch in data.ordered(model.batch_size())])
        .double()
        .cpu()
    )


def _mahalanobis(reference: Tensor, means: Tensor) -> Tensor:
    """The squared Mahalanobis distance of each mean from the reference means, ``[n]``."""
    centre = reference.mean(0)
    precision = torch.linalg.pinv(torch.atleast_2d(torch.cov(reference.T)))  # [D, D]
    shift = means - centre
    return ((shift @ precision) * shift).sum(1)


def detection_metrics(score: np.ndarray, anomalous: np.ndarray) -> Mapping[str, Estimate]:
    """The AUROC with its standard error (Hanley & McNeil 1982), and the average precision.

    Args:
        score: the anomaly score of each example, ``[n]``.
        anomalous: whether each example is an anomaly, ``[n]``.

    Returns:
        ``anomaly_auroc`` and ``anomaly_average_precision``; ``floor`` in the details of the latter
        is the share of anomalies, which random scores would reach.

    Raises:
        NotImplementedError: all examples are anomalies, or none is.
    """
    if anomalous.all() or not anomalous.any():
        raise NotImplementedError("needs anomalies and other examples in the split")
    from sklearn.metrics import average_precision_score, roc_auc_score

    area = float(roc_auc_score(anomalous, score))
    positives, negatives = int(anomalous.sum()), int((~anomalous).sum())
    # Q1 and Q2 of the paper: two positives (negatives) are ranked above one negative (below one
    # positive)
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (
        area * (1 - area) + (positives - 1) * (q1 - area**2) + (negatives - 1) * (q2 - area**2)
    )
    variance /= positives * negatives
    precision = float(average_precision_score(anomalous, score))
    details = {"anomalies": float(positives)}
    precision_details = details | {"floor": positives / len(score)}
    return {
        "anomaly_auroc": Estimate(
            area, max(variance, 0.0) ** 0.5, len(score), details, unit="area"
        ),
        "anomaly_average_precision": Estimate(
            precision, None, len(score), precision_details, unit="share"
        ),
    }


class Anomaly(Metric):
    """How well an anomaly score detects the examples of some classes.

    These classes are usually left out of training; where they are not, because the training split
    is unlabelled and contaminated in practice, ``anomalies_in_training`` counts them. Examples
    without a label are left out; ``unlabelled`` counts them.

    Args:
        anomalous: the names of the classes that are anomalies.
        method: the score: ``reconstruction`` is -E_q[log p(x|z)], ``elbo`` the negative ELBO,
            ``nll`` -log p(x) by importance sampling.
        samples: posterior samples for each example.
        per_step: divide the score by the number of steps of each sequence, so that it does not
            grow with the length.
    """

    higher_is_better = frozenset({"anomaly_auroc", "anomaly_average_precision"})

    def __init__(
        self,
        *,
        anomalous: Annotated[Sequence[str], MinLen(1)],
        method: Literal["reconstruction", "elbo", "nll"] = "reconstruction",
        samples: Annotated[int, Gt(0)] = 10,
        per_step: bool = False,
    ) -> None:
        self.anomalous, self.method, self.samples, self.per_step = (
            anomalous,
            method,
            samples,
            per_step,
        )

    def __call__(self, model: Model, data: Loader) -> Mapping[str, Estimate]:
        """``anomaly_auroc`` and ``anomaly_average_precision``."""
        unknown = sorted(set(self.anomalous) - set(model.data.classes))
        if unknown:
            raise NotImplementedError(
                f"no class {unknown[0]!r}{did_you_mean(unknown[0], model.data.classes)}"
            )
        classes = torch.tensor([model.data.classes.index(name) for name in self.anomalous])
        labels = data.labels()
        if labels is None or not bool((labels >= 0).any()):
            raise NotImplementedError("needs examples with labels")
        known = labels >= 0
        anomalous = torch.isin(labels[known], classes).numpy()
        result = scores(model, data, self.method, self.samples, per_step=self.per_step)
        require_finite(result, "the score of example")
        details, note = self._describe_training(classes)
        if unlabelled := int((~known).sum()):
            details["unlabelled"] = float(unlabelled)
        return {
            name: replace(estimate, details={**(estimate.details or {}), **details}, note=note)
            for name, estimate in detection_metrics(result[known].numpy(), anomalous).items()
        }

    def _describe_training(self, classes: Tensor) -> tuple[dict[str, float], str]:
        """How many training examples are of some classes: details, and a note if there are any."""
        labels = None if self.training is None else self.training().labels()
        if labels is None:
            return {}, "whether the training split has anomalies is not known"
        count, unlabelled = int(torch.isin(labels, classes).sum()), int((labels < 0).sum())
        details, notes = {"anomalies_in_training": float(count)}, []
        if count:
            notes.append(f"{count:,} of {len(labels):,} training examples are anomalies")
        if unlabelled:
            details["unlabelled_in_training"] = float(unlabelled)
            notes.append(f"{unlabelled:,} training examples have no label and may be anomalies")
        return details, "; ".join(notes)

"""Classifies examples with a class-conditional model by Bayes' rule.

Shapes: B examples of a batch, C classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.loader import Loader
from vaezoo.evaluation.bounds import mean_with_error
from vaezoo.evaluation.metric import Estimate, Metric
from vaezoo.model.estimators import importance_sampling
from vaezoo.model.model import Model
from vaezoo.utils.finite import require_finite

_BINS = 15


def class_posterior(model: Model, batch: Batch, samples: int) -> Tensor:
    """log p(y|x), normalized over classes from log p(x|y) + log p(y), ``[B, C]``.

    Args:
        model: conditional on a label, in evaluation mode.
        batch: the examples; their own labels are ignored.
        samples: importance samples for each log p(x|y).

    Raises:
        NotImplementedError: the model is not conditional on a label.
    """
    if model.conditioner is None or not model.data.classes:
        raise NotImplementedError("needs a model that is conditional on a label")
    log_likelihoods = []
    for label in range(len(model.data.classes)):
        labels = torch.full((len(batch),), label, device=batch.device)
        labelled = dataclasses.replace(batch, condition=labels)
        log_likelihoods.append(importance_sampling(model, labelled, samples)[0])
    return torch.log_softmax(torch.stack(log_likelihoods, 1) + model.log_class_prior, 1)


def calibration_error(confidence: Tensor, correct: Tensor) -> float:
    """The expected calibration error over 15 bins of equal width (Guo et al. 2017, eq. 3).

    Args:
        confidence: the probability of the predicted class, ``[n]``.
        correct: whether the prediction is right, ``[n]``.
    """
    bins = (confidence * _BINS).long().clamp(max=_BINS - 1)
    gaps = [
        (
            in_bin.double().mean()
            * (confidence[in_bin].mean() - correct[in_bin].double().mean()).abs()
        ).item()
        for in_bin in (bins == index for index in range(_BINS))
        if bool(in_bin.any())
    ]
    return float(sum(gaps))


@dataclasses.dataclass(frozen=True)
class Predictions:
    """The classes of examples.

    Attributes:
        log_posterior: log p(y|x), float64 ``[n, C]``.
        labels: the true classes ``[n]``, below 0 where they are not known; None if none is known.
        unlabelled: how many other examples were left out, because their class is not known.
    """

    log_posterior: Tensor
    labels: Tensor | None
    unlabelled: int = 0


def predict(
    model: Model, data: Loader, *, samples: int, limit: int = 0, only_labelled: bool = False
) -> Predictions:
    """The probability of each class for each example, by Bayes' rule.

    Args:
        model: conditional on a label, in evaluation mode.
        data: the examples.
        samples: importance samples for each log p(x|y).
        limit: how many examples to use, starting with the first; 0 for all.
        only_labelled: whether to leave out examples whose class is not known.

    Raises:
        NotImplementedError: the model is not conditional on a label, or no class is known.
        NotFiniteError: a probability is NaN; names the example.
    """
    log_posteriors, labels, unlabelled = [], [], 0
    for batch in data.ordered(model.importance_batch_size, limit or None):
        if only_labelled and batch.condition is not None:
            known = batch.condition >= 0
            unlabelled += int((~known).sum())
            if not bool(known.any()):
                continue
            batch = batch.select(known)
        log_posteriors.append(class_posterior(model, batch, samples).double().cpu())
        if batch.condition is not None:
            labels.append(batch.condition.cpu())
    if not log_posteriors:
        raise NotImplementedError("needs examples whose class is known")
    log_posterior = torch.cat(log_posteriors)
    require_finite(log_posterior.exp(), "p(y|x) of example")
    return Predictions(log_posterior, torch.cat(labels) if labels else None, unlabelled)


def judge(predictions: Predictions, *, samples: int) -> dict[str, Estimate]:
    """Accuracy and calibration of predictions, of the examples whose class is known.

    Raises:
        NotImplementedError: no class is known.
    """
    known = None if predictions.labels is None else predictions.labels >= 0
    if predictions.labels is None or known is None or not bool(known.any()):
        raise NotImplementedError("needs examples whose class is known")
    log_posterior, label = predictions.log_posterior[known], predictions.labels[known]
    confidence, prediction = log_posterior.exp().max(1)
    correct = prediction == label
    nll = -log_posterior.gather(1, label[:, None])[:, 0]
    error = calibration_error(confidence, correct)
    unlabelled = predictions.unlabelled + int((~known).sum())
    details = {"samples": samples, **({"unlabelled": unlabelled} if unlabelled else {})}
    return {
        "accuracy": dataclasses.replace(mean_with_error(correct, **details), unit="share"),
        "label_nll": mean_with_error(nll, **details),
        "calibration_error": Estimate(error, None, len(label), {"bins": _BINS}, unit="share"),
    }


class Classification(Metric):
    """Accuracy and calibration of the class predicted by Bayes' rule, log p(x|y) + log p(y).

    Examples without a label are left out; ``unlabelled`` counts them.

    Args:
        samples: importance samples for each log p(x|y).
        limit: how many examples to use, starting with the first; 0 for all.
    """

    higher_is_better = frozenset({"accuracy"})
    lower_is_better = frozenset({"label_nll", "calibration_error"})
    requires_exact_density = True

    def __init__(
        self, *, samples: Annotated[int, Gt(0)] = 50, limit: Annotated[int, Ge(0)] = 0
    ) -> None:
        self.samples, self.limit = samples, limit

    def __call__(self, model: Model, data: Loader) -> Mapping[str, Estimate]:
        """``accuracy``, ``label_nll`` (-log p(y|x), nats) and ``calibration_error``."""
        predictions = predict(
            model, data, samples=self.samples, limit=self.limit, only_labelled=True
        )
        return judge(predictions, samples=self.samples)

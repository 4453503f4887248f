"""The class of an example by Bayes' rule over a class-conditional model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.loader import Loader
from vaezoo.evaluation.bounds import estimate
from vaezoo.evaluation.metric import Estimate, Metric
from vaezoo.model.estimators import importance
from vaezoo.model.model import Model

_BINS = 15


def class_posterior(model: Model, batch: Batch, samples: int) -> Tensor:
    """log p(y|x) by Bayes' rule over log p(x|y) + log p(y), ``[B, classes]``.

    Args:
        model: conditional on a label, in evaluation mode.
        batch: the examples; their own labels are not looked at.
        samples: importance samples for each log p(x|y).

    Raises:
        NotImplementedError: the model is not conditional on a label.
    """
    if model.conditioner is None or not model.data.classes:
        raise NotImplementedError("needs a model that is conditional on a label")
    columns = []
    for label in range(len(model.data.classes)):
        given = torch.full((len(batch),), label, device=batch.x.device)
        columns.append(importance(model, dataclasses.replace(batch, condition=given), samples)[0])
    return torch.log_softmax(torch.stack(columns, 1) + model.log_class_prior, 1)


def calibration_error(confidence: Tensor, correct: Tensor) -> float:
    """The expected calibration error over 15 equal bins of confidence (Guo et al. 2017, eq. 3)."""
    bins = (confidence * _BINS).long().clamp(max=_BINS - 1)
    gaps = [
        (inside.double().mean() * (confidence[inside].mean() - correct[inside].double().mean()).abs()).item()
        for inside in (bins == index for index in range(_BINS))
        if bool(inside.any())
    ]
    return float(sum(gaps))


class Classification(Metric):
    """How well Bayes' rule over log p(x|y) + log p(y) finds the label, and how well it knows when it does.

    Args:
        samples: importance samples for each log p(x|y).
        limit: how many examples, from the first; 0 for all.
    """

    def __init__(self, *, samples: Annotated[int, Gt(0)] = 50, limit: Annotated[int, Ge(0)] = 0) -> None:
        self.samples, self.limit = samples, limit

    def __call__(self, model: Model, data: Loader) -> Mapping[str, Estimate]:
        """``accuracy``, ``label_nll`` (-log p(y|x), nats) and ``calibration_error``."""
        found, labels = [], []
        for batch in data.ordered(model.importance_batch_size, self.limit or None):
            found.append(class_posterior(model, batch, self.samples).double().cpu())
            assert batch.condition is not None
            labels.append(batch.condition.cpu())
        log_posterior, label = torch.cat(found), torch.cat(labels)
        confidence, guess = log_posterior.exp().max(1)
        correct = guess == label
        nll = -log_posterior.gather(1, label[:, None])[:, 0]
        error = calibration_error(confidence, correct)
        return {
            "accuracy": dataclasses.replace(estimate(correct, samples=self.samples), unit="share"),
            "label_nll": estimate(nll, samples=self.samples),
            "calibration_error": Estimate(error, None, len(label), {"bins": _BINS}, "share"),
        }

"""Metrics of samples by an independent classifier: conditional accuracy, recall and precision.

Shapes: n, m images; D features of the classifier's penultimate layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor

import vaezoo
from vaezoo_cvae import classifier

NEIGHBOURS = 3


def coverage(points: Tensor, manifold: Tensor, neighbours: int = NEIGHBOURS) -> Tensor:
    """Which points lie within the manifold of others (Kynkaanniemi et al. 2019, eq. 1), ``[n]``.

    With real points and a generated manifold their mean is the recall; with generated points and a
    real manifold, the precision.

    Args:
        points: features ``[n, D]``.
        manifold: features ``[m, D]``: the manifold is the union of balls around them, each of
            which reaches to its ``neighbours``-th nearest neighbour.
        neighbours: which neighbour sets the radius of a ball.
    """
    radius = torch.cat(
        [
            torch.cdist(block, manifold).kthvalue(neighbours + 1, 1).values
            for block in manifold.split(1000)
        ]
    )
    return torch.cat(
        [(torch.cdist(block, manifold) <= radius).any(1) for block in points.split(1000)]
    )


def share(values: Tensor, **details: float) -> vaezoo.Estimate:
    """The share of True in ``[n]``, with its binomial standard error."""
    mean = float(values.double().mean())
    error = (mean * (1 - mean) / len(values)) ** 0.5
    return vaezoo.Estimate(mean, error, len(values), details, unit="share")


class _Reference:
    """The classifier, with the features and labels of all real images of a split."""

    def __init__(self, path: str | None, model: vaezoo.Model, data: vaezoo.Loader) -> None:
        if model.data.shape != (1, 28, 28):
            raise NotImplementedError(
                f"the classifier reads grey images of 28x28, not {model.data.shape}"
            )
        self.net = classifier.load(None if path is None else Path(path)).to(model.device)
        batches = list(data.ordered(1000))
        conditions = [batch.condition for batch in batches if batch.condition is not None]
        self.labels = torch.cat(conditions)
        self.real = torch.cat([self.net.features(batch.x) for batch in batches])

    def sample_features(self, model: vaezoo.Model, labels: Tensor | None, count: int) -> Tensor:
        """The features of sampled images: z from the prior, then the mean of p(x|z)."""
        images = model.sample(count, labels)
        return torch.cat([self.net.features(block) for block in images.split(1000)])


class ConditionalAccuracy(vaezoo.Metric):
    """The share of samples that an independent classifier assigns to their condition's label.

    Args:
        per_class: the number of samples of each class.
        classifier: a file that ``python -m vaezoo_cvae.classifier`` wrote; by default the
            classifier in this package.
    """

    def __init__(
        self,
        *,
        per_class: Annotated[int, Gt(NEIGHBOURS)] = 1000,
        classifier: str | None = None,
    ) -> None:
        self.per_class, self.classifier = per_class, classifier

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """Returns ``conditional_accuracy``, ``recall_by_class`` and ``precision_by_class``.

        The recall of a class is the share of its real images within the manifold of its samples,
        so it collapses if the samples of a class are alike. Details have the values of each class.
        """
        if model.conditioner is None or len(model.data.classes) != 10:
            raise NotImplementedError("needs a model that is conditional on ten digits")
        reference = _Reference(self.classifier, model, data)
        correct, recall, precision = [], [], []
        details = {"classifier_test_accuracy": reference.net.test_accuracy}
        for label, name in enumerate(model.data.classes):
            labels = torch.full((self.per_class,), label, device=model.device)
            samples = reference.sample_features(model, labels, self.per_class)
            correct.append(reference.net.head(samples).argmax(1) == label)
            details[f"accuracy_of_{name}"] = float(correct[-1].double().mean())
            real = reference.real[reference.labels == label]
            recall.append(coverage(real, samples))
            precision.append(coverage(samples, real))
            details[f"recall_of_{name}"] = float(recall[-1].double().mean())
        return {
            "conditional_accuracy": share(torch.cat(correct), **details),
            "recall_by_class": share(torch.cat(recall)),
            "precision_by_class": share(torch.cat(precision)),
        }


class SampleRecall(vaezoo.Metric):
    """The share of real images that samples cover, and of samples that look real.

    From Kynkaanniemi et al. 2019, with the penultimate features of an independent classifier. The
    labels given to a conditional model are those of the test split.

    Args:
        samples: the number of samples.
        classifier: as for ``conditional-accuracy``.
    """

    def __init__(
        self,
        *,
        samples: Annotated[int, Gt(NEIGHBOURS)] = 10_000,
        classifier: str | None = None,
    ) -> None:
        self.samples, self.classifier = samples, classifier

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """Returns ``sample_recall`` and ``sample_precision``."""
        reference = _Reference(self.classifier, model, data)
        labels = None
        if model.conditioner is not None:
            repeats = -(-self.samples // len(reference.labels))
            labels = reference.labels.repeat(repeats)[: self.samples]
        samples = reference.sample_features(model, labels, self.samples)
        recall = coverage(reference.real, samples)
        precision = coverage(samples, reference.real)
        return {
            "sample_recall": share(recall, samples=len(samples)),
            "sample_precision": share(precision),
        }

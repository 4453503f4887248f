"""What an independent classifier makes of samples: are they what was asked for, and are they as varied as real ones?"""

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

    With real points and generated manifold their mean is the recall; the other way round, the precision.

    Args:
        points: features ``[n, D]``.
        manifold: features ``[m, D]``; each reaches as far as its ``neighbours``-th nearest.
    """
    reach = torch.cat([torch.cdist(part, manifold).kthvalue(neighbours + 1, 1).values for part in manifold.split(1000)])
    return torch.cat([(torch.cdist(part, manifold) <= reach).any(1) for part in points.split(1000)])


def share(values: Tensor, **details: float) -> vaezoo.Estimate:
    """The mean of yes and no, ``[n]``, with its binomial standard error."""
    mean = float(values.double().mean())
    return vaezoo.Estimate(mean, (mean * (1 - mean) / len(values)) ** 0.5, len(values), details, "share")


class _Judge:
    """A classifier beside the model, and real images with their labels."""

    def __init__(self, path: str | None, model: vaezoo.Model, data: vaezoo.Loader) -> None:
        if model.data.shape != (1, 28, 28):
            raise NotImplementedError(f"the classifier reads grey images of 28x28, not {model.data.shape}")
        self.net = classifier.load(None if path is None else Path(path)).to(model.device)
        batches = list(data.ordered(1000))
        self.labels = torch.cat([batch.condition for batch in batches if batch.condition is not None])
        self.real = torch.cat([self.net.features(batch.x) for batch in batches])

    def samples(self, model: vaezoo.Model, labels: Tensor | None, count: int) -> Tensor:
        """Features of drawn images: z from the prior, then the mean of p(x|z)."""
        drawn = model.sample(count, labels)
        return torch.cat([self.net.features(part) for part in drawn.split(1000)])

    def variety(self, found: Tensor) -> dict[str, vaezoo.Estimate]:
        """Recall and precision of samples against the real images."""
        recall, precision = coverage(self.real, found), coverage(found, self.real)
        return {"sample_recall": share(recall, samples=len(found)), "sample_precision": share(precision)}


class ConditionalAccuracy(vaezoo.Metric):
    """The share of samples that an independent classifier reads as the label asked for, and how varied they are.

    Args:
        per_class: samples for each class.
        classifier: a file that ``python -m vaezoo_cvae.classifier`` wrote; the shipped one where none is given.
    """

    def __init__(self, *, per_class: Annotated[int, Gt(NEIGHBOURS)] = 1000, classifier: str | None = None) -> None:
        self.per_class, self.classifier = per_class, classifier

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """``conditional_accuracy`` with its figure for each class, ``sample_recall`` and ``sample_precision``.

        Recall is the mean over classes of the share of real images of the class within the manifold of its samples,
        so that it collapses where the samples of a class are alike.
        """
        if model.conditioner is None or len(model.data.classes) != 10:
            raise NotImplementedError("needs a model that is conditional on ten digits")
        judge = _Judge(self.classifier, model, data)
        right, recall, precision, details = [], [], [], {"classifier_test_accuracy": judge.net.test_accuracy}
        for label, name in enumerate(model.data.classes):
            asked = torch.full((self.per_class,), label, device=model.device)
            found = judge.samples(model, asked, self.per_class)
            right.append(judge.net.head(found).argmax(1) == label)
            details[f"accuracy_of_{name}"] = float(right[-1].double().mean())
            real = judge.real[judge.labels == label]
            recall.append(coverage(real, found))
            precision.append(coverage(found, real))
            details[f"recall_of_{name}"] = float(recall[-1].double().mean())
        return {
            "conditional_accuracy": share(torch.cat(right), **details),
            "recall_by_class": share(torch.cat(recall)),
            "precision_by_class": share(torch.cat(precision)),
        }


class SampleRecall(vaezoo.Metric):
    """How much of the real images samples cover, and how many samples look real (Kynkaanniemi et al. 2019).

    On the penultimate features of an independent classifier; labels of a conditional model are those of the test split.

    Args:
        samples: how many.
        classifier: as for ``conditional-accuracy``.
    """

    def __init__(self, *, samples: Annotated[int, Gt(NEIGHBOURS)] = 10_000, classifier: str | None = None) -> None:
        self.samples, self.classifier = samples, classifier

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """``sample_recall`` and ``sample_precision``."""
        judge = _Judge(self.classifier, model, data)
        labels = None
        if model.conditioner is not None:
            labels = judge.labels.repeat(-(-self.samples // len(judge.labels)))[: self.samples]
        return judge.variety(judge.samples(model, labels, self.samples))

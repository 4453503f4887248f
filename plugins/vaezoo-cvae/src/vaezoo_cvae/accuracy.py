"""Metrics of samples by an independent classifier: conditional accuracy, recall and precision.

Like is compared with like: where the data are binary, images are drawn from p(x|z). Where they
are grey, an image is the mean of p(x|z), because a Bernoulli has no grey values, and the noise of
other likelihoods is no part of an image. The note of each result says which. Shapes: n, m images;
D features of the classifier's penultimate layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

import vaezoo
from vaezoo_cvae import classifier
from vaezoo_cvae.coverage import NEIGHBOURS, Coverage

_BLOCK = 1000
Draws = Annotated[int, Ge(2)]


def share(values: Tensor, **details: float) -> vaezoo.Estimate:
    """The share of True in ``[n]``, with its binomial standard error."""
    mean = float(values.double().mean())
    error = (mean * (1 - mean) / len(values)) ** 0.5
    return vaezoo.Estimate(mean, error, len(values), details, unit="share")


class _Judge:
    """The classifier, with the features and labels of all real images of a split."""

    def __init__(self, path: str | None, model: vaezoo.Model, data: vaezoo.Loader) -> None:
        if model.data.shape != (1, 28, 28):
            raise NotImplementedError(
                f"the classifier reads grey images of 28x28, not {model.data.shape}"
            )
        self.model, self.is_binary = model, model.data.support == "binary"
        self.net = classifier.load(None if path is None else Path(path)).to(model.device)
        batches = list(data.ordered(_BLOCK))
        conditions = [batch.condition for batch in batches if batch.condition is not None]
        self.conditions = torch.cat(conditions) if conditions else None
        self.real = torch.cat([self.net(batch.x) for batch in batches])

    def known_labels(self) -> Tensor:
        """Which conditions are known, bool ``[n]``: all but labels below 0.

        Raises:
            NotImplementedError: none is known.
        """
        assert self.conditions is not None, "a conditional model has conditions"
        if not self.model.data.classes:
            return torch.ones(len(self.conditions), dtype=torch.bool, device=self.model.device)
        known = self.conditions >= 0
        if not bool(known.any()):
            raise NotImplementedError("no label of this split is known")
        return known

    def draw(self, count: int, condition: Tensor | None) -> Tensor:
        """The features of sampled images, ``[count, D]``."""
        images = self.model.sample(count, condition, mean=not self.is_binary)
        vaezoo.require_finite(images, "a pixel of sample")
        return torch.cat([self.net(block) for block in images.split(_BLOCK)])

    def annotate(self, estimates: Mapping[str, vaezoo.Estimate]) -> dict[str, vaezoo.Estimate]:
        """The estimates with a note of what the images are."""
        note = "images drawn from p(x|z)" if self.is_binary else "images are means of p(x|z)"
        return {name: replace(estimate, note=note) for name, estimate in estimates.items()}


class ConditionalAccuracy(vaezoo.Metric):
    """The share of samples that an independent classifier assigns to their condition's label.

    Images of binary data are drawn from p(x|z); those of grey data are its means.

    Args:
        per_class: the number of samples of each class in a draw.
        draws: the number of independent draws, whose spread is part of the standard errors.
        classifier: a file that ``python -m vaezoo_cvae.classifier`` wrote; by default the
            published one, ``features/mnist@1``.
    """

    higher_is_better = frozenset({"conditional_accuracy", "recall_by_class", "precision_by_class"})

    def __init__(
        self,
        *,
        per_class: Annotated[int, Gt(NEIGHBOURS)] = 1000,
        draws: Draws = 5,
        classifier: vaezoo.DataPath | None = None,
    ) -> None:
        self.per_class, self.draws, self.classifier = per_class, draws, classifier

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """Returns ``conditional_accuracy``, ``recall_by_class`` and ``precision_by_class``.

        The recall of a class is the share of its real images within the manifold of its samples,
        so it collapses if the samples of a class are alike. Details have the values of each class,
        and how many real images of the split the classifier gets right, which is the ceiling.
        Images without a label are left out; ``unlabelled`` counts them.
        """
        if model.conditioner is None or len(model.data.classes) != 10:
            raise NotImplementedError("needs a model that is conditional on ten digits")
        judge = _Judge(self.classifier, model, data)
        correct, coverages = [], []
        known = judge.known_labels()
        on_real = judge.net.head(judge.real[known]).argmax(1) == judge.conditions[known]
        details = {"accuracy_on_real_images": float(on_real.double().mean())}
        if unlabelled := int((~known).sum()):
            details["unlabelled"] = unlabelled
        for label, name in enumerate(model.data.classes):
            labels = torch.full((self.per_class,), label, device=model.device)
            draws = [judge.draw(self.per_class, labels) for _ in range(self.draws)]
            correct.append(judge.net.head(torch.cat(draws)).argmax(1) == label)
            details[f"accuracy_of_{name}"] = float(correct[-1].double().mean())
            coverages.append(Coverage.of(judge.real[judge.conditions == label], draws))
            details[f"recall_of_{name}"] = float(coverages[-1].recall.double().mean())
        pooled = Coverage.pool(coverages)
        return judge.annotate(
            {
                "conditional_accuracy": share(torch.cat(correct), **details),
                "recall_by_class": pooled.estimate_recall(samples=self.per_class),
                "precision_by_class": pooled.estimate_precision(),
            }
        )


class SampleRecall(vaezoo.Metric):
    """The share of real images that samples cover, and of samples that look real.

    From Kynkaanniemi et al. 2019, with the penultimate features of an independent classifier. The
    labels given to a conditional model are those of the split. Images of binary data are drawn
    from p(x|z); those of grey data are its means. Both shares depend on the number of samples and
    of real images, so that only values with equal numbers compare.

    Args:
        samples: the number of samples in a draw.
        draws: the number of independent draws, whose spread is part of the standard errors.
        classifier: as for ``conditional-accuracy``.
    """

    higher_is_better = frozenset({"sample_recall", "sample_precision"})

    def __init__(
        self,
        *,
        samples: Annotated[int, Gt(NEIGHBOURS)] = 10_000,
        draws: Draws = 5,
        classifier: vaezoo.DataPath | None = None,
    ) -> None:
        self.samples, self.draws, self.classifier = samples, draws, classifier

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """Returns ``sample_recall`` and ``sample_precision``."""
        judge = _Judge(self.classifier, model, data)
        condition = None
        if model.conditioner is not None and judge.conditions is not None:
            conditions = judge.conditions[judge.known_labels()]
            rows = torch.arange(self.samples, device=model.device) % len(conditions)
            condition = conditions[rows]
        draws = [judge.draw(self.samples, condition) for _ in range(self.draws)]
        result = Coverage.of(judge.real, draws)
        return judge.annotate(
            {
                "sample_recall": result.estimate_recall(samples=self.samples),
                "sample_precision": result.estimate_precision(),
            }
        )

"""How well the categories of a head agree with the labels, with or without supervision."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

import vaezoo
from vaezoo_aae.heads import category_logits

_UNIT = "share of examples"


def _labelled_predictions(
    model: vaezoo.Model, data: vaezoo.Loader
) -> tuple[Tensor, Tensor, dict[str, float]]:
    """The predictions and labels of all examples whose label is known.

    Returns:
        log q(y|x) ``[n, categories]``, labels ``[n]``, and the detail ``unlabelled``, the number
        of other examples, if there are any. Log-probabilities are in double precision, so that
        those close to 0 still differ.

    Raises:
        NotImplementedError: the model has no categorical head, or the data has no labels.
    """
    log_probs, labels = [], []
    for batch in data.ordered(model.batch_size()):
        if batch.condition is None or not model.data.classes:
            raise NotImplementedError("needs a label for each example")
        logits = category_logits(model.infer_detached(batch).sites)
        log_probs.append(logits.double().log_softmax(-1).cpu())
        labels.append(batch.condition.cpu())
    log_q, label = torch.cat(log_probs), torch.cat(labels)
    # the most probable category of NaN is a category
    vaezoo.require_finite(log_q, "log q(y|x) of example")
    known = label >= 0
    if not bool(known.any()):
        raise NotImplementedError("no label of this split is known")
    unlabelled = int((~known).sum())
    return log_q[known], label[known], {"unlabelled": unlabelled} if unlabelled else {}


def _share(wrong: Tensor, **details: float) -> vaezoo.Estimate:
    """The share of True in ``[n]``, with its binomial standard error."""
    n, share = len(wrong), float(wrong.double().mean())
    error = math.sqrt(share * (1 - share) / (n - 1)) if n > 1 else None
    return vaezoo.Estimate(share, error, n, details, unit=_UNIT, per_example=wrong.double())


class HeadError(vaezoo.Metric):
    """The share of examples whose most probable category is not their label."""

    lower_is_better = frozenset({"head_error"})

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """Returns ``head_error``."""
        log_q, label, details = _labelled_predictions(model, data)
        if log_q.shape[1] != len(model.data.classes):
            mismatch = f"{log_q.shape[1]} categories are not the {len(model.data.classes)} classes"
            raise NotImplementedError(f"{mismatch}; use clustering-error")
        return {"head_error": _share(log_q.argmax(1) != label, **details)}


class ClusteringError(vaezoo.Metric):
    """The share of examples whose cluster has another label (Makhzani et al. 2016, section 6).

    The cluster of an example is its most probable category. As in the paper, a cluster gets the
    label of the one example x with the highest q(y|x); that example is taken from the split that
    is measured. ``majority_vote`` is the error where a cluster gets the most frequent label of its
    examples instead, which uses all labels.
    """

    lower_is_better = frozenset({"clustering_error"})

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """Returns ``clustering_error``, with ``majority_vote`` and the number of ``clusters``."""
        log_q, label, unlabelled = _labelled_predictions(model, data)
        cluster = log_q.argmax(1)
        cluster_label = label[log_q.argmax(0)]  # [categories]
        counts = torch.zeros(log_q.shape[1], len(model.data.classes), dtype=torch.int64)
        counts.index_put_((cluster, label), torch.ones_like(label), accumulate=True)
        majority_label = counts.argmax(1)  # [categories]
        majority_vote = float((majority_label[cluster] != label).double().mean())
        details = unlabelled | {
            "majority_vote": majority_vote,
            "clusters": float((counts.sum(1) > 0).sum()),
        }
        return {"clustering_error": _share(cluster_label[cluster] != label, **details)}

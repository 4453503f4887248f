"""How far a categorical head agrees with the labels, after supervision or without any."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

import vaezoo
from vaezoo_aae.heads import category_logits

_UNIT = "share of examples"


def _judged(model: vaezoo.Model, data: vaezoo.Loader) -> tuple[Tensor, Tensor]:
    """log q(y|x) ``[n, categories]`` in double precision, so that sure ones differ, and labels ``[n]``, where known.

    Raises:
        NotImplementedError: the model has no categorical head, or the data no labels.
    """
    found, labels = [], []
    for batch in data.ordered(model.batch_size()):
        if batch.condition is None or not model.data.classes:
            raise NotImplementedError("needs a label for each example")
        found.append(category_logits(model.infer_detached(batch).sites).double().log_softmax(-1).cpu())
        labels.append(batch.condition.cpu())
    log_q, label = torch.cat(found), torch.cat(labels)
    known = label >= 0
    if not bool(known.any()):
        raise NotImplementedError("no label of this split is known")
    return log_q[known], label[known]


def _share(wrong: Tensor, **details: float) -> vaezoo.Estimate:
    """The share of True in ``[n]``, with its binomial standard error."""
    n, share = len(wrong), float(wrong.double().mean())
    error = math.sqrt(share * (1 - share) / (n - 1)) if n > 1 else None
    return vaezoo.Estimate(share, error, n, details, _UNIT)


class HeadError(vaezoo.Metric):
    """The share of examples whose likeliest category is not their label."""

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """``head_error``."""
        log_q, label = _judged(model, data)
        if log_q.shape[1] != len(model.data.classes):
            clusters = f"{log_q.shape[1]} categories are not the {len(model.data.classes)} classes"
            raise NotImplementedError(f"{clusters}; use clustering-error")
        return {"head_error": _share(log_q.argmax(1) != label)}


class ClusteringError(vaezoo.Metric):
    """The share of examples whose cluster has another label than theirs (Makhzani et al. 2016, section 6).

    An example belongs to its likeliest category. As in the paper a category takes the label of the one example x of
    which it is surest, that with the highest q(y|x); here from the split that is measured. ``majority_vote`` is
    the error where it takes the commonest label of its examples instead, which looks at every label.
    """

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """``clustering_error``, with ``majority_vote`` and how many ``clusters`` have any example."""
        log_q, label = _judged(model, data)
        cluster = log_q.argmax(1)
        surest = label[log_q.argmax(0)]  # [categories]
        counts = torch.zeros(log_q.shape[1], len(model.data.classes), dtype=torch.int64)
        counts.index_put_((cluster, label), torch.ones_like(label), accumulate=True)  # [categories, labels]
        majority = float((counts.argmax(1)[cluster] != label).double().mean())
        details = {"majority_vote": majority, "clusters": float((counts.sum(1) > 0).sum())}
        return {"clustering_error": _share(surest[cluster] != label, **details)}

"""Are samples of a class what they were asked to be? An independent classifier of sequences says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Gt
from torch import Tensor, nn

import vaezoo
from vaezoo_vrae.steps import backwards, lengths

_EPOCHS = 30
_BATCH = 64


class Classifier(nn.Module):
    """A bidirectional GRU over steps, its states averaged, to the logits of classes."""

    def __init__(self, width: int, classes: int, units: int = 96) -> None:
        super().__init__()
        self.forth, self.back = nn.GRU(width, units, batch_first=True), nn.GRU(width, units, batch_first=True)
        self.dropout, self.head = nn.Dropout(0.4), nn.Linear(2 * units, classes)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """From ``[B, T, D]`` and a mask ``[B, T]`` to ``[B, classes]``."""
        counts = lengths(mask, x)
        x = x * mask[..., None]
        states = torch.cat([self.forth(x)[0], backwards(self.back(backwards(x, counts))[0], counts)], -1)
        return self.head(self.dropout((states * mask[..., None]).sum(1) / counts[:, None]))


def trained(x: Tensor, mask: Tensor, labels: Tensor, classes: int) -> Classifier:
    """A classifier fitted to sequences ``[n, T, D]`` and their labels ``[n]``, in evaluation mode."""
    with torch.inference_mode(False), torch.enable_grad():
        net = Classifier(x.shape[-1], classes).to(x.device)
        optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
        for _ in range(_EPOCHS):
            for part in torch.randperm(len(x), device=x.device).split(_BATCH):
                steps = int(mask[part].any(0).nonzero().max()) + 1
                loss = F.cross_entropy(net(x[part, :steps].clone(), mask[part, :steps].clone()), labels[part].clone())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return net.eval()


class LabelAccuracy(vaezoo.Metric):
    """The share of drawn sequences that an independent classifier reads as the label asked for.

    The classifier is fitted to four fifths of the real sequences of the split, and its own accuracy on the rest stands
    beside the figure, which cannot mean much more than that. It needs many sequences: ``vaezoo evaluate RUN --split
    train --metric label-accuracy``.

    Args:
        per_class: samples for each class.
    """

    def __init__(self, *, per_class: Annotated[int, Gt(0)] = 100) -> None:
        self.per_class = per_class

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """``label_accuracy`` with its figure for each class, and ``label_accuracy_of_real`` of held-out sequences."""
        if model.conditioner is None or not model.data.classes or not model.data.is_sequence:
            raise NotImplementedError("needs a model of sequences that is conditional on a label")
        x, mask, labels = _everything(model, data)
        held_out = torch.arange(len(x)) % 5 == 0
        shuffled = torch.randperm(len(x))
        rest, test = shuffled[~held_out], shuffled[held_out]
        net = trained(x[rest], mask[rest], labels[rest], len(model.data.classes))
        real = net(x[test], mask[test]).argmax(1) == labels[test]
        asked = torch.arange(len(model.data.classes), device=x.device).repeat_interleave(self.per_class)
        drawn = model.sample(len(asked), asked, steps=x.shape[1])
        right = torch.cat([net(part, _said(part, model.data)).argmax(1) for part in drawn.split(1000)]) == asked
        by_class = zip(model.data.classes, right.split(self.per_class), strict=True)
        details = {f"accuracy_of_{name}": float(part.float().mean()) for name, part in by_class}
        return {"label_accuracy": _share(right, details), "label_accuracy_of_real": _share(real, {})}


def _everything(model: vaezoo.Model, data: vaezoo.Loader) -> tuple[Tensor, Tensor, Tensor]:
    """All real sequences padded to one length, their masks and labels."""
    xs, masks, labels = [], [], []
    for batch in data.ordered():
        assert batch.condition is not None, "data whose classes have names has labels"
        missing = model.data.shape[0] - batch.x.shape[1]
        mask = torch.ones_like(batch.x[..., 0]) if batch.mask is None else batch.mask.float()
        xs.append(F.pad(batch.x, (0, 0, 0, missing)))
        masks.append(F.pad(mask, (0, missing)))
        labels.append(batch.condition)
    return torch.cat(xs), torch.cat(masks) > 0, torch.cat(labels)


def _said(x: Tensor, data: vaezoo.DataSpec) -> Tensor:
    """The steps of drawn sequences that count: text ends with its ``<eos>``, ``[n, T]``."""
    if vaezoo.END not in data.symbols:
        return torch.ones_like(x[..., 0], dtype=torch.bool)
    over = x[..., data.symbols.index(vaezoo.END)] > 0
    return over.cumsum(1) - over.long() == 0


def _share(right: Tensor, details: dict[str, float]) -> vaezoo.Estimate:
    mean = float(right.double().mean())
    return vaezoo.Estimate(mean, (mean * (1 - mean) / len(right)) ** 0.5, len(right), details, "share")

"""Label accuracy: an independent classifier checks whether samples have the requested class.

Shapes: B or n sequences, T steps, D values per step.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import vaezoo
from vaezoo_vrae.steps import PositiveInt, reverse_sequences, sequence_lengths

_EPOCHS = 30
_BATCH_SIZE = 64
_SAMPLES_PER_PASS = 1000


class SequenceClassifier(nn.Module):
    """A bidirectional GRU; a linear layer maps its mean state over steps to class logits."""

    def __init__(self, width: int, classes: int, units: int = 96) -> None:
        super().__init__()
        self.forward_rnn = nn.GRU(width, units, batch_first=True)
        self.backward_rnn = nn.GRU(width, units, batch_first=True)
        self.dropout, self.head = nn.Dropout(0.4), nn.Linear(2 * units, classes)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """From ``[B, T, D]`` and a mask ``[B, T]`` to logits ``[B, classes]``."""
        lengths = sequence_lengths(mask, x)
        x = x * mask[..., None]
        backward_states = reverse_sequences(
            self.backward_rnn(reverse_sequences(x, lengths))[0], lengths
        )
        states = torch.cat([self.forward_rnn(x)[0], backward_states], -1)  # [B, T, 2 * units]
        return self.head(self.dropout((states * mask[..., None]).sum(1) / lengths[:, None]))


def train_classifier(x: Tensor, mask: Tensor, labels: Tensor, classes: int) -> SequenceClassifier:
    """A classifier trained on sequences ``[n, T, D]`` with labels ``[n]``, in evaluation mode."""
    with torch.inference_mode(False), torch.enable_grad():
        net = SequenceClassifier(x.shape[-1], classes).to(x.device)
        optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
        for _ in range(_EPOCHS):
            for index in torch.randperm(len(x), device=x.device).split(_BATCH_SIZE):
                steps = int(mask[index].any(0).nonzero().max()) + 1
                logits = net(x[index, :steps].clone(), mask[index, :steps].clone())
                loss = F.cross_entropy(logits, labels[index].clone())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return net.eval()


class LabelAccuracy(vaezoo.Metric):
    """The fraction of samples that an independent classifier assigns to the requested label.

    The classifier is trained on four fifths of the real sequences of the split. Its accuracy on
    the remaining fifth is reported too and limits how far the result can be trusted. It needs many
    sequences: ``vaezoo evaluate RUN train --metric label-accuracy``. Samples are drawn
    from p(x|z), as the real sequences are data and no means. The standard errors are those over
    samples, or sequences, for the one classifier.

    Args:
        per_class: number of samples per class.
    """

    higher_is_better = frozenset({"label_accuracy"})

    def __init__(self, *, per_class: PositiveInt = 100) -> None:
        self.per_class = per_class

    def __call__(self, model: vaezoo.Model, data: vaezoo.Loader) -> Mapping[str, vaezoo.Estimate]:
        """``label_accuracy``, with details per class; ``label_accuracy_of_real`` (held-out).

        Sequences without a label are left out; ``unlabelled`` counts them.
        """
        if model.conditioner is None or not model.data.classes or not model.data.is_sequence:
            raise NotImplementedError("needs a sequence model that is conditional on a label")
        x, mask, labels, unlabelled = _load_labelled(model, data)
        is_held_out = torch.arange(len(x)) % 5 == 0
        shuffled = torch.randperm(len(x))
        train, test = shuffled[~is_held_out], shuffled[is_held_out]
        classes = model.data.classes
        net = train_classifier(x[train], mask[train], labels[train], len(classes))
        real_correct = net(x[test], mask[test]).argmax(1) == labels[test]
        requested = torch.arange(len(classes), device=x.device).repeat_interleave(self.per_class)
        steps = x.shape[1] if model.latents.stepwise else None
        samples = model.sample(len(requested), requested, mean=False, steps=steps)
        vaezoo.require_finite(samples, "a step of sample")
        chunks = samples.split(_SAMPLES_PER_PASS)
        predicted = torch.cat(
            [net(chunk, _sample_mask(chunk, model.data)).argmax(1) for chunk in chunks]
        )
        correct = predicted == requested
        by_class = zip(classes, correct.split(self.per_class), strict=True)
        details = {f"accuracy_of_{name}": float(part.float().mean()) for name, part in by_class}
        return {
            "label_accuracy": _accuracy(correct, details),
            "label_accuracy_of_real": _accuracy(real_correct, unlabelled),
        }


def _load_labelled(
    model: vaezoo.Model, data: vaezoo.Loader
) -> tuple[Tensor, Tensor, Tensor, dict[str, float]]:
    """The real sequences that have a label.

    Returns:
        The sequences, padded, ``[n, T, D]``; their masks ``[n, T]`` and labels ``[n]``; and the
        detail ``unlabelled``, the number of the others, if there are any.

    Raises:
        NotImplementedError: there are none.
    """
    xs, masks, labels = [], [], []
    for batch in data.ordered():
        assert batch.condition is not None, "data with class names must have labels"
        padding = model.data.shape[0] - batch.x.shape[1]
        steps = batch.step_mask
        mask = torch.ones_like(batch.x[..., 0]) if steps is None else steps.float()
        xs.append(F.pad(batch.x, (0, 0, 0, padding)))
        masks.append(F.pad(mask, (0, padding)))
        labels.append(batch.condition)
    x, mask, label = torch.cat(xs), torch.cat(masks) > 0, torch.cat(labels)
    known = label >= 0
    if not bool(known.any()):
        raise NotImplementedError("no label of this split is known")
    unlabelled = int((~known).sum())
    details = {"unlabelled": float(unlabelled)} if unlabelled else {}
    return x[known], mask[known], label[known], details


def _sample_mask(x: Tensor, data: vaezoo.DataSpec) -> Tensor:
    """True at the steps of samples that count, ``[n, T]``: in text up to ``<eos>``, else all."""
    if vaezoo.END not in data.symbols:
        return torch.ones_like(x[..., 0], dtype=torch.bool)
    is_end = x[..., data.symbols.index(vaezoo.END)] > 0
    return is_end.cumsum(1) - is_end.long() == 0


def _accuracy(correct: Tensor, details: dict[str, float]) -> vaezoo.Estimate:
    mean = float(correct.double().mean())
    return vaezoo.Estimate(
        mean, (mean * (1 - mean) / len(correct)) ** 0.5, len(correct), details, unit="share"
    )

"""Draws samples and reconstructions of data of several parts (modalities)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.dataspec import DataSpec
from vaezoo.model.model import Model
from vaezoo.runs.report import pictures

_COLUMNS = 16


def draw_parts(model: Model, batch: Batch, seed: int) -> dict[str, bytes]:
    """Draws each part: samples, reconstructions, and what the other parts tell of it.

    Args:
        model: in evaluation mode.
        batch: examples of the split that was evaluated.
        seed: of the samples.

    Returns:
        PNGs by name, as ``captions`` names them.
    """
    files: dict[str, bytes] = {}
    condition = batch.condition if model.conditioner is not None else None
    for sampler in (None, *model.samplers):
        prefix = "samples" if sampler is None else f"samples-{sampler}"
        samples = model.sample(len(batch), condition, seed=seed, sampler=sampler)
        for name, data in model.data.parts.items():
            if pictures.is_image(data):
                files[f"{prefix}.{name}"] = _sheet(samples[name])
    reconstructions = model.reconstruct(batch)
    for name, data in model.data.parts.items():
        others = [other for other in model.data.parts if other != name]
        pairs = {"reconstructions": reconstructions[name]}
        if others:
            pairs["others"] = model.reconstruct(batch.only(*others))[name]
        for kind, values in pairs.items():
            known = others if kind == "others" else ()
            originals, outputs = select_present(batch, name, values, known)
            if not len(originals):
                continue
            if pictures.is_image(data):
                sheet = _sheet(pictures.pairs(originals, outputs, _COLUMNS))
            else:
                sheet = pictures.vectors(originals.cpu().numpy(), outputs.cpu().numpy())
            files[f"{kind}.{name}"] = sheet
    return files


def select_present(
    batch: Batch, name: str, values: Tensor, others: Sequence[str] = ()
) -> tuple[Tensor, Tensor]:
    """One part of the examples that have it, and what a model computed for these examples.

    Args:
        batch: the examples.
        name: the part.
        values: ``[B, ...]``.
        others: if there are any, the examples must have one of these parts, too.
    """
    everywhere = torch.ones(len(batch), dtype=torch.bool, device=batch.device)

    def has(part: str) -> Tensor:
        present = batch.has(part)
        return everywhere if present is None else present

    rows = has(name)
    if others:
        rows = rows & torch.stack([has(other) for other in others]).any(0)
    return batch.x[name][rows], values[rows]


def _sheet(images: Tensor) -> bytes:
    return pictures.grid(images, _COLUMNS, pictures.zoom_for(images, _COLUMNS))


def captions(parts: Mapping[str, DataSpec], samplers: Iterable[str], split: str) -> dict[str, str]:
    """The captions of the pictures, with examples of a split, in the order of the report."""
    kinds = {
        "samples": "Samples of {}: the mean of p(x|z) for z drawn from the prior",
        **{
            f"samples-{name}": f"Samples of {{}}: the mean of p(x|z) for z drawn from {name}"
            for name in samplers
        },
        "reconstructions": f"{{}} of {split} examples, each with its reconstruction",
        "others": f"{{}} of {split} examples, and its mean given the other parts alone",
    }
    return {f"{kind}.{name}": text.format(name) for kind, text in kinds.items() for name in parts}

"""Reads a data set as users do, and notices what must never happen, whatever the source holds."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import vaezoo
from tests.fuzz.guard import Fault, guarded
from vaezoo.data.batch import Batch
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.loader import Loader
from vaezoo.utils.errors import VaezooError

SPLITS = ("train", "validation", "test")
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Refusal:
    """The message of the error with which a source was refused."""

    message: str


@dataclass(frozen=True)
class Reading:
    """All that a data set gave: description, examples as model input, and what it tells."""

    spec: DataSpec
    splits: dict[str, Batch]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def spec_of(block: dict[str, Any]) -> dict[str, Any]:
    """The smallest spec with a block ``data``."""
    model = {"latent_dim": 2, "encoder": "mlp", "decoder": "mlp", "likelihood": "normal"}
    return {"spec": "vaezoo/v1", "name": "fuzz", "data": block, "model": model}


def read(block: dict[str, Any], folder: Path) -> Reading | Refusal:
    """Builds the data set of a spec and reads all of it.

    Raises:
        Fault: an error that is no refusal on one line, a warning, output, a file that was written,
            a changed state of a random generator, too much memory, or data out of its bounds.
    """
    spec = vaezoo.load_spec(spec_of(block))
    with guarded(folder):
        try:
            result = _read(spec.data.build())
        except Fault:
            raise
        except VaezooError as error:
            return _refusal(str(error))
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(where.filename).name}:{where.lineno}"
            raise Fault(f"{type(error).__name__} at {place}: {error}") from error
    _check_bounds(result)
    return result


def _refusal(message: str) -> Refusal:
    if not message.isprintable():
        raise Fault(f"the message is not one line of printable text: {message!r}")
    if len(message) > 1500:
        raise Fault(f"the message has {len(message)} characters: {message[:300]}...")
    return Refusal(message)


def _read(dataset: vaezoo.Dataset) -> Reading:
    spec, splits = dataset.spec, {}
    for name in SPLITS:
        loader = Loader(dataset.split(name), CPU, batch_size=4)
        splits[name] = loader.first(len(loader))
        _check_batch(spec, loader.first_training_batch(), f"a training batch of {name}")
    sizes = dict(dataset.sizes)
    if sizes != {name: len(batch) for name, batch in splits.items()}:
        raise Fault(f"sizes says {sizes}")
    return Reading(spec, splits, tuple(dataset.left_out), tuple(dataset.notes))


def _check_bounds(result: Reading) -> None:
    for name, batch in result.splits.items():
        if not len(batch):
            raise Fault(f"the {name} split is empty")
        if batch.index.tolist() != list(range(len(batch))):
            raise Fault(f"the {name} split has indices {batch.index.tolist()}")
        _check_batch(result.spec, batch, name)
    for phrase in (*result.left_out, *result.notes):
        if not phrase.isprintable() or len(phrase) > 1000:
            raise Fault(f"what is told is not a line of printable text: {phrase!r}")


def _check_batch(spec: DataSpec, batch: Batch, name: str) -> None:
    """Checks that a batch is as the description says."""
    if spec.parts:
        for part, described in spec.parts.items():
            mask = None if batch.mask is None else batch.mask.get(part)
            _check_x(described, batch.x[part], mask, f"{part} of {name}")
    else:
        _check_x(spec, batch.x, batch.mask, name)
    if (batch.condition is None) != (spec.condition_shape is None):
        raise Fault(f"{name}: a condition that the description lacks, or none")
    if batch.condition is not None:
        condition = batch.condition
        if tuple(condition.shape[1:]) != spec.condition_shape or not condition.isfinite().all():
            raise Fault(f"{name}: conditions of {tuple(condition.shape)}, not finite or otherwise")
        if spec.classes and not (condition.min() >= -1 and condition.max() < len(spec.classes)):
            raise Fault(f"{name}: labels beyond the {len(spec.classes)} classes")
    if {key: tuple(value.shape[1:]) for key, value in batch.extras.items()} != dict(spec.extras):
        raise Fault(f"{name}: extras are not as described")


def _check_x(spec: DataSpec, x: torch.Tensor, mask: torch.Tensor | None, name: str) -> None:
    shape, is_sequence = tuple(x.shape[1:]), spec.variable_length
    if shape[is_sequence:] != spec.shape[is_sequence:] or (
        is_sequence and not 0 < shape[0] <= spec.shape[0]
    ):
        raise Fault(f"{name}: examples {shape}, described as {spec.shape}")
    if x.dtype != torch.float32 or not x.isfinite().all():
        raise Fault(f"{name}: {x.dtype}, or values that are not finite")
    is_complete = mask is None and spec.support == "mixed"  # files to be completed have a mask
    if (mask is None) != (spec.mask_dims == 0) and not is_complete:
        raise Fault(f"{name}: a mask that the description lacks, or none")
    if mask is not None:
        if mask.dtype != torch.bool or tuple(mask.shape) != tuple(x.shape[: 1 + spec.mask_dims]):
            raise Fault(f"{name}: a mask of {mask.dtype} {tuple(mask.shape)}")
        if is_sequence and not mask.flatten(1).any(1).all():
            raise Fault(f"{name}: a sequence without steps")
        x = x[mask]
    inside = {
        "binary": lambda: ((x == 0) | (x == 1)).all(),
        "unit": lambda: ((x >= 0) & (x <= 1)).all(),
        "count": lambda: ((x >= 0) & (x == x.round())).all(),
        "one-hot": lambda: ((x == 0) | (x == 1)).all() and (x.sum(-1) == 1).all(),
    }
    if spec.support in inside and not inside[spec.support]():
        raise Fault(f"{name}: values outside of {spec.support}")

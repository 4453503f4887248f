"""The fingerprints of a run's training and validation split, by which ``resume`` recognises them.

``environment.json`` records them under ``splits``. Data that Python gave has a fingerprint of its
own (``vaezoo.runs.in_memory``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.dataset import Split
from vaezoo.data.fingerprint import Fingerprint, hash_arrays
from vaezoo.data.loader import Loader
from vaezoo.runs.directory import RunDirectory
from vaezoo.utils.errors import IntegrityError
from vaezoo.utils.seeds import seeded

_ITEMS = 16
"""How many examples are read of a split that is not in memory."""


def split_records(train: Loader, validation: Loader) -> dict[str, dict[str, Any]]:
    """The fingerprints of the splits as JSON values, by name."""
    loaders = {"train": train, "validation": validation}
    return {name: fingerprint(loader.split).as_json() for name, loader in loaders.items()}


def check_same_splits(directory: RunDirectory, present: Mapping[str, Mapping[str, Any]]) -> None:
    """Checks that the splits are those that a run was trained on; earlier versions kept no record.

    Raises:
        IntegrityError: one differs.
    """
    for name, recorded in directory.read_environment().get("splits", {}).items():
        before, now = (Fingerprint.from_json(each) for each in (recorded, present[name]))
        if before != now:
            raise IntegrityError(
                f"{directory.path}: its {name} split was {before.examples:,} examples with "
                f"{before}, and now is {now.examples:,} with {now}; restore the data, or start a "
                f"new run with the weights: init: [{{from: {directory.path}}}]"
            )


def fingerprint(split: Split) -> Fingerprint:
    """A hash of the stored examples of a split and of all that belongs to them.

    Of a split that is not in memory, some items are read, always the same ones.
    """
    count, arrays = len(split), {}
    examples = Batch(None, split.condition, split.mask, extras=split.extras, present=split.present)
    if isinstance(split.x, Tensor | Mapping):
        arrays = dict(_arrays("", {**_fields(examples), "x": split.x}))
        return Fingerprint(hash_arrays(arrays), count, count)
    arrays = dict(_arrays("", {**_fields(examples), "count": torch.tensor(count)}))
    indices = sorted(set(np.linspace(0, count - 1, _ITEMS).astype(int).tolist()))
    with seeded(torch.device("cpu"), "fingerprint"):  # items may be drawn at random
        for index in indices:
            item = split.x[index]
            values = _fields(item) if isinstance(item, Batch) else dict(enumerate(item))
            arrays |= _arrays(f"{index}.", values)
    return Fingerprint(hash_arrays(arrays), count, len(indices))


def hash_shown(data: Loader) -> str:
    """A hash of the first examples as a model gets them: binarized, for example."""
    with seeded(data.device, "fingerprint"):  # what is shown may be drawn at random
        batch = data.first(min(_ITEMS, len(data)))
    return hash_arrays(dict(_arrays("", _fields(batch))))


def _fields(batch: Batch) -> dict[str, Any]:
    """What a batch has of each example, by name."""
    names = ("x", "condition", "mask", "extras", "present")
    return {name: getattr(batch, name) for name in names}


def _arrays(prefix: str, values: Mapping[Any, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """The bytes of tensors, and of those in mappings, by names with their types and shapes."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _arrays(f"{prefix}{name}.", value)
        elif value is not None:
            tensor = torch.as_tensor(value).detach().cpu().contiguous()
            shape = "x".join(map(str, tensor.shape))
            flat = tensor.reshape(-1).view(torch.uint8)  # numpy lacks some types of torch
            yield f"{prefix}{name} {tensor.dtype} {shape}", flat.numpy()

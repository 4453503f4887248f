"""Examples that a user hands to a trained model in a file."""

from __future__ import annotations

from pathlib import Path

import torch

from vaezoo.data.loader import Loader
from vaezoo.data.npz import read
from vaezoo.errors import DataError
from vaezoo.facts import Split
from vaezoo.model import Model


def examples(model: Model, path: Path) -> Loader:
    """Examples from the array ``x`` of an npz file, and ``condition`` where there is one.

    Raises:
        DataError: they are not what the model was trained on; names the row.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    arrays = read(path)
    try:
        x = model.prepare(arrays["x"])
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: {error}") from error
    real = model.data.support == "real"
    bad = ~x.isfinite() if real else ~((x >= 0) & (x <= 1))
    if bool(bad.any()):
        row = int(bad.flatten(1).any(1).nonzero()[0])
        what = "holds NaN or infinity" if real else "leaves the model's range of 0 to 1"
        raise DataError(f"{path}: 'x' row {row} {what}")
    given = torch.as_tensor(arrays["condition"]) if "condition" in arrays else None
    return Loader(Split(x, given), model.device, model.batch_size())

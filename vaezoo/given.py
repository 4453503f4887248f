"""Examples that a user hands to a trained model in a file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vaezoo.data.loader import Loader
from vaezoo.errors import DataError
from vaezoo.facts import Split
from vaezoo.model import Model


def examples(model: Model, path: Path) -> Loader:
    """Examples from the array ``x`` of an npz file, and ``condition`` where there is one.

    Raises:
        DataError: they are not what the model was trained on; names the row.
    """
    x, condition = _arrays(path)
    try:
        x = model.prepare(x)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    real = model.data.support == "real"
    bad = ~x.isfinite() if real else ~((x >= 0) & (x <= 1))
    if bool(bad.any()):
        row = int(bad.flatten(1).any(1).nonzero()[0])
        what = "holds NaN or infinity" if real else "leaves the model's range of 0 to 1"
        raise DataError(f"{path}: 'x' row {row} {what}")
    given = None if condition is None else torch.as_tensor(condition)
    return Loader(Split(x, given), model.device, model.batch_size())


def _arrays(path: Path) -> tuple[Any, Any]:
    """``x`` and, where there is one, ``condition``."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: not an npz file")
    try:
        with np.load(path, allow_pickle=False) as opened:
            if "x" not in opened:
                raise DataError(f"{path}: has no array 'x'")
            return opened["x"], opened.get("condition")
    except (OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: {' '.join(str(error).split())}") from error

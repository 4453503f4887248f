"""The numbers of single examples, which are stored beside the evaluation of a run.

``evaluation.json`` has means over examples. Models that are measured on the same examples are
compared by the differences of these numbers, which vary less than the numbers themselves.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from vaezoo.data.fingerprint import Fingerprint
from vaezoo.data.loader import Loader
from vaezoo.evaluation.evaluate import Evaluation
from vaezoo.runs.data_record import fingerprint, hash_shown
from vaezoo.runs.directory import RunDirectory
from vaezoo.utils.errors import IntegrityError
from vaezoo.utils.files import write_json, write_tensors
from vaezoo.utils.json_text import json_text

_FORMAT = "evaluation-examples/v1"
_TOLERANCE = 1e-5
"""The largest difference between the mean of the numbers and the value, relative to its size."""


@dataclass(frozen=True)
class ExampleValues:
    """The numbers of the examples of a split.

    Attributes:
        values: by the name of the metric, ``[n]`` each.
        data: the fingerprint of the examples as they are stored; None if it is not known.
        shown: a hash of the first examples as the model gets them.
    """

    values: Mapping[str, Tensor] = field(default_factory=dict)
    data: Fingerprint | None = None
    shown: str = ""

    @classmethod
    def of(cls, evaluation: Evaluation, data: Loader) -> ExampleValues:
        """Those of an evaluation of the examples of a split."""
        values = {name: each.cpu().double() for name, each in evaluation.per_example.items()}
        return cls(values, fingerprint(data.split), hash_shown(data))


def store_evaluation(directory: RunDirectory, evaluation: Evaluation, data: Loader) -> None:
    """Writes an evaluation, and the numbers of its examples.

    Args:
        directory: the run.
        evaluation: of a split.
        data: the examples of the split.
    """
    split = evaluation["split"]
    write_json(directory.evaluation_of(split), evaluation)
    path = directory.example_values_of(split)
    if not evaluation.per_example:
        path.unlink(missing_ok=True)  # those of an earlier evaluation
        return
    examples = ExampleValues.of(evaluation, data)
    assert examples.data is not None
    tensors = {name: _shortest(values) for name, values in examples.values.items()}
    metadata = {"data": json_text(examples.data.as_json()), "shown": examples.shown}
    write_tensors(path, tensors, {"vaezoo": _FORMAT, "split": split, **metadata})


def read_example_values(
    directory: RunDirectory, split: str, evaluation: Mapping[str, Any]
) -> ExampleValues:
    """Reads the numbers of the examples of a split; runs of earlier versions have none.

    Args:
        directory: the run.
        split: the split.
        evaluation: that of the split.

    Raises:
        IntegrityError: the file is damaged, or belongs to another evaluation.
    """
    path = directory.example_values_of(split)
    if not path.is_file():
        return ExampleValues()
    tensors, metadata = directory.read_tensors(path)
    remedy = f"vaezoo evaluate {directory.path} {split} measures again"
    try:
        if metadata["vaezoo"] != _FORMAT:
            raise ValueError(metadata["vaezoo"])
        data, shown = Fingerprint.from_json(json.loads(metadata["data"])), metadata["shown"]
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{path}: is no file of example values; {remedy}") from error
    for name, values in tensors.items():
        row = evaluation["metrics"].get(name)
        if row is None or not _belongs(values, row):
            raise IntegrityError(f"{path}: {name} is of another evaluation; {remedy}")
    return ExampleValues({name: values.double() for name, values in tensors.items()}, data, shown)


def _shortest(values: Tensor) -> Tensor:
    """The numbers in single precision, if they are the same in it."""
    return values.float() if torch.equal(values.float().double(), values) else values


def _belongs(values: Tensor, row: Mapping[str, Any]) -> bool:
    """Whether a metric is the mean of the numbers of its examples."""
    mean = float(values.double().mean()) if values.dim() == 1 and len(values) else math.nan
    is_mean = math.isclose(mean, row["value"], rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return is_mean and len(values) == row["examples"]

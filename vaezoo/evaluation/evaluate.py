"""Runs metrics and writes down what they found."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from vaezoo.compose import unused
from vaezoo.data.loader import Loader
from vaezoo.errors import SpecError
from vaezoo.model import Model
from vaezoo.seeds import seeded
from vaezoo.spec.options import Bound

SCHEMA_VERSION = 1


def evaluate(model: Model, metrics: Sequence[Bound], data: Loader, split: str, seed: int) -> dict[str, Any]:
    """Every metric on one split, as ``evaluation.json`` holds it.

    Raises:
        SpecError: a metric is not defined for this model.
    """
    model.eval()
    found: dict[str, Any] = {}
    for bound in metrics:
        with model.inference(), seeded(model.device, seed, "evaluation", bound.name):
            try:
                results = bound.build()(model, data)
            except NotImplementedError as error:
                raise SpecError([bound.mark.problem(bound.path, f"metric {bound.name!r}: {error}")]) from error
        for name, result in results.items():
            row = dataclasses.asdict(result)
            details = row.pop("details") or {}
            row["standard_error"] = row.pop("error")
            found[unused(name, found)] = row | dict(details)
    return {"schema_version": SCHEMA_VERSION, "split": split, "seed": seed, "metrics": found}

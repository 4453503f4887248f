"""The data from which a report is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vaezoo.data.loader import Loader
from vaezoo.evaluation.evaluate import MetricSpec
from vaezoo.model.model import Model


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """The data from which a report is drawn.

    Attributes:
        name: the name of the spec.
        time: the name of the run's directory.
        data_name: the name of the data set.
        seed: the seed of the run, which also seeds the pictures.
        spec: the resolved spec as YAML.
        records: the records of ``metrics.jsonl``.
        environment: the content of ``environment.json``.
        evaluation: the content of ``evaluation.json``, or that of the validation split.
        model: the trained model.
        examples: the split of the evaluation.
        metrics: those of the spec, which may have pictures.
        training: loads the training split, for such metrics.
        pictures: the folder to which the pictures are written.
        page: the HTML file that is written.
    """

    name: str
    time: str
    data_name: str
    seed: int
    spec: str
    records: Sequence[dict[str, Any]]
    environment: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    model: Model
    examples: Loader
    metrics: Sequence[MetricSpec]
    training: Callable[[], Loader]
    pictures: Path
    page: Path

"""``vaezoo.compare``: a comparison as a data frame."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaezoo.runs.comparison.comparing import Comparison, compare_subjects
from vaezoo.runs.comparison.subjects import open_subject
from vaezoo.runs.comparison.tables import as_records
from vaezoo.runs.run import Run
from vaezoo.utils.errors import UnavailableError, UsageError

_LIBRARIES = (("pandas", "DataFrame"), ("polars", "DataFrame"))
"""Libraries of data frames, of which the first that is installed is used."""


def compare(
    runs: Sequence[str | Path | Run], *, evaluate: bool = False, device: str = "auto"
) -> Any:
    """Compares runs and pretrained weights, as the command ``vaezoo compare`` does.

    A metric is marked as best where it is better than every other one beyond chance: where the
    95 % interval of the difference excludes 0, with Holm's correction for the number of pairs.
    With at least three seeds of every spec the claim is about specs, over seeds; otherwise about
    these weights, over test examples. Metrics that were not measured alike are never marked.

    Args:
        runs: at least two runs, paths of runs as ``vaezoo.open_run`` takes them, or names of
            pretrained weights.
        evaluate: whether to evaluate those whose metrics of single examples are not stored, such
            as pretrained weights and runs of earlier versions; runs keep them.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Returns:
        A data frame of pandas, or of polars where pandas is not installed, with a row for each
        run: ``run``, ``label``, ``claim`` (``weights`` or ``specs``), ``seed``, ``parameters``,
        ``seconds``, ``examples_per_second``, ``diagnosis``, the options in which the specs differ,
        and of each metric ``NAME``, ``NAME_error`` and ``NAME_best``.

    Raises:
        UsageError: there are fewer than two runs, or one cannot be opened or was not evaluated.
        UnavailableError: neither pandas nor polars is installed.

    Example:
        >>> import vaezoo
        >>> mlp = {"type": "mlp", "hidden": [16]}
        >>> spec = {
        ...     "spec": "vaezoo/v2",
        ...     "name": "tiny",
        ...     "data": {"type": "digits", "batch_size": 128},
        ...     "model": {
        ...         "latent_dim": 2, "encoder": mlp, "decoder": mlp, "likelihood": "bernoulli"
        ...     },
        ...     "train": {"steps": 5},
        ...     "evaluate": ["elbo"],
        ... }
        >>> runs = [vaezoo.run(spec), vaezoo.run(spec, ["train.steps=50"])]
        >>> frame = vaezoo.compare(runs)
        >>> list(frame["train.steps"]), list(frame["elbo_best"])
        ([5, 50], [False, True])
    """
    frame = _frame_class()
    return frame(as_records(compare_runs(runs, evaluate=evaluate, device=device)))


def compare_runs(
    runs: Sequence[str | Path | Run], *, evaluate: bool = False, device: str = "auto"
) -> Comparison:
    """Opens and compares at least two runs or weights; see ``compare``.

    Raises:
        UsageError: there are fewer than two, or one is named twice.
    """
    if isinstance(runs, str | Path | Run) or len(runs) < 2:
        raise UsageError("a comparison needs at least two runs")
    subjects = [open_subject(run, evaluate=evaluate, device=device) for run in runs]
    sources = [subject.source for subject in subjects]
    for source in sources:
        if sources.count(source) > 1:
            raise UsageError(f"{source}: is named twice")
    return compare_subjects(subjects)


def _frame_class() -> Any:
    """The class of data frames of the first library that is installed."""
    for module, name in _LIBRARIES:
        try:
            return getattr(importlib.import_module(module), name)
        except ImportError:
            continue
    raise UnavailableError("vaezoo.compare returns a data frame; pip install pandas")

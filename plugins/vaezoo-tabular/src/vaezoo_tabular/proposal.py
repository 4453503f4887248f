"""A spec for a table of a user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import vaezoo
from vaezoo_tabular.facts import columns_of
from vaezoo_tabular.fitting import TooManyCategoriesError

_STEPS = 7_000
"""About as many steps as tables of some ten thousand rows need to learn their associations."""
_ROWS_PER_STEP = 4
"""Small tables are trained for fewer steps, after which they would be learnt by heart."""
_LATENT_DIMS = 4, 32
"""The least and the greatest dimension of the latent space."""
_ENCODING = "cp1252"
"""The encoding of files that are not in UTF-8."""


def propose(path: Path, table: Callable[..., Any]) -> vaezoo.Proposal:
    """Looks at a table, and proposes a spec for it.

    Args:
        path: the file.
        table: the data set ``table``, which takes options.

    Raises:
        vaezoo.DataError: the file cannot be read.
    """
    data, options, notes = _look(path, table)
    rows = data.sizes["train"]
    if rows < 5000:  # few rows tell little of many values and bins
        options |= {"max_values": max(20, rows // 20), "bins": min(128, max(8, rows // 40))}
        data = table(path=str(path), **options)
    columns = [column for column in columns_of(data.spec) if column.is_modelled]
    categories = [column.name for column in columns if column.categories]
    quality: dict[str, Any] = {"type": "synthetic-rows"}
    reasons = _reasons(len(columns), options)
    if categories:
        quality["target"] = categories[-1]
        reasons["evaluate"] = f"classifiers predict {categories[-1]}: the last of categories"
    blocks, why = _blocks(rows, len(columns))
    reasons["train.epochs"] = why
    found = [f"{sum(data.sizes.values()):,} rows", *data.left_out, *_aligned(data.table)]
    found += [f"please check: {note}" for note in (*notes, *data.notes)]
    block = {"type": "table", "path": str(path), **options, **blocks.pop("data")}
    evaluate = ["elbo", "rate", {"type": "nll", "samples": 50}, quality]
    spec = {"requires": ["vaezoo-tabular>=0.1"], "data": block, **blocks, "evaluate": evaluate}
    return vaezoo.Proposal(found=found, spec=spec, reasons=reasons)


def _look(path: Path, table: Callable[..., Any]) -> tuple[Any, dict[str, Any], list[str]]:
    """The data set, the options that it needs, and what to check of them."""
    options: dict[str, Any] = {}
    notes: list[str] = []
    while True:
        data = table(path=str(path), **options)
        try:
            _ = data.spec
        except TooManyCategoriesError as error:
            options["kinds"] = {**options.get("kinds", {}), error.column: "ignore"}
            notes.append(
                f"column {error.column!r} has {error.count:,} categories and is ignored; "
                "max_categories or rare keep it"
            )
        except vaezoo.DataError as error:
            if "is not text in utf-8" not in str(error):
                raise
            options["encoding"] = _ENCODING
            notes.append(f"the file, which is read as {_ENCODING}")
        else:
            return data, options, notes


def _blocks(rows: int, columns: int) -> tuple[dict[str, Any], str]:
    """The blocks of a spec whose sizes follow those of the table, and why the training is long."""
    batch_size, epochs, why = vaezoo.training_length(rows, min(_STEPS, _ROWS_PER_STEP * rows))
    steps = epochs * -(-rows // batch_size)
    warmup = {"type": "linear", "start": 0.0, "end": 1.0, "steps": max(1, steps // 4)}
    hidden = [256] if rows > 2000 else [64]
    likelihood: Any = "table" if rows > 5000 else {"type": "table", "dropout": 0.2}
    model = {
        "latent_dim": int(np.clip(2 * columns, *_LATENT_DIMS)),
        "encoder": {"type": "table", "body": {"type": "mlp", "hidden": [*hidden, *hidden]}},
        "prior": {"type": "mixture", "components": 64 if rows > 2000 else 16},
        "decoder": {"type": "mlp", "hidden": hidden},
        "likelihood": likelihood,
    }
    train = {
        "epochs": epochs,
        "optimizer": {"type": "adamw", "lr": 1e-3},
        "scheduler": {"type": "cosine-annealing", "eta_min": 1e-5},
        "clip": 5.0,
        "ema": 0.999 if steps > 5000 else 0.99,
    }
    regularizers = [{"type": "kl", "weight": warmup}]
    data = {"batch_size": batch_size}
    return {"data": data, "model": model, "regularizers": regularizers, "train": train}, why


def _reasons(columns: int, options: Mapping[str, Any]) -> dict[str, str]:
    low, high = _LATENT_DIMS
    limit = f", but at least {low}" if 2 * columns < low else ""
    limit = f", but at most {high}" if 2 * columns > high else limit
    reasons = {
        "data.path": "kinds: {COLUMN: categorical} and the like change what a column is taken for",
        "model.latent_dim": f"two for each column, here {columns}{limit}",
        "model.prior": "fits the aggregate posterior, from which samples are made",
        "model.likelihood": "a distribution for each column, each cell given those before it",
        "regularizers": "the weight of the rate rises, so that the latent variables are used",
        "train.ema": "averaged weights are evaluated and saved",
    }
    if "bins" in options:
        reasons["data.bins"] = "numbers of few rows get few values and bins"
    return reasons


def _aligned(table: Any) -> list[str]:
    """The rows of a table as lines with aligned columns."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]

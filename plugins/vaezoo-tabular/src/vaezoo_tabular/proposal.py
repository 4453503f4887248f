"""A spec for a table of a user."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import vaezoo

_STEPS = 7_000
"""About as many steps as small tables need to learn their associations."""


def propose(path: Path, data: Any) -> vaezoo.Proposal:
    """Looks at a table, and proposes a spec for it.

    Args:
        path: the file.
        data: the data set ``table`` of the file, with its default options.

    Raises:
        vaezoo.DataError: the file cannot be read.
    """
    sizes, (headings, *rows) = data.sizes, data.table
    modelled = [field for field in data.spec.fields if not field.name.endswith(" is missing")]
    batch_size, epochs, why = vaezoo.training_length(sizes["train"], _STEPS)
    steps = epochs * -(-sizes["train"] // batch_size)
    warmup = {"type": "linear", "start": 0.0, "end": 1.0, "steps": max(1, steps // 4)}
    latent_dim = min(32, max(4, 2 * len(modelled)))
    hidden = [256] if sizes["train"] > 2000 else [64]
    categories = [field for field in modelled if field.categories]
    quality: dict[str, Any] = {"type": "synthetic-rows"}
    if categories:
        quality["target"] = categories[-1].name
    widths = [max(len(row[i]) for row in (headings, *rows)) for i in range(len(headings))]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (headings, *rows)
    ]
    spec = {
        "requires": ["vaezoo-tabular>=0.1"],
        "data": {"type": "table", "path": str(path), "batch_size": batch_size},
        "model": {
            "latent_dim": latent_dim,
            "encoder": {"type": "table", "body": {"type": "mlp", "hidden": [*hidden, *hidden]}},
            "prior": {"type": "mixture", "components": 64 if sizes["train"] > 2000 else 16},
            "decoder": {"type": "mlp", "hidden": hidden},
            "likelihood": "table",
        },
        "regularizers": [{"type": "kl", "weight": warmup}],
        "train": {
            "epochs": epochs,
            "optimizer": {"type": "adamw", "lr": 1e-3},
            "scheduler": {"type": "cosine-annealing", "eta_min": 1e-5},
            "clip": 5.0,
            "ema": 0.999 if sizes["train"] * epochs > 5000 * batch_size else 0.99,
        },
        "evaluate": ["elbo", "rate", {"type": "nll", "samples": 50}, quality],
    }
    reasons = {
        "data.path": "kinds: {COLUMN: categorical} and the like change what a column is taken for",
        "model.latent_dim": f"about two for each of the {len(modelled)} columns",
        "model.prior": "fits the aggregate posterior, from which samples are made",
        "model.likelihood": "a distribution for each column, each cell given those before it",
        "regularizers": "the weight of the rate rises, so that the latent variables are used",
        "train.epochs": why,
        "train.ema": "averaged weights are evaluated and saved",
    }
    if categories:
        reasons["evaluate"] = f"classifiers predict {categories[-1].name}: the last of categories"
    count = f"{sum(sizes.values()):,} rows"
    notes = [f"please check: {note}" for note in data.notes]
    return vaezoo.Proposal(
        found=[count, *data.left_out, *table, *notes], spec=spec, reasons=reasons
    )

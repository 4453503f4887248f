"""Tables: csv and parquet files and data frames in, and the same columns out again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import vaezoo

if TYPE_CHECKING:
    from vaezoo import Register

_COMPONENTS = {
    "dataset": {"table": "vaezoo_tabular.dataset:Table"},
    "encoder": {"table": "vaezoo_tabular.encoder:TableEncoder"},
    "metric": {"synthetic-rows": "vaezoo_tabular.metrics:SyntheticRows"},
    "format": {
        "csv": "vaezoo_tabular.formats:TableCsv",
        "parquet": "vaezoo_tabular.formats:TableParquet",
        "png": "vaezoo_tabular.formats:TablePng",
    },
    "likelihood": {
        "table": "vaezoo_tabular.likelihood:TableLikelihood",
        "poisson": "vaezoo_tabular.numbers:PoissonLikelihood",
        "negative-binomial": "vaezoo_tabular.numbers:NegativeBinomialLikelihood",
        "truncated-normal": "vaezoo_tabular.numbers:TruncatedNormalLikelihood",
    },
}


@vaezoo.hookimpl
def vaezoo_components(register: Register) -> None:
    """Registers the components of this plugin."""
    for kind, targets in _COMPONENTS.items():
        for name, target in targets.items():
            register(kind, name, target)

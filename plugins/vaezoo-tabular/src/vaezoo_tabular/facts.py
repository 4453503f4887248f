"""What is kept of a table with the weights, checked when it is read back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

from pydantic import TypeAdapter, ValidationError

import vaezoo
from vaezoo_tabular.columns import Column
from vaezoo_tabular.csv_output import CsvForm
from vaezoo_tabular.files import CsvOptions
from vaezoo_tabular.loading import Unseen


@dataclass(frozen=True, kw_only=True)
class TableFacts:
    """What the format of a table needs beside the fields of its data.

    Attributes:
        columns: in the order of the source.
        csv: how csv files are read.
        unseen: of files that a trained model reads: whether what they lack is an error.
        form: how the source was written.
        order: the names of all columns, if the source has no header.
        condition: the column of the condition.
        condition_type: its type of Arrow.
        factors: the columns of factors.
    """

    columns: tuple[Column, ...]
    csv: CsvOptions
    unseen: Unseen
    form: CsvForm | None = None
    order: tuple[str, ...] = ()
    condition: str | None = None
    condition_type: str = "string"
    factors: tuple[str, ...] = ()


@cache
def _adapter() -> TypeAdapter[TableFacts]:
    return TypeAdapter(TableFacts)


def table_facts(data: vaezoo.DataSpec) -> TableFacts:
    """What was kept of the table that data was read from.

    Raises:
        ValueError: it was not read from a table, or what was kept is damaged.
    """
    facts = data.facts.get("vaezoo-tabular")
    if facts is None:
        raise ValueError("needs the data set 'table'")
    try:
        known = _adapter().validate_json(json.dumps(facts, allow_nan=False), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"the facts of the table are damaged: {place}: {first['msg']}") from None
    for column in known.columns:
        column.check(data.shape[-1])
    return known


def columns_of(data: vaezoo.DataSpec) -> tuple[Column, ...]:
    """The columns of the table that data was read from, in the order of the source.

    Raises:
        ValueError: it was not read from a table, or what was kept is damaged.
    """
    return table_facts(data).columns

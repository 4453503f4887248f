"""What is kept of a table with the weights, when it is damaged."""

from __future__ import annotations

import dataclasses
import json

import pytest
from vaezoo_tabular.dataset import Table
from vaezoo_tabular.facts import table_facts
from vaezoo_tabular.formats import TableCsv


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "table.csv"
    path.write_text("a,b\n" + "".join(f"{i / 7},{'xyz'[i % 3]}\n" for i in range(60)))
    return Table(path=str(path)).spec


def changed(data, place, value):
    """The data with one of its facts replaced."""
    facts = json.loads(json.dumps(dict(data.facts["vaezoo-tabular"])))
    *steps, last = place
    block = facts
    for step in steps:
        block = block[step]
    block[last] = value
    return dataclasses.replace(data, facts={"vaezoo-tabular": facts})


def test_what_is_kept_is_read_back(data):
    facts = table_facts(data)
    written = [column.to_json() for column in facts.columns]
    assert written == list(data.facts["vaezoo-tabular"]["columns"])
    assert [column.name for column in facts.columns] == ["a", "b"]


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (("columns", 0, "start"), 1.5, "columns.0.start: "),
        (("columns", 0, "start"), 99, "column 'a' lies outside the"),
        (("columns", 1, "categories"), [1, 2], "columns.1.categories.0: "),
        (("columns", 0, "kind"), "colour", "columns.0.kind: "),
        (("columns",), 3, "columns: "),
        (("csv",), 3, "csv: "),
        (("form", "header"), "yes", "form.header: "),
        (("unseen",), "x", "unseen: "),
        (("order",), [None], "order.0: "),
    ],
)
def test_damage_is_named(data, place, value, says):
    damaged = changed(data, place, value)
    for read in (table_facts, TableCsv):
        with pytest.raises(ValueError, match=says):
            read(damaged)

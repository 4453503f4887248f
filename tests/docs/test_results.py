"""The records of measured figures, and the page that is generated from them."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
FOUND = importlib.util.spec_from_file_location("results_page", DOCS / "results_page.py")
results_page = importlib.util.module_from_spec(FOUND)
FOUND.loader.exec_module(results_page)

FILES = sorted((DOCS / "results").glob("*.json"))
RECORD = {
    "name": "a",
    "command": "vaezoo run a.yaml",
    "seeds": [0],
    "values": {"ELBO": {"value": -1, "at_least": -2, "missed": False}},
}
TOPIC = {
    "order": 1,
    "title": "A",
    "introduction": "",
    "data": "a",
    "split": "test",
    "binarization": None,
    "machine": "a",
    "date": "2026-01-01",
    "columns": [{"figure": "ELBO", "unit": None, "meaning": "", "samples": 1, "error": None}],
    "records": [RECORD],
}


@pytest.fixture
def topic():
    return copy.deepcopy(TOPIC)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_record_has_a_command_and_seeds_or_is_a_reference_with_a_source(path):
    for record in results_page.read(path)["records"]:
        if "source" in record:
            assert record["source"]
            assert "command" not in record and "seeds" not in record
        else:
            assert record["command"]
            assert isinstance(record["seeds"], list)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_generated_page_contains_each_value(path):
    topic = results_page.read(path)
    section = (DOCS / "results.md").read_text("utf-8").partition(f'<a id="{path.stem}"></a>')[2]
    rows = section.partition("<a id=")[0].splitlines()
    for record in topic["records"]:
        names = (f"| {record['name']} |", f"| *reference: {record['name']}* |")
        (row,) = [row for row in rows if row.startswith(names)]
        for value in record["values"].values():
            result = [*results_page.numbers(value["value"]), *value.get("range", [])]
            result += [value[key] for key in ("error", "mean", "samples") if key in value]
            assert all(results_page.written(number) in row for number in result)
            assert ("**missed**" in row) >= value.get("missed", False)


def _place(topic, where):
    for key in where:
        topic = topic[key]
    return topic


VALUE = ("records", 0, "values", "ELBO")


@pytest.mark.parametrize("where", [(), ("columns", 0), ("records", 0), VALUE], ids=str)
def test_an_unknown_key_is_refused_with_file_and_key(topic, where):
    results_page.check(topic, "a.json")
    _place(topic, where)["sauce"] = "a"
    with pytest.raises(results_page.RecordError, match=r"^a\.json.*'sauce'"):
        results_page.check(topic, "a.json")


@pytest.mark.parametrize(
    ("where", "key"),
    [
        ((), "machine"),
        (("columns", 0), "error"),
        (("records", 0), "command"),
        (("records", 0), "seeds"),
        (VALUE, "value"),
        (VALUE, "missed"),
    ],
    ids=str,
)
def test_a_missing_key_is_refused_with_file_and_key(topic, where, key):
    del _place(topic, where)[key]
    with pytest.raises(results_page.RecordError, match=rf"^a\.json.*'{key}'"):
        results_page.check(topic, "a.json")

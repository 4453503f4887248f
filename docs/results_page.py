"""Reads the records in docs/results/*.json and writes them as the page docs/results.md.

docs/results/README.md describes the records. Numbers are read as decimals, so that the page
states each figure with the digits that its record has.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

Record = dict[str, Any]
"""An object of a file: from keys to what they hold, or to the types that they may hold."""

FILE_KEYS = {
    "order": int,
    "title": str,
    "introduction": str,
    "data": str,
    "split": str,
    "binarization": str | None,
    "machine": str,
    "date": str,
    "columns": list,
    "records": list,
}
COLUMN_KEYS = {
    "figure": str,
    "unit": str | None,
    "meaning": str,
    "samples": int | None,
    "error": str | None,
}
RECORD_KEYS = {"name": str, "values": dict}
MEASURED_KEYS = RECORD_KEYS | {"command": str, "seeds": list}
REFERENCE_KEYS = RECORD_KEYS | {"source": str}
RECORD_OPTIONS = {"machine": str, "date": str, "note": str}
VALUE_KEYS = {"value": int | Decimal | list}
VALUE_OPTIONS = {
    "error": int | Decimal,
    "range": list,
    "mean": int | Decimal,
    "samples": int,
    "at_least": int | Decimal,
    "at_most": int | Decimal,
    "missed": bool,
    "note": str,
}

INTRODUCTION = """# Results

Generated from the records in [docs/results](results/README.md) by `make docs`.

- Every figure that was measured stands beside the command that prints it and the seeds it was
  run with. A command that trains uses seed 0 as it stands; where several seeds are listed,
  `-s seed=1` and so on give the others, and the figures are in the order of the seeds.
- A figure after ± is an error, and the list above each table says of what kind. Two figures in
  parentheses are a range.
- S is the number of samples, importance samples or particles that an estimate takes for each
  example.
- A target is the figure that was aimed at, and the page says where it was **missed**.
- A section says by which split a setting was chosen where that is known. Elsewhere it is not
  recorded: the settings may have been found with an eye on figures of the test split. Figures of
  other settings are of the split that the section names, from one run each unless it gives more
  seeds, and choose nothing.
- Figures from the literature are *reference* rows. They come from other training budgets and
  often from other binarizations, preprocessing, posteriors, bounds or numbers of samples, so they
  are shown for orientation and are not ranked against the rows above them. What is not known of
  them is called not recorded.
- Machines are noisy: repeat a measurement before you compare.
"""


class RecordError(ValueError):
    """A file of records breaks the rules of docs/results/README.md; it names file and key."""


def read(path: Path) -> Record:
    """A file of records, checked.

    Raises:
        RecordError: a key is unknown or missing, or its value is not valid.
    """
    try:
        topic = json.loads(path.read_text("utf-8"), parse_float=Decimal)
    except json.JSONDecodeError as error:
        raise RecordError(f"{path.name}: {error}") from None
    check(topic, path.name)
    return topic


def check(topic: Any, file: str) -> None:
    """Checks the content of a file of records.

    Raises:
        RecordError: see ``read``.
    """
    _check_keys(topic, FILE_KEYS, {}, file)
    for at, column in enumerate(topic["columns"]):
        _check_keys(column, COLUMN_KEYS, {}, f"{file}: columns.{at}")
    columns = {column["figure"]: column for column in topic["columns"]}
    for at, record in enumerate(topic["records"]):
        _check_record(record, columns, f"{file}: records.{at}")


def _check_record(record: Any, columns: dict[str, Record], place: str) -> None:
    reference = isinstance(record, dict) and "source" in record
    keys = REFERENCE_KEYS if reference else MEASURED_KEYS
    _check_keys(record, keys, RECORD_OPTIONS, place)
    if not all(type(seed) is int for seed in record.get("seeds", [])):
        raise RecordError(f"{place}.seeds: not a list of integers")
    for figure, value in record["values"].items():
        if figure not in columns:
            raise RecordError(f"{place}.values: the key {figure!r} is none of the columns")
        _check_value(value, record, columns[figure], f"{place}.values.{figure}")


def _check_keys(content: Any, required: Record, optional: Record, place: str) -> None:
    if not isinstance(content, dict):
        raise RecordError(f"{place}: not an object")
    for key in required:
        if key not in content:
            raise RecordError(f"{place}: the key {key!r} is missing")
    known = required | optional
    for key, value in content.items():
        if key not in known:
            raise RecordError(f"{place}: the key {key!r} is unknown")
        if not isinstance(value, known[key]) or isinstance(value, bool) != (known[key] is bool):
            raise RecordError(f"{place}.{key}: {value!r} is not what this key holds")


def _check_value(value: Any, record: Record, column: Record, place: str) -> None:
    _check_keys(value, VALUE_KEYS, VALUE_OPTIONS, place)
    figures = value["value"]
    for figure in [*numbers(figures), *value.get("range", [])]:
        if type(figure) not in (int, Decimal):
            raise RecordError(f"{place}: {figure!r} is not a number")
    if isinstance(figures, list) and len(figures) != len(record.get("seeds", [])):
        raise RecordError(f"{place}.value: not one number for each seed")
    if "error" in value and column["error"] is None:
        raise RecordError(f"{place}.error: the column does not say what kind of error it is")
    if "at_least" in value or "at_most" in value or "missed" in value:
        _check_target(value, place)


def _check_target(value: Record, place: str) -> None:
    if "missed" not in value:
        raise RecordError(f"{place}: the key 'missed' is missing beside the target")
    if "at_least" not in value and "at_most" not in value:
        raise RecordError(f"{place}: the key 'at_least' or 'at_most' is missing")
    if isinstance(value["value"], list) and "mean" not in value:
        raise RecordError(f"{place}: the key 'mean', which the target is for, is missing")
    reached: int | Decimal = value.get("mean", value["value"])
    low, high = value.get("at_least", reached), value.get("at_most", reached)
    if value["missed"] != (not low <= reached <= high):
        raise RecordError(f"{place}.missed: the figure and its target say otherwise")


def numbers(value: Any) -> list[Any]:
    """The numbers of a ``value``: one, or one for each seed."""
    return value if isinstance(value, list) else [value]


def written(number: int | Decimal) -> str:
    """A number as the page writes it, with all its digits."""
    return f"{number:,}"


def cell(value: Record | None) -> str:
    """A figure with its error or range, what is special about it, and its target."""
    if value is None:
        return ""
    text = ", ".join(map(written, numbers(value["value"])))
    if "error" in value:
        text += f" ± {written(value['error'])}"
    if "range" in value:
        text += f" ({' to '.join(map(written, value['range']))})"
    if "mean" in value:
        text += f"; mean {written(value['mean'])}"
    special = [f"S = {written(value['samples'])}"] if "samples" in value else []
    special += [value["note"]] if "note" in value else []
    if special:
        text += f" ({', '.join(special)})"
    for key, words in (("at_least", "at least"), ("at_most", "at most")):
        if key in value:
            verdict = "**missed**" if value["missed"] else "reached"
            text += f"; target {words} {written(value[key])}: {verdict}"
    return text


def page(topics: Iterable[tuple[str, Record]]) -> str:
    """The whole page.

    Args:
        topics: each file's name without its ending, which becomes the anchor, and its content.
    """
    ordered = sorted(topics, key=lambda item: (item[1]["order"], item[0]))
    lines = [INTRODUCTION]
    lines += [f"- [{topic['title']}](#{anchor})" for anchor, topic in ordered]
    for anchor, topic in ordered:
        lines += ["", *_section(anchor, topic)]
    return "\n".join(lines) + "\n"


def _section(anchor: str, topic: Record) -> list[str]:
    lines = [f'<a id="{anchor}"></a>', "", f"## {topic['title']}", "", topic["introduction"], ""]
    for key in ("data", "split", "binarization", "machine", "date"):
        if topic[key] is not None:
            lines.append(f"- {key.capitalize()}: {topic[key]}")
    meanings: dict[str, list[str]] = {}  # columns that mean the same share a line
    for column in topic["columns"]:
        meanings.setdefault(_meaning(column), []).append(f"**{column['figure']}**")
    lines += [f"- {', '.join(figures)}: {meaning}" for meaning, figures in meanings.items()]
    return [*lines, "", *_table(topic), *_notes(topic["records"])]


def _meaning(column: Record) -> str:
    text: str = column["meaning"]
    if column["samples"] is not None:
        text += f" S = {written(column['samples'])}."
    if column["error"] is not None:
        text += f" The figure after ± is the {column['error']}."
    return text


def _table(topic: Record) -> list[str]:
    measured = [record for record in topic["records"] if "source" not in record]
    references = [record for record in topic["records"] if "source" in record]
    figures = [column["figure"] for column in topic["columns"]]
    units = [f" ({column['unit']})" if column["unit"] else "" for column in topic["columns"]]
    heads = ["", *(figure + unit for figure, unit in zip(figures, units, strict=True))]
    lines = []
    alike = len({tuple(_origin(record)) for record in measured}) == 1
    if alike:
        seeds, command = _origin(measured[0])
        lines += [f"Command of every measured row: {command}. Seeds: {seeds}.", ""]
    else:
        heads += ["seeds", "command or source"]
    lines += [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for record in [*measured, *references]:
        name = f"*reference: {record['name']}*" if "source" in record else record["name"]
        cells = [name, *(cell(record["values"].get(figure)) for figure in figures)]
        cells += [] if alike else _origin(record)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _origin(record: Record) -> list[str]:
    """The seeds and the command of a record; of a reference its source."""
    if "source" in record:
        return ["", record["source"]]
    return [", ".join(map(str, record["seeds"])) or "none needed", f"`{record['command']}`"]


def _notes(records: list[Record]) -> list[str]:
    lines = []
    for record in records:
        keys = [key for key in ("source", "machine", "date") if key in record]
        facts = [f"{key.capitalize()}: {record[key]}." for key in keys]
        facts += [record["note"]] if "note" in record else []
        if facts:
            lines.append(f"- {record['name']}: {' '.join(facts)}")
    return ["", *lines] if lines else []

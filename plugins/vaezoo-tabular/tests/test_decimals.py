"""Numbers have as many decimals as those of the table, however these are written."""

from __future__ import annotations

import pandas as pd
import pytest
from vaezoo_tabular.dataset import Table
from vaezoo_tabular.facts import columns_of


@pytest.mark.parametrize(
    ("cells", "decimals"),
    [
        (("9.83E-05", "0.2", "0.033333"), 7),
        (("2.5e+01", "1.25", ""), 2),
        (("1.5e3", "25e-1", "7"), 1),
        (("2e5", "1e3", "0"), 0),
        (("0,5e-3", "1,25", "7"), 4),
        (("1.5e-12", "0.5", "7"), -1),
        (("0e-99999999999999999999", "0.5", "7"), -1),
        (("0e99999999999999999999", "0.5", "7"), 1),
    ],
)
def test_exponents_count_as_if_they_were_written_out(tmp_path, cells, decimals):
    rows = [f"{cells[i % 3] if i % 2 else f'{i}'};{'ab'[i % 2]}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["n;b", *rows]))
    data = Table(path=str(tmp_path / "t.csv"), kinds={"n": "numeric"})
    assert columns_of(data.spec)[0].decimals == decimals


@pytest.mark.parametrize(
    ("dtype", "divisor", "decimals"),
    [("float32", 100, 2), ("float64", 100, 2), ("float64", 1e6, 6), ("float64", 3, -1)],
)
def test_numbers_of_frames_have_the_decimals_of_their_shortest_text(dtype, divisor, decimals):
    numbers = pd.Series([i / divisor for i in range(60)])
    data = Table(kinds={"n": "numeric"})
    data.set_data(pd.DataFrame({"n": numbers.astype(dtype), "b": ["x", "y"] * 30}))
    assert columns_of(data.spec)[0].decimals == decimals

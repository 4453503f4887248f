"""Reading ground-truth factors."""

from __future__ import annotations

import numpy as np
import pytest

from vaezoo.data.datasets.npz import NpzDataset
from vaezoo.data.factors import read_factor_file, read_factors
from vaezoo.utils.errors import DataError


def test_values_become_indices_in_their_order():
    factors = read_factors(
        {
            "scale": np.array([0.5, 1.5, 0.5, -2.0]),
            "shape": ["oval", "box", "box", "oval"],
            "digit": ["10", "9", "10", "2"],
        },
        "here",
    )
    assert factors.values.T.tolist() == [[1, 2, 1, 0], [1, 0, 0, 1], [2, 1, 2, 0]]
    assert [field.categories for field in factors.fields] == [
        ("-2", "0.5", "1.5"),
        ("box", "oval"),
        ("2", "9", "10"),
    ]
    assert [field.kind for field in factors.fields] == ["ordinal", "categorical", "ordinal"]
    assert read_factors({}, "here") is None and not factors.notes


def test_many_numbers_are_cut_into_bins_of_equal_width():
    values = np.linspace(0, 10, 1001)
    factors = read_factors({"angle": values}, "here")
    assert np.array_equal(factors.values[:, 0], np.minimum((values * 2 + 1e-9).astype(int), 19))
    assert factors.fields[0].categories[:2] == ("0 to 0.5", "0.5 to 1")
    assert factors.notes == ("factor 'angle' with 1,001 different values, cut into 20 bins",)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["a", "", "b"], "here: factor 'f' has no value in example 1"),
        (np.array([1.0, 2.0, np.nan]), "here: factor 'f' is nan in example 2"),
    ],
)
def test_factors_without_a_value_are_refused(column, message):
    with pytest.raises(DataError, match=message):
        read_factors({"f": column}, "here")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"factors": np.zeros(40)}, r"'factors' must have the shape \[n, F\], not \(40,\)"),
        ({"factors": np.zeros((39, 2))}, r"'factors\.0' must have 40 rows"),
        ({"factors.a": np.zeros((40, 2))}, r"'factors\.a' must have the shape \[40\]"),
        ({"factors.a": np.zeros(40), "factors": np.zeros((40, 1))}, "use one"),
    ],
)
def test_arrays_of_factors_that_do_not_fit_are_refused(arrays, message, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((40, 3), np.float32), **arrays)
    with pytest.raises(DataError, match=message):
        _ = NpzDataset(path=str(tmp_path / "x.npz")).spec


def test_single_arrays_name_their_factors(tmp_path):
    values = np.arange(40) % 4
    arrays = {"factors.hue": values, "factors.size": values % 2}
    np.savez(tmp_path / "x.npz", x=values[:, None].astype(np.float32), **arrays)
    data = NpzDataset(path=str(tmp_path / "x.npz"))
    assert [field.name for field in data.spec.factors] == ["hue", "size"]
    split = data.split("train")
    assert split.factors[:, 0].tolist() == split.x[:, 0].tolist() and not data.left_out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,a\n1.png,2\n", "needs a column 'file' and one for each factor"),
        ("file\n1.png\n", "needs a column 'file'"),
        ("file,a\n1.png\n", ":2: has 1 cells, expected 2"),
        ("file,a\n2.png,1\n", "has no row for the file '1.png'"),
        ("file,a\n1.png,\n", "factor 'a' has no value"),
    ],
)
def test_files_of_factors_that_do_not_fit_are_refused(text, message, tmp_path):
    (tmp_path / "f.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_factor_file(tmp_path / "f.csv", ["1.png"])

"""Formats read what they wrote, and refuse data that they cannot hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vaezoo.data.batch import Batch
from vaezoo.data.dataspec import DataSpec, Field
from vaezoo.runs.example_files import _select_extras, write_example_files
from vaezoo.runs.file_formats import format_for
from vaezoo.utils.errors import DataError, UsageError

VECTORS = DataSpec(
    (3,),
    "real",
    fields=tuple(
        Field(name, "numeric", (i, i + 1), offset=i + 1.0, scale=scale)
        for i, (name, scale) in enumerate({"a": 2.0, "b": 2.0, "c": 4.0}.items())
    ),
)
SERIES = DataSpec((6, 2), "real", mask_dims=1, variable_length=True)
NUMBERED = replace(SERIES, fields=tuple(Field(str(i), "numeric", (i, i + 1)) for i in range(2)))
ROLLS = DataSpec((6, 5), "binary", 2, mask_dims=1, variable_length=True)
SYMBOLS = Field("symbol", "categorical", (0, 3), categories=("<eos>", "<unk>", "a"))
TEXT = DataSpec((6, 3), "one-hot", 2, mask_dims=1, variable_length=True, fields=(SYMBOLS,))
IMAGES = DataSpec((1, 4, 4), "unit", 256)


def write(data, path, x, columns=4):
    return write_example_files(
        format_for(data, path), path, x if isinstance(x, Batch) else Batch(x), columns
    )


SHAPES = [
    (VECTORS, (5, 3)),
    (replace(VECTORS, fields=(*NUMBERED.fields, Field("2", "numeric", (2, 3)))), (5, 3)),
    (SERIES, (5, 6, 2)),
    (NUMBERED, (5, 6, 2)),
]


@pytest.mark.parametrize("ending", ["npz", "csv"])
@pytest.mark.parametrize(("data", "shape"), SHAPES)
def test_numbers_come_back(tmp_path, ending, data, shape):
    path, x = tmp_path / f"x.{ending}", torch.randn(shape)
    assert write(data, path, x) == [path]
    batch = format_for(data, path).read(path)
    torch.testing.assert_close(data.from_source_units(batch.x).float(), x)
    assert batch.mask is None


def test_the_columns_of_a_csv_file_have_the_names_of_fields(tmp_path):
    town = Field("town", "categorical", (1, 3), categories=("Bonn", "Ulm"))
    data = DataSpec((4,), "mixed", fields=(Field("age", "numeric", (0, 1)), town))
    write(data, tmp_path / "x.csv", torch.zeros(1, 4))
    header = (tmp_path / "x.csv").read_text().splitlines()[0]
    assert header == "example,age,town=Bonn,town=Ulm,x3"
    assert format_for(data, tmp_path / "x.csv").read(tmp_path / "x.csv").x.shape == (1, 4)


TOWN = Field("town", "categorical", (1, 3), categories=("Bonn", "Ulm"))
PEOPLE = DataSpec(
    (4,),
    "mixed",
    classes=("no", "yes"),
    condition_shape=(),
    fields=(Field("age", "numeric", (0, 1)), TOWN, Field("pay", "numeric", (3, 4))),
)


@pytest.mark.parametrize(
    ("content", "condition"),
    [
        ("age,town,pay\n30,Ulm,5\n40,Bonn,6\n", None),
        ('\ufeff"id,1";pay;ill;town;age\na;5;yes;Ulm;30\nb;6;no;Bonn;40\n', [1, 0]),
        ("pay,condition,age,town=Ulm,town=Bonn\n5,no,30,1,0\n6,yes,40,0,1\n", [0, 1]),
        ("example,age,town=Bonn,town=Ulm,pay\n0,30,0,1,5\n1,40,1,0,6\n", None),
        ("30,0,1,5\n40,1,0,6\n", None),
    ],
)
def test_the_columns_of_a_csv_file_are_found_by_name(tmp_path, content, condition):
    (tmp_path / "x.csv").write_text(content, encoding="utf-8")
    batch = format_for(PEOPLE, tmp_path / "x.csv").read(tmp_path / "x.csv")
    assert batch.x.tolist() == [[30, 0, 1, 5], [40, 1, 0, 6]]
    assert (batch.condition if condition is None else batch.condition.tolist()) == condition


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("age,twn,pay\n30,Ulm,5\n", "no column 'town=Bonn'"),
        ("age,town,wage\n30,Ulm,5\n", "no column 'pay'; known: age, town, wage"),
        ("age,town,pay\n30,Rom,5\n", "x.csv:2: 'town' has no value 'Rom'; known: Bonn, Ulm"),
        ("age,town,pay,pay\n30,Ulm,5,6\n", "two columns 'pay'"),
        ("age,town,pay\n,Ulm,5\n", "x.csv:2: '' is not a finite number"),
    ],
)
def test_a_csv_file_with_other_columns_is_refused(tmp_path, content, message):
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        format_for(PEOPLE, tmp_path / "x.csv").read(tmp_path / "x.csv")


def test_an_extra_that_is_not_finite_is_named_by_its_row():
    data = DataSpec((3,), "real", extras={"w": ()})
    batch = Batch(torch.zeros(2, 3), extras={"w": torch.tensor([1, torch.nan])})
    with pytest.raises(ValueError, match=r"'extras\.w' row 1 is nan"):
        _select_extras(data, batch)


def test_large_numbers_keep_their_digits(tmp_path):
    stamp = Field("t", "numeric", (0, 1), offset=1.7e9, scale=2.0)
    data = DataSpec((1,), "real", fields=(stamp,))
    for ending in ("csv", "npz"):
        path = tmp_path / f"x.{ending}"
        write(data, path, torch.tensor([[0.5]]))
        assert format_for(data, path).read(path).x.tolist() == [[1.7e9 + 1]]


def test_files_are_in_the_units_of_the_source(tmp_path):
    path = tmp_path / "x.npz"
    write(VECTORS, path, torch.zeros(1, 3))
    np.testing.assert_allclose(np.load(path)["x"], [[1.0, 2.0, 3.0]])


def test_a_csv_file_of_rows_alone_is_one_sequence(tmp_path):
    path = tmp_path / "x.csv"
    for header in ("", "a,b\n"):
        path.write_text(f"{header}1,2\n3,4\n")
        assert format_for(SERIES, path).read(path).x.tolist() == [[[1, 2], [3, 4]]]
    path.write_text("1,b\n3,4\n")
    with pytest.raises(DataError, match="'b' is not a number"):
        format_for(SERIES, path).read(path)


@pytest.mark.parametrize("ending", ["npz", "csv"])
def test_sequences_keep_their_lengths_and_conditions(tmp_path, ending):
    path, x = tmp_path / f"x.{ending}", torch.randn(2, 6, 2)
    batch = Batch(x, torch.tensor([1, 0]), torch.arange(6) < torch.tensor([[6], [4]]))
    write(SERIES, path, batch)
    result = format_for(SERIES, path).read(path)
    assert torch.equal(result.mask, batch.mask)
    torch.testing.assert_close(result.x[batch.mask].float(), x[batch.mask])
    assert ending == "csv" or result.condition.tolist() == [1, 0]


def test_csv_sequences_of_unlike_lengths_have_a_mask(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("example,step,x0,x1\n0,0,1,2\n0,1,3,4\n1,0,5,6\n")
    batch = format_for(SERIES, path).read(path)
    assert batch.mask.tolist() == [[True, True], [True, False]]
    assert batch.x[1].tolist() == [[5, 6], [0, 0]]


def test_npz_sequences_of_unlike_lengths_have_a_mask(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, x=np.arange(6.0).reshape(3, 2), lengths=[1, 2], condition=[0, 1])
    batch = format_for(SERIES, path).read(path)
    assert batch.mask.tolist() == [[True, False], [True, True]]
    assert batch.condition.tolist() == [0, 1]
    np.savez(path, x=np.arange(6.0).reshape(3, 2), lengths=[1, 3])
    with pytest.raises(DataError, match="lengths do not add up to the 3 steps of x"):
        format_for(SERIES, path).read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no rows of numbers"),
        ("a,b\n", "has no rows of numbers"),
        ("1,2\n3\n", "x.csv:2: has 1 cells, expected 2"),
        ("1,2\n3,x\n", "x.csv:2: 'x' is not a number"),
        ('1,2\n3,"4,5"\n', "x.csv:2: '4,5' has a decimal comma; write it as 1234.5"),
    ],
)
def test_a_bad_csv_file_is_refused_with_its_row(tmp_path, content, message):
    path = tmp_path / "x.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        format_for(SERIES, path).read(path)


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (VECTORS, "x.png", "are not images; use"),
        (IMAGES, "x.csv", "csv files hold vectors of numbers or sequences of them"),
        (IMAGES, "x.tiff", r"use one of the suffixes .*\.npz.*\.png"),
    ],
)
def test_what_a_file_cannot_hold_is_refused_before_anything_is_drawn(data, name, message):
    with pytest.raises(UsageError, match=message):
        format_for(data, Path(name))


@pytest.mark.parametrize("data", [IMAGES, SERIES, ROLLS, TEXT])
def test_pictures_show_something(tmp_path, data):
    path = tmp_path / "x.png"
    write(data, path, torch.rand(3, *data.shape).round())
    assert np.ptp(np.asarray(Image.open(path).convert("L"))) > 0
    with pytest.raises(NotImplementedError, match="for writing only"):
        format_for(data, path).read(path)


def test_a_picture_of_rolls_has_a_dark_row_for_a_held_key(tmp_path):
    x = torch.zeros(1, 6, 5)
    x[0, :, 2] = 1
    write(ROLLS, tmp_path / "on.png", x)
    write(ROLLS, tmp_path / "off.png", torch.zeros(1, 6, 5))
    dark = [
        (np.asarray(Image.open(tmp_path / f"{name}.png").convert("L")) < 90).mean()
        for name in ("on", "off")
    ]
    assert dark[0] > dark[1] + 0.05


def test_parts_masks_and_extras_come_back_in_npz_and_images_of_parts_in_png(tmp_path):
    data = DataSpec((), "joint", parts={"image": IMAGES, "numbers": VECTORS}, extras={"w": ()})
    batch = Batch(
        {"image": torch.rand(4, 1, 4, 4), "numbers": torch.randn(4, 3)},
        extras={"w": torch.rand(4)},
        present={"numbers": torch.tensor([True, False, True, True])},
    )
    path = tmp_path / "x.npz"
    write(data, path, batch)
    again = format_for(data, path).read(path)
    assert torch.equal(again.x["image"], batch.x["image"])
    numbers = data.from_source_units(again.x)["numbers"].float()
    present = batch.present["numbers"]
    torch.testing.assert_close(numbers[present], batch.x["numbers"][present])
    assert torch.equal(again.extras["w"], batch.extras["w"])
    assert torch.equal(again.present["numbers"], batch.present["numbers"])
    write(data, tmp_path / "x.png", batch, columns=2)
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.width > 100
    with pytest.raises(UsageError, match=r"x.csv: .* cannot store the parts image, numbers"):
        format_for(data, tmp_path / "x.csv")

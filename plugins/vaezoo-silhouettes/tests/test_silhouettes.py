"""The silhouettes are those of the file, with the object 1 and the official split."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from vaezoo_silhouettes.dataset import CaltechSilhouettes

import vaezoo


def arrays(n=3):
    rng = np.random.default_rng(0)
    content = {}
    for i, key in enumerate(("train", "val", "test")):
        content[f"{key}_bits"] = rng.integers(0, 256, (n + i, 98), np.uint8)
        content[f"{key}_labels"] = 1 + np.arange(n + i, dtype=np.uint8)
    return content


def written(tmp_path, **changes):
    content = {key: value for key, value in {**arrays(), **changes}.items() if value is not None}
    np.savez(tmp_path / "silhouettes.npz", **content)
    return str(tmp_path / "silhouettes.npz")


def test_each_bit_is_a_pixel_and_the_object_is_one(tmp_path):
    data = CaltechSilhouettes(path=written(tmp_path))
    assert data.sizes == {"train": 3, "validation": 4, "test": 5}
    for name, key in (("train", "train"), ("validation", "val"), ("test", "test")):
        split, bits = data.split(name), arrays()[f"{key}_bits"]
        x = split.transform(split.x)
        assert x.shape == (len(bits), 1, 28, 28)
        for n, row, column in ((0, 0, 0), (2, 27, 27), (1, 13, 8)):
            place = 28 * row + column
            bit = bits[n, place // 8] >> (7 - place % 8) & 1
            assert x[n, 0, row, column] == 1 - bit
        assert split.condition.tolist() == list(range(len(bits)))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"val_bits": None}, "has no array 'val_bits'"),
        (
            {"test_bits": np.zeros((5, 784), np.uint8)},
            r"test_bits must be bytes of shape \[n, 98\]",
        ),
        (
            {"test_bits": np.zeros((0, 98), np.uint8)},
            r"test_bits must be bytes of shape \[n, 98\]",
        ),
        ({"train_labels": np.zeros(2, int)}, "train_labels must be 3 integers"),
        ({"train_labels": np.zeros(3)}, "train_labels must be 3 integers"),
        ({"train_labels": np.array([1, 2, 102])}, "must be classes from 1 to 101"),
        ({"train_labels": np.array([2, 1, 0])}, "must be classes from 1 to 101"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, changes, says):
    with pytest.raises(vaezoo.DataError, match=says):
        _ = CaltechSilhouettes(path=written(tmp_path, **changes)).sizes


def test_a_missing_file_is_unavailable(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VAEZOO_DATA", raising=False)
    with pytest.raises(vaezoo.UnavailableError, match="not part of vaezoo"):
        _ = CaltechSilhouettes().sizes


def test_the_floor_of_independent_pixels_is_that_of_the_literature():
    try:
        data = CaltechSilhouettes()
        train, test = (data.split(name).x for name in ("train", "test"))
    except vaezoo.UnavailableError:
        pytest.skip("the file of silhouettes is not here")
    assert data.sizes == {"train": 4100, "validation": 2264, "test": 2307}
    share = (train > 0).double().mean(0).clamp(1e-6, 1 - 1e-6)
    x = (test > 0).double()
    log_prob = torch.where(x > 0, share.log(), (1 - share).log()).flatten(1).sum(1)
    assert float(-log_prob.mean()) == pytest.approx(380.05, abs=1)

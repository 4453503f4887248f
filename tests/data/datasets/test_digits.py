from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits

from vaezoo.data.datasets.digits import Digits
from vaezoo.data.splits import SPLIT_NAMES
from vaezoo.utils.errors import DataError


def test_splits_hold_every_digit_once():
    data = Digits()
    parts = [data.split(name) for name in SPLIT_NAMES]
    assert [len(part) for part in parts] == list(data.sizes.values()) == [1258, 269, 270]
    together = torch.cat([part.x for part in parts]).flatten(1).tolist()
    pixels, _ = load_digits(return_X_y=True)
    assert sorted(together) == sorted((pixels * 255 / 16).round().tolist())


def test_labels_follow_their_digits():
    pixels, labels = load_digits(return_X_y=True)
    label_of = {tuple((row * 255 / 16).round()): label for row, label in zip(pixels, labels)}
    part = Digits().split("test")
    assert part.condition.tolist() == [
        label_of[tuple(row)] for row in part.x.flatten(1).double().tolist()
    ]


def test_spec_and_split_agree():
    data = Digits()
    part = data.split("train")
    x = part.transform(part.x)
    assert (data.spec.support, data.spec.levels, data.spec.shape) == (
        "unit",
        256,
        tuple(x.shape[1:]),
    )
    assert data.spec.classes == tuple("0123456789")
    assert x.min() == 0 and x.max() == 1


def test_split_seed_decides_which_digit_goes_where():
    first, again, other = (Digits(split_seed=seed).split("test").x for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_fractions_decide_the_sizes():
    data = Digits(fractions=(2, 1, 1))
    assert [len(data.split(name)) for name in SPLIT_NAMES] == [898, 450, 449]


def test_a_part_without_examples_is_refused(refuses):
    refuses(
        DataError,
        lambda: Digits(fractions=(1, 1, 1e-9)).split("train"),
        "digits",
        "1797",
        "too few",
    )


@pytest.mark.parametrize("binarize", ["threshold", "static", "dynamic"])
def test_binarized_digits_are_0_or_1(binarize):
    data = Digits(binarize=binarize)
    assert (data.spec.support, data.spec.levels) == ("binary", 2)
    for name in SPLIT_NAMES:
        part = data.split(name)
        assert part.transform(part.x).unique().tolist() == [0, 1]

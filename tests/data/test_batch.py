"""Batches: what belongs to an example stays with it, and parts are missing where they are said to
be."""

from __future__ import annotations

import pytest
import torch

from vaezoo.data.batch import Batch, hide_missing, pad_sequences


@pytest.fixture
def batch():
    """Four examples of two parts, of which the second and the fourth lack the note."""
    i = torch.arange(4)
    return Batch(
        {"image": 1.0 + i[:, None].expand(4, 2), "note": 10 + i},
        100 + i,
        {"image": i[:, None] > torch.arange(2)},
        extras={"weight": i / 2},
        index=50 + i,
        present={"note": i % 2 == 0},
    )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (slice(1, 3), [1, 2]),
        (slice(3, 9), [3]),
        (torch.tensor([2, 2, 0]), [2, 2, 0]),
        (torch.tensor([True, False, False, True]), [0, 3]),
    ],
)
def test_selected_rows_keep_what_belongs_to_them(rows, expected, batch):
    chosen = batch.select(rows)
    assert len(chosen) == len(expected) and chosen.index.tolist() == [50 + i for i in expected]
    assert chosen.x["image"][:, 0].tolist() == [1 + i for i in expected]
    assert chosen.x["note"].tolist() == [10 + i for i in expected]
    assert chosen.condition.tolist() == [100 + i for i in expected]
    assert chosen.mask["image"].sum(1).tolist() == [min(i, 2) for i in expected]
    assert chosen.extras["weight"].tolist() == [i / 2 for i in expected]
    assert chosen.present["note"].tolist() == [i % 2 == 0 for i in expected]


def test_a_function_of_tensors_reaches_all_of_them(batch):
    count = []
    empty = batch.map(lambda tensor: (count.append(1), tensor[:0])[1])
    assert len(count) == 7 and len(empty) == 0
    assert batch.to("meta").device.type == "meta"
    assert Batch(torch.zeros(2)).map(torch.neg).mask is None


def test_one_part_comes_with_its_mask_and_the_rest_of_the_batch(batch):
    image, note = batch.part("image"), batch.part("note")
    assert torch.equal(image.mask, batch.mask["image"]) and note.mask is None
    assert torch.equal(note.x, batch.x["note"])
    assert image.present is None and note.present == {"note": batch.has("note")}
    assert note.index is batch.index and note.extras is batch.extras


def test_only_some_parts_are_there(batch):
    assert batch.has("image") is None and batch.has("note").tolist() == [1, 0, 1, 0]
    notes = batch.only("note")
    assert notes.has("image").tolist() == [0] * 4 and notes.has("note").tolist() == [1, 0, 1, 0]
    assert notes.only("note", "image").has("image").tolist() == [0] * 4, "it does not come back"
    hidden = hide_missing(notes)
    assert hidden["image"].tolist() == [[0, 0]] * 4 and hidden["note"].tolist() == [10, 0, 12, 0]
    batch.x["image"].fill_(torch.nan)
    assert hide_missing(batch.only("note"))["image"].tolist() == [[0, 0]] * 4
    with pytest.raises(ValueError, match="no part named 'text'; the parts are image, note"):
        batch.only("text")
    with pytest.raises(ValueError, match="these examples have no parts"):
        batch.part("image").only("image")


def test_sequences_are_padded_and_come_back():
    sequences = [torch.ones(2, 3), torch.ones(4, 3)]
    padded = pad_sequences(sequences)
    assert padded.mask.sum(1).tolist() == [2, 4] and float(padded.x.sum()) == 18
    assert all(map(torch.equal, padded.sequences(), sequences))
    assert pad_sequences(sequences[:1]).mask is None

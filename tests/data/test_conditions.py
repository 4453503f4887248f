"""Conditions as people write them."""

from __future__ import annotations

import pytest
import torch

from vaezoo.data.conditions import parse_conditions
from vaezoo.data.dataspec import DataSpec, Field
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.utils.errors import UsageError

LABELS = DataSpec((2,), classes=("cat", "dog", "eel"), condition_shape=())
NAMED = DataSpec(
    (2,),
    condition_shape=(3,),
    condition_fields=(
        Field("color", "categorical", (0, 1), categories=("red", "blue")),
        Field("size", "numeric", (1, 2)),
        Field("digit", "categorical", (2, 3), categories=("7", "9")),
    ),
)


def test_a_class_is_its_index():
    labels, names = parse_conditions(LABELS, " dog ")
    assert labels.tolist() == [1] and labels.dtype == torch.int64 and names == ["dog"]


def test_all_are_the_classes_that_were_seen():
    assert parse_conditions(LABELS, "all")[0].tolist() == [0, 1, 2]
    assert parse_conditions(LABELS, "all", ("cat", "eel"))[0].tolist() == [0, 2]


def test_attributes_come_by_name_in_any_order():
    rows, names = parse_conditions(NAMED, "digit=9, size=0.5,color=blue")
    assert rows.tolist() == [[1, 0.5, 1]] and names == ["color=blue,size=0.5,digit=9"]


def test_all_values_of_attributes_are_combined():
    rows, _ = parse_conditions(NAMED, "color=all,digit=all,size=2")
    assert rows.tolist() == [[0, 2, 0], [0, 2, 1], [1, 2, 0], [1, 2, 1]]


@pytest.mark.parametrize(
    ("data", "text", "message"),
    [
        (LABELS, "cow", "no class 'cow'; did you mean 'dog'|no class 'cow'; known: cat, dog, eel"),
        (NAMED, "color", "'color' is not NAME=VALUE; the attributes are color, size, digit"),
        (NAMED, "colour=red", "no attribute 'colour'; did you mean 'color'"),
        (NAMED, "color=red", "missing attributes; add size=... and digit=..."),
        (NAMED, "color=green,size=1,digit=7", "color: no value 'green'"),
        (NAMED, "color=red,size=big,digit=7", "size: 'big' is not a number"),
        (NAMED, "all", "size: 'all' is not a number"),
        (
            DataSpec((2,), condition_shape=(1, 8, 8)),
            "9",
            r"give a tensor \[n, 1, 8, 8\], or --condition data",
        ),
    ],
)
def test_what_makes_no_sense_is_one_line(data, text, message):
    with pytest.raises(UsageError, match=message.replace(".", r"\.")):
        parse_conditions(data, text)


def test_a_class_that_was_never_seen_is_refused():
    with pytest.raises(UsageError, match="class 'dog' did not occur in training; known: cat, eel"):
        parse_conditions(LABELS, "dog", ("cat", "eel"))


def test_names_of_several_lines_are_listed_on_one():
    for count in (3, 300):
        classes = ("a\nb", *map(str, range(count)))
        data = DataSpec((2,), classes=classes, condition_shape=())
        with pytest.raises(UsageError, match=r"no class 'x'; known: .*a\\nb"):
            parse_conditions(data, "x", classes)


def test_a_model_takes_a_condition_as_people_say_it():
    spec = {
        "spec": "vaezoo/v1",
        "name": "labelled",
        "data": {"type": "digits"},
        "model": {
            "latent_dim": 2,
            "encoder": {"type": "mlp", "hidden": [8]},
            "decoder": {"type": "mlp", "hidden": [8]},
            "likelihood": "bernoulli",
            "condition": {"type": "label"},
        },
    }
    model = prepare_training(load_spec(spec), torch.device("cpu"))[2][0].model.eval()
    requested, z = torch.full((5,), 9), torch.randn(5, 2)
    for text in (9, "9"):
        assert torch.equal(model.sample(5, text, seed=0), model.sample(5, requested, seed=0))
        assert torch.equal(model.decode(z, text), model.decode(z, requested))
    assert torch.equal(
        model.decode(torch.zeros(12, 2), "all"),
        model.decode(torch.zeros(12, 2), torch.arange(12) % 10),
    )
    with pytest.raises(UsageError, match="no class '12'"):
        model.sample(1, 12)
    del spec["model"]["condition"]
    plain = prepare_training(load_spec(spec), torch.device("cpu"))[2][0].model
    with pytest.raises(ValueError, match="not conditional"):
        plain.sample(1, 9)


def test_values_stand_in_the_columns_of_their_fields_as_in_the_data():
    fields = (
        Field("size", "numeric", (3, 4), offset=10.0, scale=2.0),
        Field("color", "categorical", (0, 3), categories=("red", "green", "blue")),
        Field("digit", "categorical", (4, 5), categories=("7", "9")),
    )
    data = DataSpec((2,), condition_shape=(5,), condition_fields=fields)
    conditions, names = parse_conditions(data, "size=14,color=blue,digit=9")
    assert conditions.tolist() == [[0, 0, 1, 2, 1]]
    assert names == ["size=14,color=blue,digit=9"]
    both, _ = parse_conditions(data, "digit=all,color=red,size=10")
    assert both.tolist() == [[1, 0, 0, 0, 0], [1, 0, 0, 0, 1]]

"""Users are told at the start how many examples each split has, and what was left out."""

from __future__ import annotations

import torch

import vaezoo
from vaezoo.data.items import ItemDataset
from vaezoo.data.sizes import count_examples, describe_examples
from vaezoo.runs.dry_run import dry_run
from vaezoo.runs.start import run
from vaezoo.spec.load import load_spec
from vaezoo.utils.files import read_json


class Points(vaezoo.Dataset):
    """Points of the unit square, of which some are left out."""

    built: list[str] = []
    left_out = ("3 points with a name (a, ...)",)
    notes = ("1 class without a training example (b)",)

    @property
    def spec(self):
        return vaezoo.DataSpec((2,), "unit")

    def split(self, name):
        self.built.append(name)
        return vaezoo.Split(torch.rand(1200 if name == "train" else 7, 2))


class Counted(Points):
    """The same, of a known size."""

    sizes = {"train": 1200, "validation": 7, "test": 7}


SEVEN = vaezoo.Loader(vaezoo.Split(torch.rand(7, 2)), torch.device("cpu"), 7)


def loader_of(dataset):
    return vaezoo.Loader(dataset.split("train"), torch.device("cpu"), 1199)


def test_a_split_that_is_known_is_not_built_again():
    for cls, expected in ((Points, ["test"]), (Counted, [])):
        train = loader_of(cls())
        Points.built.clear()
        recorded = count_examples(cls(), train, SEVEN)
        phrases = {"left_out": list(Points.left_out), "notes": list(Points.notes)}
        assert recorded == {**Counted.sizes, **phrases}
        assert Points.built == expected
    assert Points().sizes == Counted.sizes


def test_examples_that_every_epoch_leaves_out_are_reported():
    train = loader_of(Points())
    train.fewest_examples = 2
    assert (train.examples_left_out, train.steps_per_epoch) == (1, 1)
    (_, phrase) = count_examples(Counted(), train, SEVEN)["left_out"]
    assert phrase == "1 training example of each epoch, too few for a last batch"


def test_sizes_of_items_need_no_item():
    items = [None] * 20  # are no examples
    assert ItemDataset(items).sizes == {"train": 16, "validation": 2, "test": 2}


def test_one_line_says_it():
    recorded = {"train": 1200, "validation": 7, "test": 7, "left_out": ["2 lines", "a file"]}
    line = "1,200 train, 7 validation, 7 test; left out: 2 lines; a file"
    assert describe_examples(recorded) == line
    sizes = line.partition(";")[0]
    assert describe_examples(recorded | {"notes": ["b", "c"]}) == f"{line}; please check: b; c"
    recorded |= {"left_out": []}
    assert describe_examples(recorded | {"notes": ["b"]}) == f"{sizes}; please check: b"
    assert describe_examples(recorded) == sizes, "as earlier versions recorded it"


def test_a_run_and_a_dry_run_say_it_at_the_start(spec, tmp_path):
    vaezoo.register("dataset", "points", Points)
    tree, lines = spec(data={"type": "points"}, train={"epochs": 1}), []
    expected = (
        "1,200 train, 7 validation, 7 test; left out: 3 points with a name (a, ...); please "
        "check: 1 class without a training example (b)"
    )
    Points.built.clear()
    assert f"\ndata: {expected}\n" in dry_run(load_spec(tree)).as_text()
    assert sorted(Points.built) == ["test", "train", "validation"]
    finished = run(tree, out=tmp_path, print_line=lines.append)
    assert lines[:2] == [f"run {finished.path}", f"data: points: {expected}"]
    recorded = read_json(finished.directory.environment)["examples"]
    assert describe_examples(recorded) == expected
    page = (finished.path / "report.html").read_text()
    assert expected in page

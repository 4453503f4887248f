"""Labels that are unknown or hidden, through the specs of runs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import vaezoo
from vaezoo.data.hiding import hidden_labels
from vaezoo.data.sizes import count_examples
from vaezoo.runs.dry_run import dry_run
from vaezoo.runs.loaders import build_loader
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec
from vaezoo.utils.errors import DataError, SpecError

CPU = torch.device("cpu")
N = 400
KNOWN = np.arange(N) % 4
PARTLY = np.where(np.arange(N) % 5 == 0, -1, KNOWN)
MLP = {"type": "mlp", "hidden": [8]}
MODEL = {"latent_dim": 2, "encoder": MLP, "decoder": MLP, "likelihood": "normal"}
LABEL = {"type": "label", "dropout": 0.2}


class Items(torch.utils.data.Dataset):
    """Items with labels, read one by one."""

    classes = ("a", "b", "c", "d")

    def __init__(self, labels):
        self.x, self.labels = rows(), labels

    def __len__(self):
        return N

    def __getitem__(self, index):
        return torch.tensor(self.x[index]), int(self.labels[index])


def rows():
    return np.random.default_rng(0).normal(size=(N, 5)).astype(np.float32)


@pytest.fixture
def npz(tmp_path):
    """The options of an npz file with some labels."""

    def write(labels, **options):
        path = tmp_path / "x.npz"
        np.savez(path, x=rows(), condition=labels)
        return {"type": "npz", "path": str(path), "batch_size": 64, **options}

    return write


def text_table(labels, name="label"):
    """A csv file of numbers with a column of labels, empty where they are unknown."""
    lines = [f"a,b,{name}"]
    lines += [f"{x[0]},{x[1]},{'' if y < 0 else 'abcd'[y]}" for x, y in zip(rows(), labels)]
    return "\n".join(lines)


def loaded(spec, data, **blocks):
    return prepare_training(load_spec(spec(data=data, model=MODEL, **blocks)), CPU)


@pytest.mark.parametrize("kind", ["npz", "table", "text"])
def test_unknown_labels_are_minus_1_wherever_examples_come_from(kind, npz, spec, tmp_path):
    path = tmp_path / "x.csv"
    text = text_table(PARTLY)
    path.write_text(text.replace("a,b,", "a,text,", 1) if kind == "text" else text)
    data = {"type": kind, "path": str(path)}
    if kind == "npz":
        data = npz(PARTLY)
    elif kind != "text":
        data["condition"] = "label"
    dataset = load_spec(spec(data=data, model=MODEL)).data.build()
    assert len(dataset.spec.classes) == 4
    labels = torch.cat([dataset.split(name).condition for name in ("train", "validation", "test")])
    expected = np.bincount(PARTLY + 1, minlength=5).tolist()
    assert torch.bincount(labels + 1, minlength=5).tolist() == expected


def test_items_and_arrays_of_python_have_unknown_labels(spec):
    for data in ((rows(), PARTLY), Items(PARTLY)):
        loaded = load_spec(spec(data={"type": "memory"}, model=MODEL))
        _, train, _ = prepare_training(loaded, CPU, data=data)
        labels = train.labels()
        assert labels.min() == -1 and labels.max() == 3


def test_a_table_drops_rows_without_a_label_if_told_so(tmp_path, spec):
    (tmp_path / "x.csv").write_text(text_table(PARTLY))
    data = {"type": "table", "path": str(tmp_path / "x.csv"), "condition": "label"}
    dataset = load_spec(spec(data={**data, "missing": "drop"}, model=MODEL)).data.build()
    assert sum(dataset.sizes.values()) == (PARTLY >= 0).sum()
    assert int(dataset.split("train").condition.min()) == 0


@pytest.mark.parametrize(
    ("labels", "message"),
    [(KNOWN - 2, r"row 0 is -2; labels count from 0, and -1 is"), (KNOWN * 0 - 1, "no row of")],
)
def test_other_negative_labels_and_none_at_all_are_refused(labels, message, npz, spec):
    with pytest.raises(DataError, match=message):
        loaded(spec, npz(labels))


def test_a_share_of_each_class_is_hidden_and_one_label_stays():
    labels = torch.tensor([0] * 100 + [1] * 10 + [2] + [-1] * 5)
    hidden = hidden_labels(labels, ("a", "b", "c"), 0.9)
    counts = [int((hidden == label).sum()) for label in range(3)]
    assert counts == [10, 1, 1]
    assert bool((hidden[hidden >= 0] == labels[hidden >= 0]).all())
    assert torch.equal(hidden, hidden_labels(labels, ("a", "b", "c"), 0.9))
    assert not torch.equal(hidden[:100].argsort(stable=True), torch.arange(100))
    assert hidden_labels(labels, ("a", "b", "c"), ["a"]).tolist() == [-1] * 100 + [
        *labels[100:].tolist()
    ]


@pytest.mark.parametrize("lazy", [False, True])
def test_labels_of_training_alone_are_hidden_from_whatever_reads_them(lazy, spec):
    data = {"type": "memory", "batch_size": 64, "hide_labels": 0.75}
    loaded = load_spec(spec(data=data, model=MODEL))
    given = Items(KNOWN) if lazy else (rows(), KNOWN)
    dataset, train, _ = prepare_training(loaded, CPU, data=given)
    read = torch.cat([batch.condition for batch in train.ordered()])
    drawn = {int(i): int(y) for b in train.epoch(0) for i, y in zip(b.index, b.condition)}
    assert torch.equal(read, train.condition) and torch.equal(read, train.labels())
    assert drawn == dict(enumerate(read.tolist()))
    assert float((read < 0).float().mean()) == pytest.approx(0.75, abs=0.02)
    validation = vaezoo.Loader(dataset.split("validation"), CPU, 64)
    assert int(validation.labels().min()) == 0


def test_the_dry_run_says_how_many_labels_are_unknown(npz, spec):
    data = npz(KNOWN, hide_labels=["1", "2"])
    text = dry_run(load_spec(spec(data=data, model=MODEL))).as_text()
    hidden = int(torch.isin(loaded(spec, npz(KNOWN))[1].condition, torch.tensor([1, 2])).sum())
    assert f"without a label: {hidden} of 320 training examples" in text


@pytest.mark.parametrize(
    ("hide", "message"),
    [
        (1.5, r"data\.hide_labels: the share of hidden labels is between 0 and 1, not 1\.5"),
        (["9"], r"data\.hide_labels: no class '9'"),
    ],
)
def test_labels_that_cannot_be_hidden_are_refused(hide, message, npz, spec):
    with pytest.raises(SpecError, match=message):
        loaded(spec, npz(KNOWN, hide_labels=hide))


def test_a_supervised_term_leaves_unknown_labels_out(npz, spec):
    latents = {"type": "category-and-style", "classes": 4}
    blocks = spec(
        data=npz(PARTLY),
        model={**MODEL, "latents": latents},
        regularizers=["supervised"],
        train={"select": "distortion"},
        evaluate=[],
    )
    _, train, (task,) = prepare_training(load_spec(blocks), CPU)
    term = task(next(train.epoch(0)))[1]["supervised"]
    labels = next(train.epoch(0)).condition
    assert torch.equal(term == 0, labels < 0) and 0 < int((labels < 0).sum()) < len(labels)


def test_a_model_that_needs_labels_refuses_unknown_ones(npz, spec, train):
    model = {**MODEL, "condition": "label"}
    with pytest.raises(DataError, match=r"train examples have no label.*dropout above 0"):
        prepare_training(load_spec(spec(data=npz(PARTLY), model=model)), CPU)
    labels = KNOWN.copy()
    index = load_spec(spec(data=npz(KNOWN), model=MODEL)).data.build()._dataset._indices
    labels[index["validation"][:3]] = -1
    with pytest.raises(DataError, match=r"3 of 40 validation examples have no label"):
        train(data=npz(labels), model=model)
    labels[index["validation"][:3]], labels[index["test"][:2]] = 0, -1
    with pytest.raises(DataError, match=r"2 of 40 test examples have no label"):
        train(data=npz(labels), model=model)


def test_a_conditional_model_trains_on_unknown_labels_and_metrics_leave_them_out(
    npz, tmp_path, spec
):
    anomaly = {"type": "anomaly", "anomalous": ["1"], "samples": 1}
    run = vaezoo.run(
        spec(
            data=npz(PARTLY),
            model={**MODEL, "condition": LABEL},
            train={"epochs": 1},
            evaluate=[{"type": "classification", "samples": 2}, anomaly],
        ),
        out=tmp_path / "runs",
    )
    labels = run.data("test").condition
    unknown = int((labels < 0).sum())
    assert 0 < unknown < len(labels)
    for name in ("accuracy", "label_nll", "anomaly_auroc"):
        result = run.evaluation["metrics"][name]
        assert result["unlabelled"] == unknown, name
        assert result["examples"] == len(labels) - unknown, name
    recorded = json.loads(run.directory.environment.read_text())["examples"]["unlabelled"]
    assert recorded == [f"{int((run.data('train').condition < 0).sum())} of 320 training examples"]
    counts = torch.bincount(run.data("train").condition + 1, minlength=5)[1:]
    assert torch.equal(run.model.class_counts.long(), counts)


def test_metrics_of_known_labels_are_those_without_the_unknown_ones(npz, tmp_path, spec):
    """The same model on the known examples alone has the same accuracy."""
    run = vaezoo.run(
        spec(
            data=npz(PARTLY),
            model={**MODEL, "condition": LABEL},
            train={"epochs": 1},
            evaluate=["elbo"],
        ),
        out=tmp_path / "runs",
    )
    metric, test = vaezoo_classification(), run.data("test")
    known = (test.condition >= 0).nonzero().flatten()
    only = vaezoo.Loader(test.split.select(known), CPU, 64)
    with run.model.inference():
        torch.manual_seed(0)
        partly = metric(run.model, test)["accuracy"]
        torch.manual_seed(0)
        alone = metric(run.model, only)["accuracy"]
    assert (partly.value, partly.examples) == (alone.value, alone.examples)


def vaezoo_classification():
    from vaezoo.evaluation.classification import Classification

    return Classification(samples=3)


def test_files_of_examples_have_unknown_labels(npz, tmp_path, spec, no_report):
    run = vaezoo.run(
        spec(data=npz(PARTLY), model={**MODEL, "condition": LABEL}, train={"epochs": 1}),
        out=tmp_path / "runs",
    )
    np.savez(tmp_path / "new.npz", x=rows()[:4], condition=[0, -1, 3, -1])
    assert run.from_file(tmp_path / "new.npz").condition.tolist() == [0, -1, 3, -1]
    np.savez(tmp_path / "bad.npz", x=rows()[:4], condition=[0, -2, 3, -1])
    with pytest.raises(DataError, match=r"row 1 is -2, not one of the 4 classes"):
        run.from_file(tmp_path / "bad.npz")


@pytest.mark.parametrize("lazy", [False, True])
def test_omitted_classes_are_in_the_test_split_only(lazy, spec):
    data = {"type": "memory", "batch_size": 64, "omit": ["1", "3"]}
    if lazy:
        data["omit"] = ["b", "d"]
    loaded = load_spec(spec(data=data, model=MODEL))
    given = Items(PARTLY) if lazy else (rows(), PARTLY)
    dataset, train, _ = prepare_training(loaded, CPU, data=given)
    for name in ("train", "validation", "test"):
        loader = build_loader(loaded, dataset, name, CPU)
        whole = vaezoo.Loader(dataset.split(name), CPU, 64)
        labels = whole.labels()
        kept = torch.isin(labels, torch.tensor([-1, 0, 2])) if name != "test" else labels > -9
        assert torch.equal(loader.labels(), labels[kept])
        x, every = (torch.cat([b.x for b in each.ordered()]) for each in (loader, whole))
        assert torch.equal(x, every[kept]) and loader.omitted == int((~kept).sum())
    assert set(train.labels().tolist()) == {-1, 0, 2}
    counted = count_examples(dataset, train, build_loader(loaded, dataset, "validation", CPU))
    assert counted["train"] == len(train)
    assert any("examples of the omitted classes" in phrase for phrase in counted["left_out"])


@pytest.mark.parametrize(
    ("omit", "message"),
    [
        (["9"], r"data\.omit: no class '9'"),
        (["0", "1", "2", "3"], r"data\.omit: no example is left"),
    ],
)
def test_classes_that_cannot_be_omitted_are_refused(omit, message, npz, spec):
    with pytest.raises(SpecError, match=message):
        loaded(spec, npz(KNOWN, omit=omit))
    unlabelled = {"type": "memory", "batch_size": 64, "omit": ["1"]}
    with pytest.raises(SpecError, match=r"data\.omit: .* has no class labels"):
        prepare_training(load_spec(spec(data=unlabelled, model=MODEL)), CPU, data=rows())

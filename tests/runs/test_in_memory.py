"""Data that Python gives: what it may be, which bits it leaves, and where it is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from click.testing import CliRunner
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

import vaezoo
import vaezoo.testing
from vaezoo.bench.sweep import open_sweep
from vaezoo.cli.main import cli
from vaezoo.data.datasets.memory import MemoryDataset
from vaezoo.data.items import ItemDataset
from vaezoo.runs.dry_run import dry_run
from vaezoo.runs.publishing import PublicationInfo, publish
from vaezoo.utils.errors import DataError, IntegrityError, Interrupted, UsageError
from vaezoo.utils.files import read_json, read_tensors

RANDOM = np.random.default_rng(0)
N = 200
X = RANDOM.random((N, 6))
LABELS = np.arange(N) % 3
IMAGES = RANDOM.integers(0, 256, (N, 1, 8, 8))
MASK = RANDOM.random((N, 6)) < 0.7
MLP = {"type": "mlp", "hidden": [8]}
MEMORY = {"type": "memory", "batch_size": 32}
SHORT = {"epochs": 2, "log_every": 4, "checkpoint_every": 0}
JOINT = {
    "latent_dim": 2,
    "encoder": {"type": "joint", "parts": {"picture": MLP, "word": MLP}},
    "decoder": {"type": "joint", "parts": {"picture": MLP, "word": MLP}},
    "likelihood": {"type": "joint", "parts": {"picture": "bernoulli", "word": "normal"}},
}


class Items(Dataset):
    """Reads the rows of arrays one by one; ``change(index, item)`` may change an item."""

    def __init__(self, x, y=None, change=lambda index, item: item, **attributes):
        self.x, self.y, self.change = x, y, change
        vars(self).update(attributes)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        x = torch.as_tensor(self.x[index])
        item = x if self.y is None else (x, int(self.y[index]))
        return self.change(index, item)


@pytest.fixture
def fit(tmp_path, spec, no_report, monkeypatch):
    """Trains the smallest spec on data: ``fit(x, train={"epochs": 1})``; None for data of npz."""
    monkeypatch.chdir(tmp_path)

    def start(data_in_memory=None, *, print_line=lambda line: None, **blocks):
        blocks = {"data": MEMORY, "train": SHORT, **blocks}
        return vaezoo.run(spec(**blocks), data=data_in_memory, print_line=print_line)

    return start


@pytest.fixture
def from_npz(fit):
    """Trains on the same arrays in an npz file."""

    def start(options=None, *, arrays, **blocks):
        np.savez("same.npz", **arrays)
        data = {"type": "npz", "path": "same.npz", "batch_size": 32, **(options or {})}
        return fit(data=data, **blocks)

    return start


@pytest.fixture
def equal(left_by, same):
    """Asserts that two runs left the same bits and the same evaluation."""

    def check(first, second, *, besides=()):
        tensors = [read_tensors(run.directory.model)[0] for run in (first, second)]
        same(*({k: v for k, v in each.items() if k not in besides} for each in tensors))
        if not besides:
            same(left_by(first.path)[1], left_by(second.path)[1])
        assert first.evaluation == second.evaluation

    return check


def batch(**fields):
    return vaezoo.Batch(
        {"picture": torch.tensor(IMAGES), "word": torch.tensor(X)},
        mask={"word": torch.tensor(MASK)},
        present={"word": torch.tensor(LABELS > 0)},
        **fields,
    )


SAME = {
    "a numpy array": (X, {"x": X}, {}),
    "float32 in the order of columns": (
        np.asfortranarray(X.astype(np.float32)),
        {"x": X.astype(np.float32)},
        {},
    ),
    "a torch tensor": (torch.tensor(X).requires_grad_(), {"x": X}, {}),
    "pixels": (torch.tensor(IMAGES, dtype=torch.uint8), {"x": IMAGES}, {}),
    "booleans": (X > 0.5, {"x": (X > 0.5).astype(int)}, {}),
    "bfloat16": (
        torch.tensor(X).bfloat16(),
        {"x": torch.tensor(X).bfloat16().float().numpy()},
        {},
    ),
    "a pair": ((X, torch.tensor(LABELS)), {"x": X, "condition": LABELS}, "label"),
    "a batch": (
        vaezoo.Batch(torch.tensor(X), torch.tensor(X[:, :2]), torch.tensor(MASK)),
        {"x": X, "condition": X[:, :2], "mask": MASK},
        "attributes",
    ),
    "a batch of parts": (
        batch(extras={"weight": torch.tensor(LABELS)}),
        {
            "x.picture": IMAGES,
            "x.word": X,
            "mask.word": MASK,
            "present.word": LABELS > 0,
            "extras.weight": LABELS,
        },
        JOINT,
    ),
    "tensors": (
        TensorDataset(torch.tensor(X), torch.tensor(LABELS)),
        {"x": X, "condition": LABELS},
        "label",
    ),
    "items": (Items(X), {"x": X}, {}),
    "items of pixels": (Items(IMAGES.astype(np.uint8)), {"x": IMAGES}, {}),
    "items of zeros and ones": (Items(X > 0.5), {"x": (X > 0.5).astype(int)}, {}),
    "items with a class": (
        Items(X, LABELS, classes=["a", "b", "c"]),
        {"x": X, "condition": LABELS},
        "label",
    ),
    "items with numbers": (
        Items(X, LABELS, lambda i, item: (item[0], float(item[1]))),
        {"x": X, "condition": LABELS / 1},
        "attributes",
    ),
}


@pytest.mark.parametrize("case", SAME)
def test_data_leaves_the_bits_that_it_leaves_in_an_npz_file(case, fit, from_npz, equal):
    examples, arrays, model = SAME[case]
    model = {"condition": model} if isinstance(model, str) else model
    first, second = fit(examples, model=model), from_npz(arrays=arrays, model=model)
    is_lazy = type(examples) is Items  # its labels are not counted, as those of image-folder
    equal(first, second, besides=["class_counts"] if is_lazy and first.model.data.classes else ())
    opened = vaezoo.open_run(first.path, data=examples, device="cpu")
    assert opened.evaluate() == second.evaluation
    assert len(opened.data("train")) == 160


def test_support_splits_and_seed_are_options_as_in_npz(fit, from_npz, equal):
    options = {"support": "real", "fractions": [0.5, 0.25, 0.25], "split_seed": 3}
    normal = {"likelihood": "normal"}
    first = fit(X, data={**MEMORY, **options}, model=normal)
    equal(first, from_npz(options, arrays={"x": X}, model=normal))
    assert first.model.data.support == "real" and len(first.data("train")) == 100
    assert fit(Items(X), data={**MEMORY, **options}, model=normal).model.data.support == "real"


def test_items_are_read_by_workers_and_only_once_an_epoch(fit, equal):
    read = []
    noted = Items(X, change=lambda index, item: (read.append(index), item)[1])
    first = fit(noted, train={**SHORT, "epochs": 1})
    assert sorted(set(read[16 : 16 + 160])) == sorted(read[16 : 16 + 160]), "16 describe the data"
    equal(first, fit(Items(X), data={**MEMORY, "workers": 2}, train={**SHORT, "epochs": 1}))


@pytest.mark.parametrize(
    ("examples", "workers"),
    [(X, 0), (Items(X), 0), (Items(X), 2), (Items(X, LABELS, targets=LABELS), 0)],
    ids=["array", "items", "items read by workers", "items with classes"],
)
def test_an_interrupted_run_is_resumed_with_the_same_bits(
    examples, workers, fit, stop_after, equal, tmp_path
):
    data = {**MEMORY, "workers": workers}
    whole = fit(examples, data=data)
    stop_after(3, 7)
    with pytest.raises(Interrupted):
        fit(examples, data=data)
    (path,) = {*tmp_path.glob("runs/tiny/*")} - {whole.path.resolve()}
    with pytest.raises(Interrupted):
        vaezoo.resume(path, data=examples)
    equal(whole, vaezoo.resume(path, data=examples))


def test_items_that_are_drawn_at_random_are_recognised(fit):
    noisy = Items(X, change=lambda index, item: item + torch.rand(6) + np.random.rand())
    normal = {"likelihood": "normal"}
    path = fit(noisy, model=normal).path
    assert vaezoo.resume(path, data=noisy).model.data.support == "real"


# what a run records


def test_the_fingerprint_is_printed_recorded_and_in_the_report(tmp_path, spec):
    lines = []
    run = vaezoo.run(
        spec(data=MEMORY, train={"steps": 2, "epochs": None}),
        data=Items(X),
        out=tmp_path,
        print_line=lines.append,
    )
    recorded = read_json(run.directory.environment)["data"]
    digest = recorded["sha256"]
    assert len(digest) == 64
    assert recorded == {
        "kind": "torch Dataset",
        "sha256": digest,
        "examples": N,
        "partial": True,
        "read": 16,
    }
    words = f"memory (torch Dataset, sha256 {digest[:16]} of 16 of 200 items)"
    assert lines[1].startswith(f"data: {words}")
    assert f"{words}, 6, unit" in run.directory.report.read_text("utf-8")


def test_a_fingerprint_depends_on_every_byte_type_shape_and_name():
    def digest(data):
        dataset = MemoryDataset()
        dataset.set_data(data)
        return dataset.fingerprint.sha256

    changed = X.copy()
    changed[-1, -1] += 1e-9
    different = [
        X,
        changed,
        X.astype(np.float32),
        X.reshape(N, 3, 2),
        (X, LABELS),
        (X, LABELS.astype(np.uint64)),
        vaezoo.Batch(torch.tensor(X), mask=torch.tensor(MASK)),
        Items(X),
        Items(X[:-1]),
        Items(X + (np.arange(N) == 0)[:, None]),
        Items(X, LABELS, classes="abc"),
    ]
    digests = [digest(each) for each in different]
    assert len(set(digests)) == len(digests)
    for other in (torch.tensor(X), np.asfortranarray(X), np.repeat(X, 2, 0)[::2]):
        assert digest(other) == digests[0]


# refusals


@pytest.fixture
def trained(fit):
    return fit(X).path


def test_other_data_is_refused_with_both_fingerprints(trained):
    other = X + 0.001
    for door in (vaezoo.resume, vaezoo.open_run):
        with pytest.raises(IntegrityError) as raised:
            door(trained, data=other)
        text = str(raised.value)
        assert text.count("sha256 ") == 2 and "\n" not in text and str(trained) in text
        digest = read_json(trained / "environment.json")["data"]["sha256"]
        assert f"was trained on other data: sha256 {digest[:16]}; data= is sha256 " in text


def test_without_its_data_a_run_has_its_model_only(trained):
    run = vaezoo.open_run(trained, device="cpu")
    assert run.model.sample(3).shape == (3, 6)
    expected = (
        f"{trained}: its data was given in Python, and is needed again: "
        f"vaezoo.open_run({str(trained)!r}, data=...), or vaezoo.resume"
    )
    for door in (run.data, run.evaluate, lambda: vaezoo.resume(trained)):
        with pytest.raises(UsageError) as raised:
            door()
        assert str(raised.value) == expected
    quiet = {"quiet": False, "verbose": False}
    result = CliRunner().invoke(cli, ["sample", str(trained), "--out", "s.npz"], obj=quiet)
    assert result.exit_code == 0, result.output
    for command in (["evaluate", str(trained)], ["resume", str(trained)]):
        raised = CliRunner().invoke(cli, command, obj=quiet).exception
        assert str(raised) == expected


def test_a_spec_in_a_file_is_trained_by_python_only(spec, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = yaml.safe_dump(spec(data={"type": "memory"}), sort_keys=False)
    file = tmp_path / "spec.yaml"
    file.write_text(text)
    expected = "spec.yaml:3:1: data: Python gives the data: vaezoo.run(spec, data=...)"
    loaded = vaezoo.load_spec("spec.yaml")
    doors = [
        lambda: vaezoo.run("spec.yaml"),
        lambda: dry_run(loaded),
        lambda: open_sweep(Path("spec.yaml"), [], metric="elbo", trials=1, out=tmp_path / "sweep"),
        lambda: vaezoo.testing.check_spec("spec.yaml"),
    ]
    for door in doors:
        with pytest.raises(UsageError) as raised:
            door()
        assert str(raised.value) == expected
    assert not (tmp_path / "sweep").exists() and not (tmp_path / "runs").exists()


def test_a_spec_without_data_is_complete(spec, tmp_path, no_report):
    whole = spec(train={**SHORT, "epochs": 1})
    del whole["data"]
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(whole))
    first = vaezoo.run(whole, data=X, out=tmp_path)
    assert first.spec.data.name == "memory" and first.spec.data.loader.batch_size == 128
    second = vaezoo.run(file, ["data.batch_size=50"], data=X, out=tmp_path)
    assert second.spec.data.loader.batch_size == 50
    third = vaezoo.run({**whole, "data": {"split_seed": 1}}, data=X, out=tmp_path)
    assert third.spec.data.options["split_seed"] == 1
    fourth = vaezoo.run(vaezoo.load_spec({**whole, "data": "memory"}), data=X, out=tmp_path)
    assert fourth.evaluation == first.evaluation
    with pytest.raises(vaezoo.SpecError, match="data: "):
        vaezoo.run(whole, out=tmp_path)


def test_data_beside_other_data_is_refused_with_both_names(spec, tmp_path):
    with pytest.raises(UsageError) as raised:
        vaezoo.run(spec(), data=(X, LABELS), out=tmp_path)
    assert "data= is a pair (x, y), but the data of the spec is 'digits'" in str(raised.value)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(X)


class Endless(Dataset):
    def __getitem__(self, index):
        return X[0]


REFUSED = {
    "a list": ([[1.0]], "data= is a list, not a numpy array, a torch tensor, a pair"),
    "a data set of vaezoo": (SimpleNamespace(spec=None), "data= is a SimpleNamespace, not"),
    "a stream": (Stream(), "data= is an IterableDataset, which has no order"),
    "no numbers": (np.array(["a"] * N), "'x' must be numbers of shape"),
    "a row with NaN": (np.where(np.arange(N)[:, None] == 3, np.nan, X), "'x' row 3 holds NaN"),
    "a masked array": (np.ma.masked_array(X, ~MASK), "a masked array; give vaezoo.Batch(x, mask="),
    "a sparse tensor": (torch.eye(N).to_sparse(), "a sparse tensor; give x.to_dense()"),
    "a number": (np.float64(1), "data= is a float64, not"),
    "no dimensions": (np.array(1.0), "data: 'x' must be numbers of shape [n, ...], not ()"),
    "no parts": (vaezoo.Batch({}), "data: 'x' is a mapping without parts"),
    "a part with the name of torch": (
        vaezoo.Batch({"keys": torch.ones(N, 2)}),
        "data: 'keys' can",
    ),
    "a part without name": (vaezoo.Batch({"": torch.ones(N, 2)}), "data: '' is no name"),
    "conditions by part": (vaezoo.Batch(torch.ones(N, 2), {}), "data: a dict is no array of"),
    "a mask of a part": (
        vaezoo.Batch(torch.tensor(X), mask={"x": torch.tensor(MASK)}),
        "data: 'mask.x' belongs to no part of x",
    ),
    "a mask of another part": (
        vaezoo.Batch({"label": torch.tensor(X)}, mask={"lable": torch.tensor(MASK)}),
        "data: 'mask.lable' belongs to no part of x",
    ),
    "a mask of all parts": (
        vaezoo.Batch({"a": torch.tensor(X), "b": torch.tensor(X)}, mask=torch.tensor(MASK)),
        "data: 'mask' must be one for each part that has one: a, b",
    ),
    "labels of a list": ((X, [0] * N), "data: a list is no array of numbers"),
    "too few labels": ((X, LABELS[:-1]), f"'condition' must have {N} rows"),
    "a data frame": (
        pd.DataFrame({"a": X[:, 0]}),
        "data= is a data frame; set data: {type: table}, which needs the plugin vaezoo-tabular",
    ),
    "no length": (Endless(), "Endless has no length; define __len__"),
    "too few items": (Items(X[:2]), "data: 2 examples are too few"),
    "items of text": (Items(X, change=lambda i, x: "a"), "item 0: a str is no array of numbers"),
    "items of three": (
        Items(X, change=lambda i, x: (x, 1, 2)),
        "item 0 has 3 values; return x or",
    ),
    "items without shape": (Items(X, change=lambda i, x: x[0]), "item 0: x must be numbers of"),
    "labels without names": (Items(X, LABELS), "it has no attribute `classes`: set it to their"),
    "pictures of PIL": (
        Items(X, change=lambda i, x: SimpleNamespace()),
        "item 0: a SimpleNamespace is no array of numbers; return x or (x, y) of arrays or tens",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_data_is_refused_in_one_line(case, fit, tmp_path):
    examples, message = REFUSED[case]
    with pytest.raises((UsageError, DataError)) as raised:
        fit(examples)
    assert message in str(raised.value) and "\n" not in str(raised.value)
    assert not (tmp_path / "runs").exists()


def at(index, function):
    """Items of which one is changed; it is none of the 16 that are looked at first."""

    def change(i, item):
        return function(item) if i == index else item

    return change


def fail(item):
    raise KeyError("two\nlines")


LATE = {
    "one that raises": (
        Items(X, change=at(5, fail)),
        "data: item 5 cannot be read: KeyError: 'two\\nlines'",
    ),
    "another shape": (
        Items(X, change=at(5, lambda x: x[:5])),
        "item 5 is floats (5,) no y, but item 0 is floats (6,) no y",
    ),
    "another type": (Items(X, change=at(5, lambda x: x.long())), "item 5 is integers (6,)"),
    "a class": (Items(X, change=at(5, lambda x: (x, 1))), "item 5 is floats (6,) y integers ()"),
    "other values": (
        Items(X, change=at(5, lambda x: x + 1)),
        "which is not unit (numbers from 0 to 1) as in the items that were looked at first; set",
    ),
    "booleans": (Items(X, change=at(5, lambda x: x > 0)), "item 5 is booleans (6,)"),
    "NaN": (Items(X, change=at(5, lambda x: x * float("nan"))), "item 5 has values from nan"),
    "grey in black and white": (
        Items((X > 0.5).astype(np.uint8), change=at(5, lambda x: x + 1)),
        "item 5 has values from 1 to 2, which is not binary (0 or 1)",
    ),
    "a number that is no pixel": (
        Items(IMAGES, change=at(5, lambda x: x + 100)),
        "which is not unit (integers from 0 to 255)",
    ),
    "a class without name": (
        Items(X, LABELS, at(5, lambda item: (item[0], 3)), targets=LABELS),
        "item 5 has the label 3; there are 3 classes",
    ),
    "a condition that is no number": (
        Items(X, X, at(5, lambda item: (item[0], item[0] * float("inf"))), classes=None),
        "the y of item 5 holds NaN or infinity",
    ),
}
LATE["a condition that is no number"][0].__class__ = type(
    "Pairs", (Items,), {"__getitem__": lambda self, i: self.change(i, (X[i], torch.tensor(X[i])))}
)


ONE_HOT = np.eye(6)[np.arange(N) % 6]


@pytest.mark.parametrize("index", [0, 5], ids=["one of those that describe", "another"])
@pytest.mark.parametrize("support", ["binary", "unit", "one-hot", "count"])
def test_every_item_has_the_support_of_the_spec(support, index):
    items = Items(ONE_HOT, change=at(index, lambda x: x * 0 + 2.5))
    dataset = ItemDataset(items, support=support)
    with pytest.raises(DataError) as raised:
        [*map(dataset.split("train").x.__getitem__, range(160))]
    message = f"data: item {index} has values from 2.5 to 2.5, which is not {support} ("
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("support", ["auto", "unit", "real"])
@pytest.mark.parametrize("lazy", [False, True])
def test_booleans_are_zeros_and_ones_in_training_and_in_a_model(support, lazy, fit):
    x = X > 0.5
    options = {"data": {**MEMORY, "support": support}, "model": {"likelihood": "normal"}}
    run = fit(Items(x) if lazy else x, **options)
    trained = run.data("train").first(160).x
    assert not run.model.data.pixels and set(trained.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(run.model.prepare(torch.tensor(x)).unique(), trained.unique().cpu())


def test_a_memory_dataset_takes_data_only_once():
    dataset = MemoryDataset()
    dataset.set_data(X)
    with pytest.raises(UsageError, match="already has its data, a numpy array"):
        dataset.set_data(X)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("case", LATE)
def test_an_item_that_is_no_example_is_named_when_it_is_read(case, workers, fit):
    examples, message = LATE[case]
    with pytest.raises(DataError) as raised:
        fit(examples, data={**MEMORY, "workers": workers})
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_an_option_for_other_data_is_refused(fit):
    with pytest.raises(DataError, match=r"data\.support by part is for a vaezoo\.Batch"):
        fit(Items(X), data={**MEMORY, "support": {"x": "real"}})


def test_a_run_with_data_in_memory_is_not_published(trained, tmp_path):
    info = PublicationInfo(title="a", weights_licence="a", data_licence="a", citation="a")
    with pytest.raises(UsageError, match="its data, numpy array, was given in Python, and others"):
        publish(vaezoo.open_run(trained, device="cpu"), "vae/mine@1", tmp_path / "zoo", info)
    arguments = ["publish", str(trained), "--name", "vae/mine@1", "--to", str(tmp_path / "zoo")]
    raised = CliRunner().invoke(cli, arguments, obj={"quiet": True, "verbose": False}).exception
    assert "was given in Python" in str(raised) and not (tmp_path / "zoo").exists()


# several processes


SCRIPT = """
    import json, os, sys
    from pathlib import Path

    import numpy as np
    import vaezoo
    import vaezoo.runs.report.page

    vaezoo.runs.report.page.write_report = lambda data: None
    rank = int(os.environ["RANK"])
    x = np.random.default_rng(0).random((1200, 1, 8, 8), dtype=np.float32)
    results = []
    run = vaezoo.run("spec.yaml", ["data={type: memory}"], data=x)
    results.append(run.evaluation)
    results.append(vaezoo.run("spec.yaml").evaluation)
    try:
        vaezoo.run("spec.yaml", ["data={type: memory}"], data=x + rank)
    except vaezoo.VaezooError as error:
        results.append(f"{type(error).__name__}: {error}")

    class Still(vaezoo.Schedule):
        def forward(self, step):
            return 1.0

    vaezoo.register("schedule", "still", Still)
    try:
        vaezoo.run("spec.yaml", ["regularizers=[{type: kl, weight: still}]"])
    except vaezoo.VaezooError as error:
        results.append(f"{type(error).__name__}: {error}")
    Path(f"results-{rank}.json").write_text(json.dumps(results))
"""


def test_several_processes_have_the_same_data_and_classes_of_modules(torchrun, script, tmp_path):
    done = torchrun(script(SCRIPT))
    assert done.returncode == 0, done.stderr
    results = [json.loads((tmp_path / f"results-{rank}.json").read_text()) for rank in (0, 1)]
    for rank, (evaluation, expected, differs, of_main) in enumerate(results):
        assert evaluation == expected
        assert differs.startswith(
            f"UsageError: data= differs between the 2 processes; in process {rank} it is sha256 "
        )
        assert of_main == (
            "UsageError: schedule 'still' is __main__:Still; for several processes put it into a "
            "module that each of them imports"
        )


WORKERS = """
    import multiprocessing

    import numpy as np
    import torch
    from torch.utils.data import Subset

    import vaezoo
    import vaezoo.runs.report.page

    vaezoo.runs.report.page.write_report = lambda data: None

    class Mine(torch.utils.data.Dataset):
        def __len__(self):
            return 100

        def __getitem__(self, index):
            return np.full(6, index / 100, np.float32), 0.0

    class Own(vaezoo.Dataset):
        @property
        def spec(self):
            return vaezoo.DataSpec((6,), "unit", condition_shape=(1,))

        def split(self, name):
            return vaezoo.Split(Mine())

    if __name__ == "__main__":
        vaezoo.register("dataset", "own", Own)
        for method in ("fork", "spawn", "forkserver"):
            multiprocessing.set_start_method(method, force=True)
            for spec_data, data in (("memory", Mine()), ("memory", Subset(Mine(), range(50))),
                                    ("own", None)):
                for workers in (0, 2):
                    try:
                        vaezoo.run("spec.yaml",
                                   [f"data={{type: {spec_data}, workers: {workers}}}"],
                                   data=data, out=method)
                        print("trained")
                    except vaezoo.VaezooError as error:
                        print(error)
"""


def test_workers_that_are_started_anew_cannot_have_classes_of_main(script, spec, tmp_path):
    short = {"steps": 1, "epochs": None}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec(train=short)))
    command = [sys.executable, script(WORKERS)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr

    def lines(method):
        for name in ("Mine", "Mine", "Own"):
            yield "trained"
            yield (
                f"data.workers: worker processes, which {method!r} starts anew, cannot import "
                f"__main__:{name}; put it into a module, or set data.workers: 0"
            )

    assert done.stdout.splitlines() == [
        *["trained"] * 6,
        *lines("spawn"),
        *lines("forkserver"),
    ]


def test_a_subset_has_the_classes_of_its_data(fit):
    subset = Subset(Items(X, LABELS, classes=["a", "b", "c"]), range(100))
    assert fit(subset, model={"condition": "label"}).model.data.classes == ("a", "b", "c")

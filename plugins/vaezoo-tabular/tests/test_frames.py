"""Data frames of Python: ``vaezoo.run(spec, data=frame)``."""

from __future__ import annotations

import datetime

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from vaezoo_tabular.dataset import Table
from vaezoo_tabular.frames import fingerprint, read_frame

import vaezoo
from vaezoo.utils.errors import IntegrityError, Interrupted, UsageError
from vaezoo.utils.files import read_json, read_tensors

N = 120
COLUMNS = {
    "age": [20 + i % 50 for i in range(N)],
    "height": [None if i == 7 else 1.5 + (i % 40) / 100 for i in range(N)],
    "town": [["Ulm", "Bonn"][i % 2] for i in range(N)],
    "member": [i % 3 == 0 for i in range(N)],
    "born": [datetime.datetime(1990 + i % 9, 1, 2) for i in range(N)],
    "kind": [["x", "y", "z"][i % 3] for i in range(N)],
}
FRAMES = {
    "pandas": pd.DataFrame(COLUMNS),
    "pandas with categories": pd.DataFrame(COLUMNS).astype({"town": "category"}),
    "polars": pl.DataFrame(COLUMNS),
    "polars with categories": pl.DataFrame(COLUMNS).cast({"town": pl.Categorical}),
    "pyarrow": pa.table(COLUMNS),
}


def spec_of(**data):
    return {
        "spec": "vaezoo/v2",
        "name": "people",
        "data": {"type": "table", "batch_size": 32, **data},
        "model": {
            "latent_dim": 2,
            "encoder": {"type": "table", "body": {"type": "mlp", "hidden": [8]}},
            "decoder": {"type": "mlp", "hidden": [8]},
            "likelihood": {"type": "table", "units": 4},
        },
        "train": {"epochs": 1, "device": "cpu"},
        "evaluate": ["elbo"],
    }


def fit(tmp_path, frame, **data):
    return vaezoo.run(spec_of(**data), data=frame, out=tmp_path)


def split_of(frame):
    data = Table(condition="kind")
    data.set_data(frame)
    return data, data.split("train")


@pytest.mark.parametrize("name", FRAMES)
def test_frames_of_all_libraries_hold_the_same_rows(name):
    wanted, expected = split_of(pa.table(COLUMNS))
    got, split = split_of(FRAMES[name])
    assert [f.name for f in got.spec.fields] == [f.name for f in wanted.spec.fields]
    assert [f.kind for f in got.spec.fields] == [f.kind for f in wanted.spec.fields]
    assert got.spec.classes == ("x", "y", "z")
    assert torch.equal(split.x, expected.x) and torch.equal(split.condition, expected.condition)


@pytest.mark.parametrize("name", ["pandas", "polars", "pyarrow"])
def test_a_frame_is_trained_on_opened_resumed_and_written(name, tmp_path):
    frame = FRAMES[name]
    run = fit(tmp_path, frame)
    recorded = read_json(run.directory.environment)["data"]
    assert recorded["kind"] == "data frame" and recorded["examples"] == N
    x = run.model.sample(5)
    assert x.shape == (5, len(run.model.data.fields))
    again = vaezoo.open_run(run.path, data=frame)
    assert again.evaluate("test", ["elbo"]) == run.evaluate("test", ["elbo"])
    with pytest.raises(IntegrityError, match="was trained on other data: sha256"):
        vaezoo.open_run(run.path, data=frame[:100])
    with pytest.raises(UsageError, match="its data was given in Python, and is needed again"):
        vaezoo.open_run(run.path).evaluate("test", ["elbo"])


def test_an_interrupted_run_on_a_frame_says_how_to_resume_it(tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("vaezoo.training.trainer.Trainer.fit", stop)
    with pytest.raises(Interrupted, match=r"vaezoo\.resume\('.*', data=\.\.\.\)$"):
        fit(tmp_path, FRAMES["pandas"])
    pa.parquet.write_table(pa.table(COLUMNS), tmp_path / "x.parquet")
    with pytest.raises(Interrupted, match=r"\n  vaezoo resume /"):
        fit(tmp_path, None, path=str(tmp_path / "x.parquet"))


def test_a_frame_leaves_the_bits_of_its_parquet_file(tmp_path):
    pa.parquet.write_table(pa.table(COLUMNS), tmp_path / "same.parquet")
    runs = [
        fit(tmp_path, FRAMES["polars"]),
        fit(tmp_path, None, path=str(tmp_path / "same.parquet")),
    ]
    first, second = (read_tensors(run.directory.model)[0] for run in runs)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_fingerprint_depends_on_every_cell_name_and_type():
    whole = FRAMES["pandas"]
    different = [
        whole,
        whole.rename(columns={"age": "years"}),
        whole[["height", "age", "town", "member", "born", "kind"]],
        whole.assign(age=whole["age"] + (whole.index == 5)),
        whole.assign(age=whole["age"].astype("int32")),
        whole.assign(town=whole["town"].where(whole.index != 3, "Rom")),
        whole.assign(town=whole["town"].where(whole.index != 3)),
        whole.assign(height=whole["height"].fillna(0.0)),
        whole.assign(born=whole["born"].where(whole.index != 3)),
        whole[:-1],
    ]
    digests = [fingerprint(read_frame(each)).sha256 for each in different]
    assert len(set(digests)) == len(digests)
    assert (
        fingerprint(read_frame(pl.DataFrame(COLUMNS))).sha256
        == fingerprint(read_frame(pa.table(COLUMNS))).sha256
    )


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"a": [1, "x", 2.5]}), "data frame: cannot be read: "),
        (pd.DataFrame({"a": []}), "data frame: has no rows"),
        (pd.DataFrame([[1, 2]] * 9, columns=["a", "a"]), "same name 'a'"),
        (pl.DataFrame({"a": [[1, 2]] * 9}), "column 'a' holds large_list<item: int64>, which is"),
        (pl.DataFrame({"a": [b"x"] * 9}), "column 'a' holds"),
        (pl.DataFrame({"a": [datetime.timedelta(1)] * 9}), "column 'a' holds duration"),
        (pl.DataFrame({" ": [1] * 9}), "column 1 has no name"),
        (pl.DataFrame({"a": ["x y z", "b"] * 9, "b": [float("inf")] * 18}), "'b': 'inf' is too"),
        (pl.DataFrame({"a": [1, 2] * 9}).lazy(), "not LazyFrame"),
    ],
)  # fmt: skip
def test_a_frame_that_cannot_be_modelled_is_refused_in_one_line(frame, message, tmp_path):
    has_b = isinstance(frame, pl.DataFrame) and "b" in frame.columns
    options = {"kinds": {"b": "numeric"}} if has_b else {}
    with pytest.raises(vaezoo.VaezooError) as raised:
        fit(tmp_path, frame, **options)
    assert message in str(raised.value) and "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_numbers_are_names_of_columns(tmp_path):
    data = Table()
    data.set_data(pd.DataFrame([[i, i % 3] for i in range(30)]))
    assert [field.name for field in data.spec.fields] == ["1"]  # 0 names the rows
    data = Table()
    data.set_data(pd.DataFrame({"a": [1.5, 2] * 9}, index=[f"i{i}" for i in range(18)]))
    assert [field.name for field in data.spec.fields] == ["a"]


def test_a_frame_beside_a_file_or_without_the_plugin_is_refused(tmp_path):
    frame = FRAMES["polars"]
    with pytest.raises(UsageError, match="data= is a data frame, but the data of the spec is 'ta"):
        fit(tmp_path, frame, path="people.csv")
    with pytest.raises(UsageError, match="Python gives the data"):
        fit(tmp_path, None)
    with pytest.raises(UsageError, match=r"set data: \{type: table\}"):
        vaezoo.run({**spec_of(), "data": "memory"}, data=frame, out=tmp_path)
    with pytest.raises(vaezoo.DataError, match="needs a data frame, not list"):
        fit(tmp_path, [[1]])

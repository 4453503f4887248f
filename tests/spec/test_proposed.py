"""Specs that are written for files of users: valid, commented, and they train."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from vaezoo.cli.main import cli
from vaezoo.data.proposal import Proposal, training_length
from vaezoo.runs.dry_run import dry_run
from vaezoo.spec.load import load_spec
from vaezoo.spec.proposed import commented_yaml
from vaezoo.utils.errors import UsageError


def new(*words):
    arguments = ["new", "spec", *map(str, words)]
    return CliRunner().invoke(cli, arguments, obj={}, catch_exceptions=False)


def photos(folder):
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (folder / name).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(0, 256, (40, 50, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    (folder / "cats" / "notes.txt").write_text("x")
    return folder


def text(folder):
    folder.mkdir()
    lines = [f"{animal} number {i}" for i in range(20) for animal in ("cat", "dog")]
    (folder / "lines.txt").write_text("\n".join(lines))
    return folder / "lines.txt"


def series(folder):
    folder.mkdir()
    x = np.random.default_rng(0).normal(5, 3, (40, 220, 2))
    np.savez(folder / "series.npz", x=x)
    return folder / "series.npz"


def table(folder):
    folder.mkdir()
    rows = [f"{i % 7},{i * 37 % 11 / 2},{'ab'[i % 2]}" for i in range(60)]
    (folder / "t.csv").write_text("\n".join(["count,size,name", *rows]))
    return folder / "t.csv"


@pytest.mark.parametrize(
    ("kind", "make", "found"),
    [
        ("photos", photos, "40 images, 50 to 50 pixels wide and 40 to 40 high"),
        ("text", text, "symbols, at most 14 in a line"),
        ("series", series, "2 channels, at most 220 steps"),
        ("table", table, "60 rows"),
    ],
)
def test_a_spec_for_files_works_as_it_is(kind, make, found, tmp_path):
    data, path = make(tmp_path / "data"), tmp_path / "mine.yaml"
    done = new(path, data, "--from", kind)
    assert done.exit_code == 0 and f"vaezoo run {path} --dry-run" in done.output
    written = path.read_text("utf-8")
    assert found in written and written.count("# ") > 5
    spec = load_spec(path, ["train.device=cpu"])
    assert dry_run(spec).losses


def test_a_spec_is_not_written_for_what_is_not_there(tmp_path):
    path = tmp_path / "mine.yaml"
    for words, message in (
        (["none.csv", "--from", "table"], "none.csv: no such file or folder"),
        ([tmp_path, "--from", "vae-digits"], "say with --from what it holds: photos, table,"),
        ([tmp_path, tmp_path, "--from", "table"], "--from table: takes SPEC and DATA"),
        (["--from", "tabel"], "no example 'tabel'; did you mean 'table'"),
    ):
        with pytest.raises(UsageError, match=message):
            new(path, *words)
    with pytest.raises(UsageError, match="--from table: name the file or folder to look at"):
        new("--from", "table")
    assert not path.exists()


def test_a_spec_has_the_name_of_the_data_by_default(tmp_path, monkeypatch):
    table(tmp_path / "my data").replace(tmp_path / "my data" / "people.v2.csv")
    monkeypatch.chdir(tmp_path)
    done = new("my data/people.v2.csv", "--from", "table")
    assert done.exit_code == 0 and load_spec(tmp_path / "people.yaml").name == "people"
    with pytest.raises(UsageError, match=r"people\.yaml exists; choose another name"):
        new("my data/people.v2.csv", "--from", "table")


def test_reasons_stand_beside_values():
    proposal = Proposal(
        found=["3 things", "a\x1b[31mred\nline"],
        spec={"data": {"type": "some", "path": "a: b"}, "evaluate": ["elbo"]},
        reasons={"data.path": "because", "evaluate": "enough"},
    )
    written = commented_yaml("no", proposal.spec["data"]["path"], proposal)
    assert written.splitlines() == [
        "# Written for a: b:",
        "# 3 things",
        "# a\\x1b[31mred\\nline",
        "",
        "spec: vaezoo/v2",
        "name: 'no'",
        "data:",
        "  type: some",
        "  path: 'a: b'  # because",
        "evaluate: [elbo]  # enough",
    ]


def test_the_length_of_training_follows_the_number_of_examples():
    assert training_length(100, 4000) == (32, 500, "2,000 steps of 32 examples")
    assert training_length(10_000, 4000) == (128, 51, "4,029 steps of 128 examples")
    assert training_length(10_000_000, 4000)[:2] == (256, 5)

"""Files of users in every command that reads examples."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from vaezoo.runs.run import Run

KINDS = ("photos", "music", "text", "table", "arrays")


@pytest.fixture(params=KINDS)
def trained(request):
    return request.getfixturevalue(request.param)


def read_rows(path, encoding="utf-8", **options):
    with open(path, newline="", encoding=encoding) as file:
        return list(csv.DictReader(file, **options))


def read_table_rows(path):
    """Rows that are written as the table of the fixture is."""
    return read_rows(path, "latin-1", delimiter=";")


@pytest.mark.parametrize("source", ["file", "folder"])
@pytest.mark.parametrize("command", ["score", "encode"])
def test_each_example_of_a_file_has_a_row_with_its_name(call, trained, tmp_path, source, command):
    out = tmp_path / "rows.csv"
    path = getattr(trained, source)
    assert call("-q", command, trained.run, path, "--out", out) == 0
    rows = read_rows(out)
    files = {row["file"] for row in rows}
    if source == "file":
        assert files == {trained.file.name}
        return
    every = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()}
    assert len(rows) == trained.count and files == every
    if command == "encode":
        assert call("-q", command, trained.run, path, "--out", tmp_path / "rows.npz") == 0
        arrays = np.load(tmp_path / "rows.npz")
        assert arrays["file"].tolist() == [row["file"] for row in rows]
        np.testing.assert_allclose(arrays["mean"][:, 0], [float(row["z0"]) for row in rows])
    value = "score" if command == "score" else "z0"
    assert np.isfinite([float(row[value]) for row in rows]).all()


@pytest.mark.parametrize("source", ["file", "folder"])
@pytest.mark.parametrize("command", ["reconstruct", "traverse", "interpolate"])
@pytest.mark.parametrize("form", ["png", "own", "npz"])
def test_pictures_and_files_are_made_of_files(call, trained, tmp_path, source, command, form):
    ending = trained.ending if form == "own" else form
    options = {
        "reconstruct": [],
        "traverse": ["--dimensions", 2, "--steps", 3],
        "interpolate": ["--steps", 3, "--to", 0 if trained.count == 3 else 1],
    }
    out = tmp_path / f"x.{ending}"
    path = getattr(trained, source)
    assert call("-q", command, trained.run, path, *options[command], "--out", out) == 0
    assert [p for p in tmp_path.iterdir() if p.suffix == f".{ending}" and p.stat().st_size]


@pytest.mark.parametrize("source", ["file", "folder"])
def test_a_model_is_evaluated_on_files(call, trained, capsys, source):
    path = getattr(trained, source)
    capsys.readouterr()
    assert call("evaluate", trained.run, path, "--metric", "elbo", "--json") == 0
    evaluation = json.loads(capsys.readouterr().out)["evaluation"]
    assert evaluation["split"] == str(path)
    if source == "folder":
        assert evaluation["metrics"]["elbo"]["examples"] == trained.count


def test_damaged_photos_are_left_out_if_training_leaves_them_out(
    call, photos, tmp_path, capsys, monkeypatch
):
    folder = shutil.copytree(photos.folder, tmp_path / "photos")
    (folder / "damaged.png").write_bytes(b"\x89PNG")
    out = tmp_path / "s.csv"
    assert call("score", photos.run, folder, "--out", out) != 0
    assert "damaged.png" in capsys.readouterr().err and not out.exists()
    monkeypatch.setattr(Run, "skips_unreadable", True)
    assert call("score", photos.run, folder, "--out", out) == 0
    assert "1 file that cannot be read (damaged.png), the first: damaged.png: " in "".join(
        capsys.readouterr()
    )
    assert len(read_rows(out)) == photos.count


def test_windows_of_music_are_named_by_their_first_step(call, music, tmp_path):
    assert call("-q", "score", music.run, music.folder, "--out", tmp_path / "s.csv") == 0
    names = [(row["file"], row["example"], row["start"]) for row in read_rows(tmp_path / "s.csv")]
    assert names == [
        *[("deep/two.mid", str(i), str(6 * i)) for i in range(3)],
        *[("one.midi", str(i), str(6 * i)) for i in range(2)],
    ]
    assert call("-q", "score", music.run, "all", "--out", tmp_path / "all.csv") == 0
    rows = read_rows(tmp_path / "all.csv")
    starts: dict[str, list[int]] = {}
    for row in rows:
        starts.setdefault(row["file"], []).append(int(row["start"]))
    assert list(rows[0]) == ["split", "example", "file", "start", "score"] and len(starts) > 2
    assert all(each == list(range(0, 6 * len(each), 6)) for each in starts.values())


def test_lines_of_text_are_read_without_empty_ones(call, text, tmp_path):
    assert call("-q", "encode", text.run, text.folder, "--out", tmp_path / "z.json") == 0
    rows = json.loads((tmp_path / "z.json").read_text())["rows"]
    assert [(row["file"], row["line"]) for row in rows] == [
        *[("deep/two.csv", 2), ("deep/two.csv", 3)],
        *[("one.txt", 1), ("one.txt", 3)],
    ]


def test_rows_of_a_table_keep_their_identifiers_and_own_units(call, table, tmp_path):
    out = tmp_path / "rows.csv"
    assert call("-q", "score", table.run, table.folder, "--out", out) == 0
    names = [(row["id"], row["label"]) for row in read_rows(out)]
    assert names == [
        *[("user-200", "cat"), ("user-201", "dog")],
        *[("user-100", "cat"), ("user-101", "dog"), ("user-102", "cat")],
    ]
    for command in (["interpolate", "--steps", 4], ["traverse", "--steps", 3], ["reconstruct"]):
        assert call("-q", command[0], table.run, table.file, *command[1:], "--out", out) == 0
        assert all(
            row["town"] in ("Köln", "Ulm") and 100 < float(row["size"].replace(",", ".")) < 250
            for row in read_table_rows(out)
        )


def test_examples_without_labels_are_classified(call, photos, table, tmp_path, capsys):
    for trained, count in ((photos, 3), (table, 5)):
        for name in ("c.csv", "c.json"):
            out = tmp_path / name
            arguments = ["classify", trained.run, trained.folder, "--samples", 2, "--out", out]
            assert call("-q", *arguments) == 0
        rows = json.loads((tmp_path / "c.json").read_text())["rows"]
        assert len(rows) == len(read_rows(tmp_path / "c.csv")) == count
        for row in rows:
            shares = {name[2:-1]: p for name, p in row.items() if name.startswith("p(")}
            assert sum(shares.values()) == pytest.approx(1)
            assert row["predicted"] == max(shares, key=shares.get)
    labels = {row["file"]: row["label"] for row in read_rows(tmp_path / "c.csv")}
    assert labels["one.csv"] == "cat"
    assert call("classify", photos.run, photos.file, "--samples", 2) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].split() == ["file", "example", "predicted", "probability"]
    assert lines[-1].split()[:2] == ["one.jpg", "0"]


def test_the_label_of_an_image_is_the_nearest_folder_of_a_class(call, photos, arrays, tmp_path):
    out = tmp_path / "s.csv"
    for trained, labels in (
        (photos, {"b/deep/two.png": "b", "b/three.PNG": "b", "one.jpg": ""}),
        (arrays, {"7/two.png": "7", "one.npz": ""}),
    ):
        assert call("-q", "score", trained.run, trained.folder, "--out", out) == 0
        assert {row["file"]: row["label"] for row in read_rows(out)} == labels


def test_images_are_read_as_in_training(call, photos, tmp_path):
    """A folder of the training images themselves gives what the splits give."""
    for source, name in (("all", "split.json"), (photos.folder.parent / "train", "files.json")):
        assert call("-q", "encode", photos.run, source, "--out", tmp_path / name) == 0
    latents = [
        sorted(row["z0"] for row in json.loads((tmp_path / name).read_text())["rows"])
        for name in ("split.json", "files.json")
    ]
    np.testing.assert_allclose(latents[0], latents[1], atol=1e-5)


@pytest.mark.parametrize("command", ["score", "encode", "reconstruct", "evaluate", "classify"])
def test_a_file_that_cannot_be_read_is_named_in_one_line(
    call, photos, tmp_path, capsys, monkeypatch, command
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad/a").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "bad/a/fine.png")
    (tmp_path / "bad/a/damaged.png").write_bytes(b"\x89PNG")
    (tmp_path / "bad/notes.doc").write_bytes(b"")
    assert call("-q", command, photos.run, tmp_path / "bad") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "damaged.png: not a readable image" in line
    (tmp_path / "bad/a/damaged.png").unlink()
    assert call(command, photos.run, tmp_path / "bad") == 0
    assert "left out: 1 file that this model does not read (notes.doc)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("small.png", 1, "is 4x5 (height x width), the images of this model are 8x8"),
        ("colour.npz", 1, "expected examples of shape (1, 8, 8), got (3, 8, 8)"),
        ("nowhere", 1, "no such file or folder; the splits are train, validation, test, all"),
        ("notes.doc", 2, "unknown file format"),
        ("empty", 1, "no file in this folder can be read by this model"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(
    call, arrays, tmp_path, capsys, name, code, message
):
    Image.new("L", (5, 4)).save(tmp_path / "small.png")
    np.savez(tmp_path / "colour.npz", x=np.zeros((2, 3, 8, 8), np.uint8))
    (tmp_path / "notes.doc").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for command in ("score", "encode", "evaluate", "reconstruct", "traverse", "interpolate"):
        assert call(command, arrays.run, tmp_path / name) == code
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: {tmp_path / name}: ") and message in line


def test_a_model_that_needs_a_label_says_how_to_give_it(call, table, tmp_path, capsys):
    (tmp_path / "x.csv").write_text("id,size,town\na,170,Ulm\n")
    assert call("score", table.run, tmp_path / "x.csv") == 1
    assert "x.csv: " in (line := capsys.readouterr().err) and len(line.splitlines()) == 1
    assert call("-q", "classify", table.run, tmp_path / "x.csv", "--samples", 2) == 0


@pytest.mark.parametrize("command", ["score", "evaluate", "classify", "reconstruct", "traverse"])
def test_the_former_option_names_the_argument(call, arrays, capsys, command):
    assert call(command, arrays.run, "--split", "train") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"the split is an argument now: vaezoo {command} RUN train")


def test_missing_cells_are_filled_in_the_encoding_of_the_table(call, table, tmp_path, capsys):
    text = table.file.read_text("latin-1").splitlines()
    (tmp_path / "x.csv").write_text(f"{text[0]}\na;;Köln;cat\n", "latin-1")
    out = tmp_path / "filled.csv"
    assert call("impute", table.run, tmp_path / "x.csv", "--out", out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["effective_sample_size"]["mean"] >= 1
    (row,) = read_table_rows(out)
    assert row["town"] == "Köln" and float(row["size"].replace(",", ".")) > 100

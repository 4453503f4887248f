"""Which files of a folder are examples, and which of its folders are splits."""

from __future__ import annotations

import pytest

from vaezoo.data.folders import list_files, split_folders
from vaezoo.data.phrases import count_phrase
from vaezoo.data.split_files import split_files
from vaezoo.data.splits import SPLIT_NAMES
from vaezoo.utils.errors import DataError


@pytest.fixture
def fill(tmp_path):
    """Makes empty files below a folder."""

    def make(*names: str):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make


def divide(root):
    return split_files(root, {".mid"}, fractions=(0.8, 0.1, 0.1), split_seed=0)


def test_endings_are_compared_without_case_and_the_rest_is_counted(fill):
    root = fill(
        "b.MID", "a.mid", "notes.txt", "a.jpg", "c", ".hidden.mid", "._a.mid", ".DS_Store",
        "Thumbs.db", "Desktop.ini", "__MACOSX/a.mid", ".git/x.mid", "more/d.Mid", "more/z.csv",
    )  # fmt: skip
    (root / "lost.mid").symlink_to(root / "lost.mid")
    flat = list_files(root, {".mid"}, recursive=False)
    assert [path.name for path in flat.files] == ["a.mid", "b.MID"]
    assert flat.left_out(root) == (
        "3 files with other endings (a.jpg, c, ...)",
        "1 sub-folder (more)",
        "1 link that leads to no file (lost.mid)",
    )
    (root / "more" / "again").symlink_to(root)
    deep = list_files(root, {".mid"}, recursive=True)
    assert [path.relative_to(root).as_posix() for path in deep.files] == [
        "a.mid", "b.MID", "more/d.Mid",
    ]  # fmt: skip
    assert deep.left_out(root)[:2] == (
        "4 files with other endings (a.jpg, c, ...)",
        "1 sub-folder (more/again)",
    )


def test_names_are_shown_without_control_characters():
    assert count_phrase(["a\x1b[2J", "b\udcff"], "one", "many") == (r"2 many (a\x1b[2J, b\udcff)",)
    assert count_phrase([], "one", "many") == ()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("Train VAL Testing notes", ["Train", "VAL", "Testing"]),
        ("training_set dev test-set", ["training_set", "dev", "test-set"]),
        ("train test", ["train", "test"]),
        ("train", ["train"]),
        ("bus car train", []),  # classes
        ("bus car test", []),
        ("bus car", []),
    ],
)
def test_folders_of_splits_have_many_spellings(fill, names, expected):
    root = fill(*(f"{name}/a.mid" for name in names.split()))
    assert [path.name for path in split_folders(root).values()] == expected


def test_a_folder_train_that_holds_folders_is_a_split(fill):
    root = fill("train/cat/a.mid", "extra/a.mid")
    assert list(split_folders(root)) == ["train"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("train val Validation test", ["val", "Validation", "both validation"]),
        ("test", ["has test but no folder train"]),
        ("validation test images", ["has test and validation but no folder train"]),
    ],
)
def test_folders_of_splits_that_are_not_clear_are_refused(fill, refuses, names, words):
    root = fill(*(f"{name}/a.mid" for name in names.split()))
    refuses(DataError, lambda: split_folders(root), str(root), *words)


def test_missing_splits_are_cut_out_of_train_alone(fill):
    training = [f"train/{i}.mid" for i in range(18)]
    root = fill(*training, "test/t.mid", "README", "raw/x.mid", "train/x.txt")
    done = divide(root)
    assert done.files["test"] == (root / "test" / "t.mid",)
    assert [len(done.files[name]) for name in SPLIT_NAMES] == [16, 2, 1]
    used = [*done.files["train"], *done.files["validation"]]
    assert sorted(used) == sorted(root / name for name in training)
    assert done.left_out == (
        "1 file with another ending (train/x.txt)",
        "1 file beside the splits (README)",
        "1 folder beside the splits (raw)",
    )


def test_files_without_folders_of_splits_are_yet_to_be_divided(fill):
    root = fill("b.mid", "calm/a.mid", "x.txt")
    found = divide(root)
    assert found.files == {"": (root / "b.mid", root / "calm/a.mid")}
    assert [found.class_of(file) for file in found.files[""]] == [".", "calm"]
    assert found.left_out == ("1 file with another ending (x.txt)",)


def test_files_that_cannot_be_read_are_reported_or_left_out(fill, refuses):
    splits = ("train", "validation", "test")
    files = divide(fill(*(f"{split}/{i}.mid" for split in splits for i in range(3))))

    def read(file):
        if file.name in unreadable:
            raise DataError(f"{file}: no music")
        return file.name

    unreadable = ["1.mid"]
    refuses(DataError, lambda: files.read_each(read, "error"), "1.mid: no music; to leave out")
    contents, phrases = files.read_each(read, "skip")
    assert [[*each.values()] for each in contents.values()] == [["0.mid", "2.mid"]] * 3
    named = "3 files that cannot be read (train/1.mid, validation/1.mid, ...)"
    assert phrases == (f"{named}, the first: train/1.mid: no music",)


def test_a_split_without_files_is_refused(fill, refuses):
    root = fill("train/a.mid", "test/a.txt")
    refuses(DataError, lambda: divide(root), str(root / "test"), ".mid")
    refuses(DataError, lambda: divide(root / "train" / "a.mid"), "give the path of a folder of")
    (root / "test" / "a.txt").rename(root / "test" / "a.mid")
    refuses(DataError, lambda: divide(root), "1 examples are too few")

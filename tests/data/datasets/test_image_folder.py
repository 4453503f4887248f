from __future__ import annotations

import numpy as np
import pytest
import torch

from vaezoo.data.datasets import image_folder
from vaezoo.data.datasets.image_folder import ImageFolder
from vaezoo.data.image_files import ImageReader
from vaezoo.data.loader import Loader
from vaezoo.data.splits import SPLIT_NAMES
from vaezoo.runs.dry_run import dry_run
from vaezoo.spec.load import load_spec
from vaezoo.utils.errors import DataError

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path, draw):
    """Two classes of ten images, a.png ... j.png."""
    for label, name in enumerate(("cat", "dog")):
        for i in range(10):
            draw(tmp_path / name / f"{'abcdefghij'[i]}.png", seed=10 * label + i)
    return tmp_path


def pixels(split) -> list[np.ndarray]:
    stored = (
        split.x
        if isinstance(split.x, torch.Tensor)
        else [split.x[i][0] for i in range(len(split))]
    )
    return [image.numpy() for image in stored]


def test_every_image_is_read_exactly_with_its_label(folder, draw):
    data = ImageFolder(path=str(folder))
    assert (data.spec.shape, data.spec.classes, data.spec.support) == (
        (3, 6, 5),
        ("cat", "dog"),
        "unit",
    )
    known = {draw(folder / "again.png", seed=i).transpose(2, 0, 1).tobytes(): i for i in range(20)}
    result = {}
    for name in SPLIT_NAMES:
        part = data.split(name)
        result |= {known[x.tobytes()]: int(y) for x, y in zip(pixels(part), part.condition)}
    assert result == {i: i // 10 for i in range(20)}


def test_images_without_classes(tmp_path, draw):
    for i in range(10):
        draw(tmp_path / f"{i}.png", mode="L", seed=i)
    data = ImageFolder(path=str(tmp_path), channels=1)
    assert (data.spec.shape, data.spec.classes, data.spec.condition_shape) == ((1, 6, 5), (), None)
    assert data.split("train").condition is None


def test_folders_named_as_splits_are_the_splits(tmp_path, draw):
    for count, name in enumerate(SPLIT_NAMES, 2):
        for i in range(count):
            draw(tmp_path / name / "only" / f"{i}.png", seed=i)
    data = ImageFolder(path=str(tmp_path))
    assert [len(data.split(name)) for name in SPLIT_NAMES] == [2, 3, 4]
    assert data.spec.classes == ("only",)


def test_the_split_that_is_missing_is_cut_out_of_training(tmp_path, draw):
    """Test images are in no other split, and the folders of splits are no classes."""
    seen = {}
    for i, (name, count) in enumerate((("Training", 9), ("TEST", 10))):
        for kind in ("cat", "dog"):
            for j in range(count):
                file = tmp_path / name / kind / f"{j}.PNG"
                seen[draw(file, seed=[i, j, kind == "cat"]).transpose(2, 0, 1).tobytes()] = name
    data = ImageFolder(path=str(tmp_path))
    assert data.spec.classes == ("cat", "dog")
    assert data.sizes == {"train": 16, "validation": 2, "test": 20}
    for name, folder in {"train": "Training", "validation": "Training", "test": "TEST"}.items():
        images = [x.tobytes() for x in pixels(data.split(name))]
        assert {seen[image] for image in images} == {folder}
        assert len(set(images)) == data.sizes[name]


def test_what_is_not_used_is_counted_and_named(folder, draw):
    for name in ("cat/raw/x.png", "top.jfif", ".hidden/a.png", "cat/._a.png"):
        draw(folder / name.replace(".jfif", ".png"))
    (folder / "top.png").rename(folder / "top.jfif")
    for name in ("notes.txt", "dog/x.psd", "dog/Thumbs.db"):
        (folder / name).touch()
    data = ImageFolder(path=str(folder))
    assert data.spec.classes == ("cat", "dog")
    assert data.sizes == {"train": 16, "validation": 2, "test": 2}
    assert data.left_out == (
        "1 image beside the classes (top.jfif)",
        "2 files with other endings (dog/x.psd, notes.txt)",
        "1 sub-folder (cat/raw)",
    )


@pytest.mark.parametrize("memory", [0, 1])
def test_unreadable_images_are_skipped_if_that_is_wished(folder, memory):
    (folder / "dog" / "c.png").write_bytes(b"")
    cut_off = folder / "cat" / "d.png"
    cut_off.write_bytes(cut_off.read_bytes()[:-40])
    data = ImageFolder(path=str(folder), unreadable="skip", memory=memory)
    assert sum(data.sizes.values()) == 18
    assert data.left_out == (
        "2 images that cannot be read (cat/d.png, dog/c.png), the first: cat/d.png: not a "
        "readable image: image file is truncated; replace or remove it",
    )
    for file in (folder / "dog" / "c.png", cut_off):
        file.unlink()
    same = ImageFolder(path=str(folder))
    for name in SPLIT_NAMES:
        assert np.array_equal(pixels(data.split(name)), pixels(same.split(name)))


def test_a_split_without_a_readable_image_is_refused(tmp_path, refuses):
    (tmp_path / "a.png").touch()
    data = ImageFolder(path=str(tmp_path), unreadable="skip")
    refuses(DataError, lambda: data.sizes, str(tmp_path), "no image of train can be read", "a.png")


def test_images_that_do_not_fit_in_memory_are_read_when_they_are_needed(folder, monkeypatch):
    data = ImageFolder(path=str(folder), memory=0)
    read, files = ImageReader.read, []
    monkeypatch.setattr(ImageReader, "read", lambda *args: files.append(args[1]) or read(*args))
    monkeypatch.setattr(image_folder, "_MAX_OPENED", 3)
    opened = []
    monkeypatch.setattr(image_folder, "count_pages", lambda file, _: opened.append(file) or 2)
    splits = [data.split(name) for name in data.sizes]
    assert data.left_out == (
        f"3 images of the first 3 files with pages after the first ({named(opened[0])} has 2, "
        f"{named(opened[1])} has 2, ...)",
    )
    assert len(splits) == len(opened) == 3 and len(files) == 1
    splits[0].x[5]
    assert len(files) == 2


def named(file) -> str:
    return "/".join(file.parts[-2:])


def test_images_are_resized_and_converted(tmp_path, draw):
    for i in range(10):
        draw(tmp_path / f"{i}.png", size=(4 + i, 5), mode="RGB" if i % 2 else "L", seed=i)
    data = ImageFolder(path=str(tmp_path), size=8, channels=1)
    assert data.spec.shape == (1, 8, 8)
    assert data.split("train").x.shape == (8, 1, 8, 8)


@pytest.mark.parametrize("binarize", ["none", "threshold", "static", "dynamic"])
def test_images_that_do_not_fit_in_memory_are_the_same(folder, binarize):
    complete, lazy = (
        ImageFolder(path=str(folder), binarize=binarize, memory=memory) for memory in (1, 0)
    )
    assert complete.spec == lazy.spec
    for name in SPLIT_NAMES:
        batches = []
        for data in (complete, lazy):
            torch.manual_seed(0)
            batches += Loader(data.split(name), CPU, 100).ordered()
        assert not isinstance(lazy.split(name).x, torch.Tensor)
        assert torch.equal(batches[0].x, batches[1].x)
        assert torch.equal(batches[0].condition, batches[1].condition)


@pytest.mark.parametrize("memory", [0, 1])
def test_an_unreadable_image_is_refused(folder, refuses, memory):
    (folder / "dog" / "c.png").write_bytes(b"\x89PNG but no more")
    data = ImageFolder(path=str(folder), memory=memory)
    refuses(
        DataError,
        lambda: [pixels(data.split(name)) for name in SPLIT_NAMES],
        "c.png",
        "not a readable",
        "; to leave out what cannot be read, set unreadable: skip",
    )


@pytest.mark.parametrize("memory", [0, 1])
def test_a_cut_off_image_is_refused(folder, refuses, memory):
    file = folder / "dog" / "c.png"
    file.write_bytes(file.read_bytes()[:-40])
    data = ImageFolder(path=str(folder), memory=memory)
    refuses(
        DataError,
        lambda: [pixels(data.split(name)) for name in SPLIT_NAMES],
        str(file),
        "not a readable",
    )


@pytest.mark.parametrize("memory", [0, 1])
def test_an_image_of_another_size_is_refused(folder, draw, refuses, memory):
    draw(folder / "dog" / "c.png", size=(7, 5))
    data = ImageFolder(path=str(folder), memory=memory)
    refuses(
        DataError,
        lambda: [pixels(data.split(name)) for name in SPLIT_NAMES],
        "c.png",
        "is 7x5",
        "a.png is 6x5",
        "set `size`",
    )


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_a_worker_process_says_the_same_one_line(folder, refuses):
    (folder / "dog" / "c.png").write_bytes(b"")
    data = ImageFolder(path=str(folder), memory=0)
    loaders = [Loader(data.split(name), CPU, 4, workers=2) for name in SPLIT_NAMES]
    refuses(
        DataError,
        lambda: [list(loader.ordered()) for loader in loaders],
        "c.png",
        "not a readable",
    )


@pytest.mark.parametrize(
    ("files", "where", "words"),
    [
        (["cat/a.png", "emu/a.txt"], "emu", "no image in this folder; fill"),
        (["x/cat/a.png", "x/dog/a.png"], "x", "no image in this folder, but the folder cat"),
        (["cat/a.png", "Cat/a.png"], "", "Cat and cat differ in case only"),
        (["old/a.png", "a.png", "b.png"], "", "1 images in folders, which are classes, and 2"),
        (["train/cat/a.png", "train/dog/a.png", "test/cat/a.png"], "test", "lacks the folder dog"),
        (["train/cat/a.png", "test/cat/a.png", "test/dog/a.png"], "test", "has the folder dog"),
        (["train/cat/a.png", "test/Cat/a.png"], "test", "lacks the folder cat, which"),
        (["train/cat/a.png", "test/a.png"], "test", "lacks the folder cat, which"),
    ],
)
def test_folders_of_classes_that_do_not_fit_are_refused(tmp_path, refuses, files, where, words):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    data = ImageFolder(path=str(tmp_path))
    refuses(DataError, lambda: data.spec, f"{tmp_path / where}: ", words)


def test_an_empty_folder_is_refused(tmp_path, refuses):
    refuses(DataError, lambda: ImageFolder(path=str(tmp_path)).spec, str(tmp_path), "no image")


def test_a_missing_folder_is_refused(tmp_path, refuses):
    refuses(DataError, lambda: ImageFolder(path=str(tmp_path / "none")).spec, "none")


def test_a_file_is_refused(tmp_path, refuses):
    (tmp_path / "file").touch()
    refuses(DataError, lambda: ImageFolder(path=str(tmp_path / "file")).spec, "not a folder")


def test_a_dry_run_tells_the_sizes_and_what_is_left_out(tmp_path, draw, spec):
    for i in range(20):
        draw(tmp_path / "train" / f"{i}.png", size=(4, 4), mode="L", seed=i)
    draw(tmp_path / "testing" / "a.png", size=(4, 4), mode="L")
    (tmp_path / "train" / "0.png").write_bytes(b"")
    (tmp_path / "readme.md").touch()
    data = {"type": "image-folder", "path": str(tmp_path), "channels": 1, "unreadable": "skip"}
    tree = spec(data=data, model={"likelihood": "continuous-bernoulli"})
    assert (
        "\ndata: 17 train, 2 validation, 1 test; left out: 1 file beside the splits (readme.md); "
        "1 image that cannot be read (train/0.png), the first: train/0.png: "
    ) in dry_run(load_spec(tree)).as_text()

from __future__ import annotations

import numpy as np
import pytest
import torch

from vaezoo.data.datasets.image_folder import ImageFolder
from vaezoo.data.loader import Loader
from vaezoo.data.splits import SPLIT_NAMES
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
        "7x5",
        "6x5",
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


def test_an_empty_class_is_refused(folder, refuses):
    (folder / "emu").mkdir()
    refuses(DataError, lambda: ImageFolder(path=str(folder)).spec, str(folder / "emu"), "no image")


def test_a_class_missing_from_one_split_is_refused(tmp_path, draw, refuses):
    for name in SPLIT_NAMES:
        draw(tmp_path / name / "cat" / "a.png")
    draw(tmp_path / "train" / "dog" / "a.png")
    refuses(
        DataError,
        lambda: ImageFolder(path=str(tmp_path)).spec,
        str(tmp_path / "validation" / "dog"),
        "missing",
    )


def test_an_empty_folder_is_refused(tmp_path, refuses):
    refuses(DataError, lambda: ImageFolder(path=str(tmp_path)).spec, str(tmp_path), "no image")


def test_a_missing_folder_is_refused(tmp_path, refuses):
    refuses(DataError, lambda: ImageFolder(path=str(tmp_path / "none")).spec, "none")


def test_a_file_is_refused(tmp_path, refuses):
    (tmp_path / "file").touch()
    refuses(DataError, lambda: ImageFolder(path=str(tmp_path / "file")).spec, "not a folder")

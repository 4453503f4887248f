from __future__ import annotations

import pickle
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
import torch
from PIL import Image

from vaezoo.data.datasets.torchvision import TorchvisionDataset, import_torchvision
from vaezoo.data.images import binarize_static
from vaezoo.data.loader import Loader
from vaezoo.data.splits import SPLIT_NAMES
from vaezoo.spec.load import load_spec
from vaezoo.utils.errors import DataError, UnavailableError

CPU = torch.device("cpu")
IMAGES = np.random.default_rng(0).integers(0, 256, (60, 28, 28), dtype=np.uint8)
TEST_IMAGES = IMAGES[:20, ::-1]
LABELS = np.arange(60, dtype=np.uint8) % 10


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def idx_root(tmp_path):
    """FashionMNIST as raw IDX files: 60 for training, 20 for testing."""
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, images in (("train", IMAGES), ("t10k", TEST_IMAGES)):
        for kind, array in (("images-idx3", images), ("labels-idx1", LABELS[: len(images)])):
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (raw / f"{prefix}-{kind}-ubyte").write_bytes(head + array.tobytes())
    return str(tmp_path)


@pytest.fixture
def cifar_root(tmp_path, monkeypatch):
    """CIFAR10 as pickled batches of four images; torchvision's check of their md5 is disabled."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for i, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        pixels = np.random.default_rng(i).integers(0, 256, (4, 3072), dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": [0, 1, 2, 3]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    cls = import_torchvision().datasets.CIFAR10
    monkeypatch.setattr(cls, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.utils.check_integrity", lambda *args: True)
    return str(tmp_path)


@pytest.fixture
def classes_root(tmp_path, draw):
    """Two folders of ten images."""
    for label, name in enumerate(("cat", "dog")):
        for i in range(10):
            draw(tmp_path / name / f"{i}.png", seed=10 * label + i)
    return tmp_path


def everything(data: TorchvisionDataset, name: str):
    torch.manual_seed(0)
    return next(Loader(data.split(name), CPU, 1000).ordered())


def fake(**options) -> TorchvisionDataset:
    return TorchvisionDataset(
        name="FakeData", arguments={"size": 50, "image_size": [3, 8, 6]}, **options
    )


def test_the_guarded_import_gives_a_working_torchvision():
    code = """
from vaezoo.data.datasets.torchvision import import_torchvision
tv = import_torchvision()
import torch
from torchvision.transforms import v2
small = v2.Compose([v2.ToImage(), v2.Resize(4), v2.ToDtype(torch.float32, scale=True)])
image, label = tv.datasets.FakeData(2, (3, 8, 8), transform=small)[0]
grid = tv.utils.make_grid(torch.zeros(4, 1, 8, 8), nrow=2)
print(tuple(image.shape), tuple(grid.shape), import_torchvision() is tv)
"""
    assert python(code) == "(3, 4, 4) (3, 22, 22) True"


def test_torchvision_is_imported_only_where_it_is_used():
    assert (
        python("import sys, vaezoo.data.datasets.torchvision; print('torchvision' in sys.modules)")
        == "False"
    )


def test_a_torchvision_that_cannot_be_imported_is_one_line():
    code = """
import sys
sys.modules["torchvision"] = None
from vaezoo.data.datasets.torchvision import import_torchvision
from vaezoo.utils.errors import UnavailableError
try:
    import_torchvision()
except UnavailableError as error:
    print(error)
"""
    message = python(code)
    assert (
        "needs torchvision" in message
        and "pip install torchvision" in message
        and "\n" not in message
    )


def test_an_array_stays_in_memory_and_its_last_tenth_is_validation(idx_root):
    data = TorchvisionDataset(name="FashionMNIST", root=idx_root)
    assert (data.spec.shape, data.spec.support, data.spec.levels) == ((1, 28, 28), "unit", 256)
    assert data.spec.classes[:2] == ("T-shirt/top", "Trouser")
    expected = {"train": IMAGES[:54], "validation": IMAGES[54:], "test": TEST_IMAGES}
    for name, images in expected.items():
        part = data.split(name)
        assert np.array_equal(part.x, images[:, None])
    assert data.split("train").condition.tolist() == LABELS[:54].tolist()
    assert data.split("validation").condition.tolist() == LABELS[54:].tolist()


def test_static_validation_continues_the_draw_of_training(idx_root):
    data = TorchvisionDataset(name="FashionMNIST", root=idx_root, binarize="static")
    drawn_samples = binarize_static(IMAGES[:, None], 0)
    assert np.array_equal(data.split("train").x, drawn_samples[:54])
    assert np.array_equal(data.split("validation").x, drawn_samples[54:])
    assert np.array_equal(data.split("test").x, binarize_static(TEST_IMAGES[:, None], 1))


def test_sizes_need_no_images_that_are_read_already(cifar_root, monkeypatch):
    data, read = TorchvisionDataset(name="CIFAR10", root=cifar_root), []
    load = TorchvisionDataset._load_source
    monkeypatch.setattr(
        TorchvisionDataset, "_load_source", lambda *args: read.append(args[1]) or load(*args)
    )
    data.split("train"), data.split("test")
    read.clear()
    assert data.sizes == {"train": 18, "validation": 2, "test": 4}
    assert not read


def test_colour_arrays_put_channels_first(cifar_root):
    data = TorchvisionDataset(name="CIFAR10", root=cifar_root)
    assert (data.spec.shape, data.spec.classes) == ((3, 32, 32), tuple("abcdefghij"))
    assert data.sizes == {"train": 18, "validation": 2, "test": 4}
    assert [len(data.split(name)) for name in SPLIT_NAMES] == [18, 2, 4]
    stored = np.random.default_rng(5).integers(0, 256, (4, 3072), dtype=np.uint8)
    assert np.array_equal(data.split("test").x, stored.reshape(4, 3, 32, 32))
    assert data.split("test").x.is_contiguous()


def test_a_size_resizes_arrays_too(cifar_root):
    data = TorchvisionDataset(name="CIFAR10", root=cifar_root, size=16)
    assert data.spec.shape == (3, 16, 16)
    test = everything(data, "test")
    assert test.x.shape == (4, 3, 16, 16)
    assert test.condition.tolist() == [0, 1, 2, 3]


def test_a_set_without_a_test_part_is_divided():
    data = fake()
    assert (data.spec.shape, data.spec.support) == ((3, 8, 6), "unit")
    parts = [everything(data, name).x for name in SPLIT_NAMES]
    assert [len(part) for part in parts] == list(data.sizes.values()) == [40, 5, 5]
    assert len(torch.cat(parts).flatten(1).unique(dim=0)) == 50


def test_conditions_are_given_where_the_spec_has_them_only():
    assert fake().spec.condition_shape is None
    assert everything(fake(), "train").condition is None


def test_images_in_folders_are_read_one_by_one_with_their_labels(classes_root, draw):
    data = TorchvisionDataset(name="ImageFolder", root=str(classes_root))
    assert (data.spec.shape, data.spec.classes) == ((3, 6, 5), ("cat", "dog"))
    known = {
        draw(classes_root / "cat" / "0.png", seed=i).transpose(2, 0, 1).tobytes(): i
        for i in range(19, -1, -1)
    }
    result = {}
    for name in SPLIT_NAMES:
        part = everything(data, name)
        result |= {
            known[(x * 255).round().byte().numpy().tobytes()]: int(y)
            for x, y in zip(part.x, part.condition)
        }
    assert result == {i: i // 10 for i in range(20)}


def test_images_in_folders_are_read_as_all_image_files_are(classes_root, refuses):
    """Scaled from 16 bits, over a background, and not if a file is one of other programs."""
    ramp = np.linspace(0, 65535, 30).round().astype(np.uint16).reshape(6, 5)
    for name in ("cat", "dog"):
        for i in range(10):
            Image.fromarray(ramp).save(classes_root / name / f"{i}.png")
    Image.new("RGBA", (5, 6), (200, 0, 0, 0)).save(classes_root / "dog" / "9.png")
    data = TorchvisionDataset(name="ImageFolder", root=str(classes_root))
    images = torch.cat([everything(data, name).x for name in SPLIT_NAMES])
    expected = torch.from_numpy(np.round(ramp / 257) / 255).float().expand(3, 6, 5)
    assert ((images - expected).abs().flatten(1).amax(1) < 1e-6).sum() == 19
    assert (images.flatten(1) == 1).all(1).sum() == 1
    (classes_root / "dog" / "9.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    parts = lambda: [everything(data, name) for name in SPLIT_NAMES]  # noqa: E731
    refuses(
        DataError, parts, "row 19 cannot be read", "9.png: not a readable image", "none of PNG"
    )


def test_validation_of_sets_in_order_of_class_holds_every_class(classes_root, monkeypatch):
    datasets = import_torchvision().datasets

    class Divided(datasets.ImageFolder):
        def __init__(self, root, split="train"):
            super().__init__(root)
            self.samples = self.samples * 5

    monkeypatch.setattr(datasets, "Imagenette", Divided)
    data = TorchvisionDataset(name="Imagenette", root=str(classes_root))
    assert [len(data.split(name)) for name in SPLIT_NAMES] == [90, 10, 100]
    assert set(everything(data, "validation").condition.tolist()) == {0, 1}


@pytest.mark.parametrize("binarize", ["threshold", "static", "dynamic"])
def test_lazy_images_can_be_binarized(binarize):
    data = fake(binarize=binarize)
    assert (data.spec.support, data.spec.levels) == ("binary", 2)
    for name in SPLIT_NAMES:
        first, again = (
            everything(data, name).x,
            next(Loader(data.split(name), CPU, 1000).ordered()).x,
        )
        assert first.unique().tolist() == [0, 1]
        assert torch.equal(first, again) == (name != "train" or binarize != "dynamic")


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_worker_processes_read_the_same_images():
    split = fake().split("train")
    alone, helped = (list(Loader(split, CPU, 16, workers=workers).epoch(0)) for workers in (0, 2))
    assert all(torch.equal(a.x, b.x) for a, b in zip(alone, helped, strict=True))


def test_images_of_different_sizes_need_a_size(classes_root, draw, refuses):
    draw(classes_root / "dog" / "3.png", size=(9, 5))
    data = TorchvisionDataset(name="ImageFolder", root=str(classes_root))
    refuses(
        DataError,
        lambda: [everything(data, name) for name in SPLIT_NAMES],
        "ImageFolder",
        "row 13",
        "9x5",
        "set `size`",
    )
    data = TorchvisionDataset(name="ImageFolder", root=str(classes_root), size=4)
    assert everything(data, "train").x.shape == (16, 3, 4, 4)


def test_an_unreadable_image_is_one_line_with_its_row(classes_root, refuses):
    (classes_root / "dog" / "3.png").write_bytes(b"no image")
    data = TorchvisionDataset(name="ImageFolder", root=str(classes_root))
    refuses(
        DataError,
        lambda: [everything(data, name) for name in SPLIT_NAMES],
        "ImageFolder",
        "row 13",
        "cannot be read",
    )


def test_an_unknown_name_gets_a_suggestion(refuses):
    data = TorchvisionDataset(name="FashionMNST")
    refuses(DataError, lambda: data.spec, "FashionMNST", "did you mean 'FashionMNIST'")


@pytest.mark.parametrize("name", ["transforms", "wrap_dataset_for_transforms_v2"])
def test_what_is_no_data_set_is_refused(name, refuses):
    refuses(DataError, lambda: TorchvisionDataset(name=name).spec, "no data set")


@pytest.mark.parametrize(
    "name", ["FashionMNIST", "QMNIST", "CIFAR10", "SVHN", "Caltech101", "ImageFolder", "CelebA"]
)
def test_absent_data_say_what_to_do(name, tmp_path, refuses):
    data = TorchvisionDataset(name=name, root=str(tmp_path / "none"))
    refuses(
        UnavailableError,
        lambda: data.split("train"),
        name,
        str(tmp_path),
        "set download: true, or root",
    )


@pytest.mark.parametrize("name", ["FashionMNIST", "QMNIST", "CIFAR10", "Caltech101"])
def test_a_download_without_network_is_one_line(name, tmp_path, refuses, monkeypatch):
    tries = []

    def unreachable(*args, **kwargs):
        tries.append(args)
        raise urllib.error.URLError("no route\nto host")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    data = TorchvisionDataset(name=name, root=str(tmp_path), download=True)
    refuses(UnavailableError, lambda: data.spec, name, str(tmp_path))
    assert tries


def test_a_spec_can_give_arguments():
    block = {
        "type": "torchvision",
        "name": "FakeData",
        "arguments": {"size": 30, "image_size": [1, 8, 8]},
    }
    model = {
        "latent_dim": 2,
        "encoder": "mlp",
        "decoder": "mlp",
        "likelihood": "continuous-bernoulli",
    }
    spec = {
        "spec": "vaezoo/v1",
        "name": "some",
        "data": block,
        "model": model,
        "train": {"epochs": 1},
    }
    assert len(load_spec(spec).data.build().split("train")) == 24


def test_arguments_reach_the_class_and_its_base(tmp_path, refuses):
    data = TorchvisionDataset(name="EMNIST", root=str(tmp_path))
    refuses(UnavailableError, lambda: data.spec, "EMNIST", "letters", "set `arguments`")
    data = TorchvisionDataset(name="EMNIST", root=str(tmp_path), arguments={"split": "letters"})
    refuses(UnavailableError, lambda: data.spec, "EMNIST", "not in", "set download: true")

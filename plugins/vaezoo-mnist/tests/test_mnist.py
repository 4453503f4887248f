from __future__ import annotations

import hashlib
import shutil

import numpy as np
import pytest
import torch
import vaezoo_mnist.dataset as module
from vaezoo_mnist.dataset import CLASSES, MNIST, SHA256, read_idx

import vaezoo

NAMES = ("train", "validation", "test")
CPU = torch.device("cpu")


@pytest.fixture
def damaged(tmp_path, monkeypatch):
    """A copy of the package's data in which files may be damaged."""
    shutil.copytree(module.resources.files("vaezoo_mnist") / "data", tmp_path / "data")
    monkeypatch.setattr(module.resources, "files", lambda package: tmp_path)
    read_idx.cache_clear()
    yield tmp_path / "data"
    read_idx.cache_clear()


def packed_sha256(split: vaezoo.Split, *more: vaezoo.Split) -> str:
    x = torch.cat([part.x for part in (split, *more)]).flatten(1).numpy()
    return hashlib.sha256(np.packbits(x, axis=1).tobytes()).hexdigest()[:16]


def observed(split: vaezoo.Split, count: int) -> torch.Tensor:
    torch.manual_seed(0)
    return next(vaezoo.Loader(split, CPU, count).ordered()).x


@pytest.mark.parametrize(
    ("name", "md5"),
    [
        ("train-images-idx3-ubyte.gz", "6bbc9ace898e44ae57da46a324031adb"),
        ("train-labels-idx1-ubyte.gz", "a25bea736e30d166cdddb491f175f624"),
        ("t10k-images-idx3-ubyte.gz", "2646ac647ad5339dbf082846283269ea"),
        ("t10k-labels-idx1-ubyte.gz", "27ae3e4e09519cfbb04c329615203637"),
    ],
)
def test_the_files_are_the_official_ones(name, md5):
    packed = module.resources.files("vaezoo_mnist").joinpath("data", name).read_bytes()
    assert hashlib.md5(module.gzip.decompress(packed)).hexdigest() == md5


def test_splits_are_the_usual_ones():
    data = MNIST()
    images, labels = read_idx("train-images-idx3-ubyte.gz"), read_idx("train-labels-idx1-ubyte.gz")
    sizes = [len(data.split(name)) for name in NAMES]
    assert sizes == list(data.sizes.values()) == [50_000, 10_000, 10_000]
    assert np.array_equal(data.split("train").x[:, 0], images[:50_000])
    assert np.array_equal(data.split("validation").x[:, 0], images[50_000:])
    assert np.array_equal(data.split("validation").condition, labels[50_000:])
    assert np.array_equal(data.split("test").x[:, 0], read_idx("t10k-images-idx3-ubyte.gz"))
    assert data.split("test").condition.bincount().tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]


@pytest.mark.parametrize("binarize", ["none", "threshold", "static", "dynamic"])
@pytest.mark.parametrize("name", NAMES)
def test_the_spec_describes_what_is_seen(binarize, name):
    data = MNIST(binarize=binarize)
    x = observed(data.split(name), 100)
    assert (tuple(x.shape[1:]), data.spec.classes) == (data.spec.shape, CLASSES)
    assert x.dtype == torch.float32
    if binarize == "none":
        assert (data.spec.support, data.spec.levels) == ("unit", 256)
        assert torch.allclose(x * 255, (x * 255).round(), atol=1e-4) and x.max() == 1
    else:
        assert (data.spec.support, data.spec.levels) == ("binary", 2)
        assert x.unique().tolist() == [0, 1]


def test_static_is_the_draw_that_everybody_uses():
    data = MNIST(binarize="static")
    assert packed_sha256(data.split("train"), data.split("validation")) == "a05bef27682f4e7a"
    assert packed_sha256(data.split("test")) == "0f63fc8e6fb24d69"


def test_dynamic_is_evaluated_on_the_static_draw():
    static, dynamic = MNIST(binarize="static"), MNIST(binarize="dynamic")
    for name in ("validation", "test"):
        assert torch.equal(static.split(name).x, dynamic.split(name).x)


def test_dynamic_draws_each_training_image_afresh():
    split = MNIST(binarize="dynamic").split("train")
    x = split.x[:8]
    samples = torch.stack([split.transform(x) for _ in range(4_000)])
    assert not torch.equal(samples[0], samples[1])
    assert torch.allclose(samples.mean(0), x / 255, atol=0.05)


def test_threshold_cuts_at_one_half():
    split = MNIST(binarize="threshold").split("test")
    assert torch.equal(observed(split, 500), (split.x[:500] >= 128).float())


def test_a_pixelwise_bernoulli_scores_205_8_nats():
    data = MNIST(binarize="static")
    rate = data.split("train").x.double().mean(0).clamp(1e-5, 1 - 1e-5)
    x = data.split("test").x.double()
    nll = -(x * rate.log() + (1 - x) * (1 - rate).log()).flatten(1).sum(1).mean()
    assert nll.item() == pytest.approx(205.8, abs=0.2)


@pytest.mark.parametrize("name", SHA256)
def test_damaged_files_are_refused(damaged, name):
    content = bytearray((damaged / name).read_bytes())
    content[1000] ^= 1
    (damaged / name).write_bytes(content)
    with pytest.raises(vaezoo.IntegrityError) as caught:
        MNIST().split("test" if name.startswith("t10k") else "train")
    message = str(caught.value)
    assert (
        name in message
        and SHA256[name] in message
        and "reinstall" in message
        and "\n" not in message
    )


def test_a_missing_file_is_refused(damaged):
    (damaged / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(vaezoo.IntegrityError, match=r"t10k-images.*reinstall"):
        MNIST().split("test")


def test_omitted_digits_are_counted():
    data = MNIST(omit=[3, 0])
    assert data.sizes == {name: len(data.split(name)) for name in NAMES}
    assert data.left_out == (
        "10,033 train and 2,021 validation images of the omitted digits (0, 3)",
    )
    assert MNIST().left_out == ()


def test_a_spec_finds_the_plugin():
    block = {"data": {"type": "mnist", "binarize": "dynamic"}, "train": {"epochs": 1}}
    block["model"] = {
        "latent_dim": 2,
        "encoder": "mlp",
        "decoder": "mlp",
        "likelihood": "bernoulli",
    }
    spec = vaezoo.load_spec({"spec": "vaezoo/v1", "name": "some", **block})
    built = spec.data.build()
    assert (type(built), built.binarize) == (MNIST, "dynamic")

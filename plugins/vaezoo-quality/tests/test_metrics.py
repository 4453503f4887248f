"""The metrics as users call them: real examples pass, noise does not, and draws are repeatable."""

from __future__ import annotations

import pytest
import torch
from vaezoo_quality import sets
from vaezoo_quality.frechet import FrechetDistance
from vaezoo_quality.kernel import KernelDistance
from vaezoo_quality.manifolds import PRDC
from vaezoo_quality.memorisation import Memorisation
from vaezoo_quality.reconstruction import ReconstructionQuality

import vaezoo

MLP = {"type": "mlp", "hidden": [16]}
SPEC = {
    "spec": "vaezoo/v2",
    "name": "quality",
    "data": {"type": "mnist", "batch_size": 128},
    "model": {"latent_dim": 2, "encoder": MLP, "decoder": MLP, "likelihood": "bernoulli"},
    "train": {"steps": 2},
    "evaluate": ["rate"],
}
SMALL = {"samples": 300, "draws": 2}


def trained(folder, **changes):
    return vaezoo.run({**SPEC, **changes}, out=folder)


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    data = {"type": "mnist", "batch_size": 128, "binarize": "dynamic"}
    return trained(tmp_path_factory.mktemp("runs"), data=data)


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A run on images of 8 x 8, whose report has the picture of the metric."""
    metrics = [{"type": "memorisation", **SMALL}, "reconstruction-quality"]
    return trained(tmp_path_factory.mktemp("runs"), data="digits", evaluate=metrics)


class Replay:
    """Stands for a model: its samples are given images in turn."""

    def __init__(self, model, x):
        self.model, self.x, self.asked = model, x, []

    def __getattr__(self, name):
        return getattr(self.model, name)

    def sample(self, n, condition=None, *, mean, sampler):
        self.asked.append(mean)
        self.x = self.x.roll(-n, 0)
        return self.x[torch.arange(n) % len(self.x)]


def replayed(run, metric, x):
    model = Replay(run.model, x)
    metric.training = lambda: run.data("train")
    with run.model.inference():
        return model, metric(model, run.data("test"))


METRICS = {
    FrechetDistance: ["mnist_fd"],
    KernelDistance: ["mnist_kid"],
    PRDC: ["mnist_precision", "mnist_recall", "mnist_density", "mnist_coverage"],
}


@pytest.mark.parametrize("cls", METRICS)
def test_real_images_are_near_the_floor_and_noise_is_the_ceiling(grey, cls):
    real = torch.cat([batch.x for batch in grey.data("validation").ordered(limit=1000)])
    _, found = replayed(grey, cls(**SMALL), real)
    noise = real.flatten(1)[:, torch.randperm(784)].view_as(real)
    _, of_noise = replayed(grey, cls(**SMALL), noise)
    assert list(found) == METRICS[cls]
    for name, each in found.items():
        floor, ceiling = each.details["floor"], each.details["ceiling"]
        assert abs(each.value - floor) < 0.25 * abs(ceiling - floor), name
        assert abs(of_noise[name].value - floor) > 0.6 * abs(ceiling - floor), name
        assert each.details["low"] < each.value < each.details["high"] and each.examples == 300
        assert each.error > 0 and each.details["samples"] == 300 and each.details["draws"] == 2
        is_distance = cls is not PRDC
        ending = f"*_{name.partition('_')[2]}"
        assert (ending in cls.lower_is_better) == is_distance
        assert (ending in cls.higher_is_better) != is_distance


def test_samples_of_binary_data_are_drawn_and_others_are_means(binary, grey):
    for run, mean, words in ((binary, False, "drawn from p(x|z)"), (grey, True, "means of p")):
        model, found = replayed(run, FrechetDistance(**SMALL), torch.rand(300, 1, 28, 28).round())
        assert set(model.asked) == {mean}
        assert words in found["mnist_fd"].note and "features/mnist@1" in found["mnist_fd"].note


def test_a_number_does_not_depend_on_the_other_metrics(binary):
    """Though training images are binarized anew each time."""
    metrics = [{"type": name, **SMALL} for name in ("frechet-distance", "kernel-distance")]
    both = binary.evaluate("test", metrics)["metrics"]
    alone = binary.evaluate("test", metrics[1:])["metrics"]
    assert both["mnist_kid"] == alone["mnist_kid"]


def test_features_are_computed_once_in_an_evaluation(binary, monkeypatch):
    computed, compute = [], sets.SampleMetric._compute
    monkeypatch.setattr(
        sets.SampleMetric, "_compute", lambda *args: computed.append(args) or compute(*args)
    )
    names = ("frechet-distance", "kernel-distance", "prdc")
    binary.evaluate("test", [{"type": name, **SMALL} for name in names])
    assert len(computed) == 1
    binary.evaluate("test", [{"type": "prdc", **SMALL}])
    assert len(computed) == 2, "another evaluation has another model or sampler"


def test_a_sampler_draws_in_place_of_the_prior(tmp_path):
    run = trained(tmp_path, samplers={"gmm": {"type": "gaussian-mixture", "components": 2}})
    of_prior = {"type": "frechet-distance", **SMALL}
    of_sampler, of_none = ({**of_prior, "sampler": name} for name in ("gmm", "flow"))
    measured = run.evaluate("validation", [of_prior, of_sampler, of_none])
    values = measured["metrics"]
    assert "by the sampler gmm" in values["mnist_fd-2"]["note"]
    assert "sampler" not in values["mnist_fd"]["note"]
    (reason,) = measured["undefined"].values()
    assert reason == "no sampler named 'flow'; the model has gmm"
    whole = run.evaluate("validation", [of_prior], sampler="gmm")["metrics"]["mnist_fd"]
    assert whole["value"] == values["mnist_fd-2"]["value"] != values["mnist_fd"]["value"]


def test_labels_of_the_split_are_conditions(tmp_path):
    model = {**SPEC["model"], "condition": "label"}
    run = trained(tmp_path, model=model)
    found = run.evaluate("test", [{"type": "frechet-distance", **SMALL}])
    assert not found["undefined"] and found["metrics"]["mnist_fd"]["value"] > 0


def test_what_features_do_not_read_is_not_defined(digits):
    found = digits.evaluate("test", ["prdc", {"type": "kernel-distance", "features": "none"}])
    assert "reads examples of shape (1, 28, 28), unit" in found["undefined"]["prdc"]
    assert "no features named 'none'" in found["undefined"]["kernel-distance"]


def test_without_the_training_split_nothing_is_measured(digits):
    for metric in (Memorisation(), ReconstructionQuality()):
        with pytest.raises(NotImplementedError, match="needs the training split"):
            metric(digits.model, digits.data("test"))


def test_copies_of_training_images_are_memorised(grey):
    data = grey.data("train")
    rows = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:300]
    copies = data.split.select(rows).x.float() / 255
    metric = Memorisation(samples=300, draws=2)
    _, found = replayed(grey, metric, copies)
    assert found["nearer_to_train"].value == 1
    assert found["nearer_to_train"].details["p_value"] < 1e-3
    assert found["data_copying"].value < found["data_copying"].details["floor"] - 5
    others = torch.cat([batch.x for batch in grey.data("validation").ordered(limit=600)])
    _, found = replayed(grey, metric, others)
    assert found["nearer_to_train"].details["p_value"] > 1e-3


def test_reconstructions_have_baselines(grey):
    found = grey.evaluate("test", [{"type": "reconstruction-quality", "examples": 200}])["metrics"]
    assert found.keys() == {"psnr", "ssim"}
    for row in found.values():
        assert row["examples"] == 200 and row["ceiling"] < row["mean_image"]


def test_the_report_shows_samples_above_their_nearest_examples(digits):
    assert (digits.directory.pictures / "neighbours.png").read_bytes().startswith(b"\x89PNG")
    page = digits.directory.report.read_text("utf-8")
    assert "each above its nearest training example" in page
    assert "Could not be drawn" not in page
    assert digits.evaluation["metrics"].keys() == {"nearer_to_train", "data_copying", "psnr"}


def test_the_picture_shows_copies_of_what_was_copied(grey):
    from io import BytesIO

    import numpy as np
    from PIL import Image

    metric = Memorisation(samples=50)
    metric.training = lambda: grey.data("train")
    copies = grey.data("train").first(5000).x[-40:]
    model = Replay(grey.model, copies)
    with grey.model.inference():
        _, png = metric.report_pictures(model, grey.data("test"))["neighbours"]
    pixels = np.asarray(Image.open(BytesIO(png)))
    zoom = pixels.shape[0] // (3 * 28 + 2 * 6)
    sample, train, held_out = (
        pixels[zoom * top : zoom * (top + 28)].astype(int) for top in (0, 34, 68)
    )
    assert (sample == train).all() and (sample != held_out).mean() > 0.02

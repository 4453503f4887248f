"""Reports for all kinds of data, and metrics that are not defined for a model."""

from __future__ import annotations

import base64
import io
import json
import re
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from vaezoo.data.batch import Batch
from vaezoo.data.dataspec import DataSpec, Field
from vaezoo.evaluation.bounds import ELBO
from vaezoo.evaluation.latent_space import MutualInformation
from vaezoo.model.model import Model
from vaezoo.plugins import discovery
from vaezoo.runs.report import sequences
from vaezoo.runs.report.pictures import grid, is_image, latent_map, pairs
from vaezoo.runs.report.series import series
from vaezoo.runs.start import run

EVERY = [
    "elbo",
    {"type": "nll", "samples": 4},
    "active-units",
    "mutual-information",
    "aggregate-posterior-gap",
    "rate",
]
EVERY += ["distortion"]
ONE = {"batch_size": 8, "fractions": [8, 1, 1]}


@pytest.fixture
def report(spec, tmp_path):
    """Trains for one epoch, writes the report and reads its pictures."""

    def make(**blocks):
        done = run(
            spec(**{"train": {"epochs": 1}, "evaluate": EVERY, **blocks}), out=tmp_path / "runs"
        )
        return done, {path.stem: Image.open(path) for path in done.directory.pictures.iterdir()}

    file = []
    yield lambda **blocks: file.append(make(**blocks)) or file[-1]
    for _, pictures in file:
        for picture in pictures.values():
            picture.close()


@pytest.fixture
def data(tmp_path):
    """Saves an npz file of ten examples, one of them in the test split."""

    def save(**arrays):
        np.savez(tmp_path / "some.npz", **arrays)
        return {"type": "npz", "path": str(tmp_path / "some.npz"), **ONE}

    return save


def displayed(done):
    """Returns the page and its pictures."""
    page = done.directory.report.read_text("utf-8")
    return page, re.findall(r'<img alt="([^"]+)" src="data:image/png;base64,([^"]+)"', page)


def noise(*shape):
    return np.random.default_rng(0).random(shape, np.float32)


def test_a_report_needs_nothing_beside_itself_and_holds_every_picture(report):
    done, pictures = report()
    page, inside = displayed(done)
    assert set(pictures) == {
        "samples",
        "reconstructions",
        "interpolations",
        "traversals",
        "curves",
        "latents",
    }
    assert not re.search(r'(?:src|href)\s*=\s*"(?!data:)|url\(|@import|<script|<link', page)
    files = {path.read_bytes() for path in done.directory.pictures.iterdir()}
    assert {base64.b64decode(data) for _, data in inside} == files
    assert all(
        picture.format == "PNG" and picture.verify() is None for picture in pictures.values()
    )
    for word in (
        "tiny",
        "1 × 8 × 8",
        "elbo",
        "nats per example",
        "mutual information lower",
        "latent_dim: 2",
        "step 10",
    ):
        assert word in page
    assert done.evaluation["undefined"] == {} and len(done.evaluation["metrics"]) == 9


def test_the_numbers_behind_a_metric_are_recorded_and_drawn(report):
    check = {"type": "nll-check", "samples": 2, "maximum": 8, "limit": 50}
    done, pictures = report(evaluate=["elbo", check])
    row = json.loads(done.directory.evaluation.read_text())["metrics"]["nll_check"]
    assert row["series"]["x"][:2] == [2, 4] and row["series"]["values"][-1] == row["value"]
    page, _ = displayed(done)
    assert "Numbers behind metrics of the test split" in page and "metrics" in pictures
    assert np.asarray(pictures["metrics"]).std() > 0
    assert "stochastic upper bound of -log p(x); 50 examples" in page and "series" not in page


def test_bars_and_curves_are_drawn_side_by_side():
    rows = {
        "a_rate": {"unit": "nats", "series": drawn([0, 1, 2], "bars", None)},
        "b": {"unit": "nats", "series": drawn([10, 20, 40], "curve", [0.1, 0.2, 0.0])},
        "c": {"unit": "nats"},
    }
    png = series({"metrics": rows})
    assert Image.open(io.BytesIO(png)).size == (792, 286)
    assert series({"metrics": {"c": rows["c"]}}) is None


def drawn(x, kind, errors):
    return {"label": "x", "x": x, "values": [1.0, 3.0, 2.0], "errors": errors, "kind": kind}


def test_pictures_show_every_example_above_its_reconstruction(report):
    """Grids of 8x8 images with white lines in between; each pixel is a square of pixels."""
    done, pictures = report(evaluate=["elbo"])
    assert np.asarray(pictures["samples"]).shape == (910, 910), "a hundred, ten in a row"
    sheet = np.asarray(pictures["reconstructions"])
    zoom = sheet.shape[1] // (16 * 9 + 1)
    pixels = sheet[::zoom, ::zoom]
    assert (
        pixels.shape == (4 * 9 + 1, 16 * 9 + 1)
        and (pixels[::9] == 255).all()
        and (pixels[:, ::9] == 255).all()
    )
    x = (done.data("test").first(32).x[:, 0].numpy() * 255).round().astype(np.uint8)
    for i, example in enumerate(x):
        top, left = 1 + 18 * (i // 16), 1 + 9 * (i % 16)
        assert np.array_equal(pixels[top : top + 8, left : left + 8], example)
        assert not np.array_equal(pixels[top + 9 : top + 17, left : left + 8], example)


def test_a_test_split_of_one_image_is_evaluated_and_drawn(report, data):
    done, pictures = report(
        data=data(x=noise(10, 1, 6, 5)),
        evaluate=[name for name in EVERY if name != "active-units"],
    )
    assert set(pictures) == {"samples", "reconstructions", "traversals", "curves", "latents"}
    metrics = done.evaluation["metrics"]
    assert all(row["examples"] == 1 and row["standard_error"] is None for row in metrics.values())
    assert len(metrics) == 8 and metrics["mutual_information_lower"]["value"] == pytest.approx(
        0, abs=1e-6
    )
    json.dumps(done.evaluation, allow_nan=False)


@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 6, 6), (1,)], ids=str)
def test_data_that_are_no_images_are_drawn_as_lines(shape, report, data):
    normal = {"likelihood": {"type": "normal", "scale": 1.0}}
    done, pictures = report(data=data(x=noise(10, *shape) - 0.5), model=normal, evaluate=["elbo"])
    assert set(pictures) == {"reconstructions", "curves", "latents"}
    assert len(displayed(done)[1]) == 3


def test_the_name_of_the_data_is_shown_as_text(report, tmp_path):
    np.savez(tmp_path / "<b>.npz", x=noise(40, 2), condition=np.arange(40) % 2)
    block = {"type": "npz", "path": str(tmp_path / "<b>.npz"), "batch_size": 8}
    done, pictures = report(data=block, model={"likelihood": {"type": "normal", "scale": 1.0}})
    assert set(pictures) == {"reconstructions", "curves", "latents"}
    assert "&lt;b&gt;.npz" in displayed(done)[0] and "<b>" not in displayed(done)[0]


@pytest.mark.parametrize(("count", "dimensions"), [(1, 1), (1, 5), (3, 2), (40, 5)])
@pytest.mark.parametrize("classes", [(), ("a", "b"), tuple(map(str, range(30)))], ids=len)
def test_latents_of_any_number_and_size_are_mapped(count, dimensions, classes):
    labels = np.arange(count) % len(classes) if classes else None
    with Image.open(io.BytesIO(latent_map(noise(count, dimensions), labels, classes))) as picture:
        assert picture.format == "PNG"


def test_a_metric_that_is_not_defined_says_why_and_leaves_the_others(report, monkeypatch):
    def undefined(self, model, data):
        raise NotImplementedError("not defined for a model of this kind")

    complete, _ = report()
    monkeypatch.setattr(MutualInformation, "__call__", undefined)
    done, _ = report()
    assert done.evaluation["undefined"] == {
        "mutual-information": "not defined for a model of this kind"
    }
    metrics = {
        name: row
        for name, row in complete.evaluation["metrics"].items()
        if not name.startswith("mutual_information")
    }
    assert done.evaluation["metrics"] == metrics
    for name in (
        "samples.png",
        "reconstructions.png",
        "interpolations.png",
    ):  # one seed draws the same ones
        assert (done.directory.pictures / name).read_bytes() == (
            complete.directory.pictures / name
        ).read_bytes()
    page = displayed(done)[0]
    assert "not defined for a model of this kind" in page and "not defined" in page


def test_two_metrics_that_are_not_defined_are_both_named(train, monkeypatch):
    def undefined(self, model, data):
        raise NotImplementedError(f"not with {self.samples} samples")

    monkeypatch.setattr(ELBO, "__call__", undefined)
    done = train(train={"epochs": 1}, evaluate=["elbo", {"type": "elbo", "samples": 3}, "rate"])
    assert sorted(done.evaluation["undefined"].values()) == [
        "not with 1 samples",
        "not with 3 samples",
    ]
    assert set(done.evaluation["metrics"]) == {"rate"}


def test_pictures_that_a_model_cannot_give_are_left_out(report, monkeypatch):
    def undefined(self, *args, **kwargs):
        raise NotImplementedError("no mean")

    monkeypatch.setattr(Model, "encode", undefined)
    done, pictures = report(evaluate=["elbo"])
    assert (
        set(pictures) == {"samples", "reconstructions", "curves"} and len(displayed(done)[1]) == 3
    )


def test_the_environment_names_versions_plugins_device_and_source(train):
    done = train(train={"epochs": 1})
    result = json.loads(done.directory.environment.read_text())
    assert result["torch"] == torch.__version__ and result["numpy"] == np.__version__
    assert result["python"] == ".".join(map(str, sys.version_info[:3]))
    assert (
        result["device"] == "cpu"
        and result["threads"] == torch.get_num_threads()
        and result["command"] == sys.argv
    )
    assert result["plugins"].keys() == {info.name for info in discovery.catalogue().plugins}
    assert result["plugins"]["vaezoo"] == f"{result['vaezoo']} (ok)"
    assert result["git"] is None or re.fullmatch(r"[0-9a-f]{40}", result["git"]["commit"])
    assert {"created", "platform"} <= result.keys()


def test_each_reconstruction_is_below_its_original():
    originals = torch.arange(5.0)[:, None, None, None]
    sheet = pairs(originals, originals + 10, 3).flatten()
    assert sheet.tolist() == [0, 1, 2, 10, 11, 12, 3, 4, 1, 13, 14, 1]


def test_images_with_alpha_are_drawn_over_white():
    assert is_image(DataSpec((4, 2, 2), "unit"))
    red = torch.tensor([1.0, 0, 0, 0.5])[:, None, None].expand(4, 2, 2)
    with Image.open(io.BytesIO(grid(red[None], 1))) as picture:
        half = picture.convert("RGB").getpixel((picture.width // 2, picture.height // 2))
    assert half == (255, 128, 128)


def test_any_text_is_drawn_without_a_warning(monkeypatch):
    symbols = ("<eos>", "$", "\x1b", "\u5b57")
    field = Field("symbol", "categorical", (0, 4), categories=symbols)
    data = DataSpec((4, 4), "one-hot", variable_length=True, mask_dims=1, fields=(field,))
    drawn = []
    monkeypatch.setattr(
        "matplotlib.axes.Axes.text", lambda axes, x, y, text, **_: drawn.append(text)
    )
    batch = Batch(torch.eye(4)[None, [1, 2, 3, 0]], mask=torch.ones(1, 4, dtype=torch.bool))
    sequences.picture(data, batch)
    assert drawn == [r"$\x1b" + "\u5b57"]
    monkeypatch.undo()
    assert sequences.picture(data, batch).startswith(b"\x89PNG")

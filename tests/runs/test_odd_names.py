"""Names of classes and columns that are no plain text, and pictures that cannot be drawn."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import vaezoo
from vaezoo.cli.main import cli
from vaezoo.runs.publishing import PublicationInfo, publish
from vaezoo.runs.report import pictures
from vaezoo.utils.errors import Interrupted, UsageError
from vaezoo.utils.figures import figure_png

ABOUT = PublicationInfo(title="x", weights_licence="x", data_licence="x", citation="x")
CLASSES = {
    "mathematics": [b"a$_$", b"b$\\frac$", b"$"],
    "bytes that are no text": [b"caf\xe9", b"ok"],
    "control characters": [b"a\nb", "a\u202eb".encode(), b"\x1b[31m", "\x9b".encode()],
    "a leading underscore": [b"_background", b"cat"],
    "letters that the font lacks": ["猫".encode(), "🐈".encode()],
    "HTML": [b"<b>", b"&amp;"],
}


@pytest.fixture
def folders(tmp_path):
    """Writes images of classes with the given names; returns the block ``data``."""

    def write(names):
        for name in names:
            folder = tmp_path / "images" / os.fsdecode(name)
            folder.mkdir(parents=True)
            for number in range(12):
                pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
        path = str(tmp_path / "images")
        return {"type": "image-folder", "path": path, "channels": 1, "size": 8, "batch_size": 8}

    return write


@pytest.mark.parametrize("case", CLASSES)
def test_a_run_on_classes_with_odd_names_ends_with_all_its_pictures(case, folders, spec, tmp_path):
    model = {"condition": "label"}
    train = {"epochs": 1}
    metrics = ["elbo", "classification"]
    content = spec(data=folders(CLASSES[case]), model=model, train=train, evaluate=metrics)
    done = vaezoo.run(content, out=tmp_path / "runs")
    names = {path.stem for path in done.directory.pictures.iterdir()}
    assert names == {"curves", "samples", "reconstructions", "traversals", "latents"}
    page = done.directory.report.read_text("utf-8")
    assert "Could not be drawn" not in page and "<b>" not in page
    assert len(vaezoo.open_run(done.path, device="cpu").model.data.classes) == len(CLASSES[case])
    json.loads(done.directory.evaluation.read_text("utf-8"))
    result = CliRunner().invoke(cli, ["classify", str(done.path), "--json"])
    assert result.exception is None, result.exception
    if case in ("bytes that are no text", "control characters"):
        with pytest.raises(UsageError, match=r"the name of class \d: must be one line"):
            publish(done, "vae/odd@1", tmp_path / "lab", ABOUT)
        assert not (tmp_path / "lab").exists()
    else:
        entry = publish(done, "vae/odd@1", tmp_path / "lab", ABOUT)
        assert entry.weights.classes == list(done.model.data.classes)


def texts_of(draw, monkeypatch):
    """The texts of the figure that a function draws, as they are rendered."""
    from matplotlib.text import Text

    drawn, original = [], Text.draw

    def note(self, renderer):
        drawn.append((self.get_text(), self.get_parse_math()))
        original(self, renderer)

    with monkeypatch.context() as patch:
        patch.setattr(Text, "draw", note)
        draw()
    return drawn


def test_names_are_drawn_as_they_are(monkeypatch):
    names = ["a$_$", "_b", "caf\udce9", "x\x1b"]
    means, labels = np.random.default_rng(0).random((40, 2)), np.arange(40) % 4

    drawn = texts_of(lambda: pictures.latent_map(means, labels, names), monkeypatch)
    shown = list(dict.fromkeys(text for text, _ in drawn))  # the layout draws them, too
    first = shown.index("a$_$")
    assert shown[first : first + 4] == ["a$_$", "_b", "caf\\udce9", "x\\x1b"]
    assert not any(does_parse for _, does_parse in drawn)


def test_ticks_with_dollars_are_drawn_as_they_are(monkeypatch):
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.subplots()
    axes.bar([0, 1], [1, 2])
    axes.set_xticks([0, 1], ["$\\frac$", "a$b$"])
    drawn = dict(texts_of(lambda: figure_png(figure), monkeypatch))
    assert drawn["$\\frac$"] is False and drawn["a$b$"] is False


@pytest.mark.parametrize("fault", [ValueError("as planned"), MemoryError(), AssertionError()])
@pytest.mark.parametrize(
    ("place", "what", "lost"),
    [
        ("curves", "the curves", {"curves"}),
        ("latent_map", "the latent space", {"latents"}),
        ("grid", "samples and reconstructions", {"samples", "reconstructions"}),
    ],
)
def test_a_picture_that_cannot_be_drawn_does_not_end_a_run(
    place, what, lost, fault, spec, tmp_path, monkeypatch
):
    def fail(*_, **__):
        raise fault

    monkeypatch.setattr(pictures, place, fail)
    with pytest.warns(UserWarning, match=rf"report\.html: could not draw {what}: "):
        done = vaezoo.run(spec(train={"epochs": 1}), out=tmp_path / "runs")
    assert done.evaluation["metrics"] and done.directory.model.is_file()
    names = {path.stem for path in done.directory.pictures.iterdir()}
    assert not lost & names and names & {"curves", "latents"}
    assert f"Could not be drawn: {what}: " in done.directory.report.read_text("utf-8")


def test_a_report_that_cannot_be_drawn_does_not_end_a_run(spec, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise KeyError("as planned")

    with monkeypatch.context() as patch:
        patch.setattr("vaezoo.runs.report.page.render_page", fail)
        with pytest.warns(UserWarning, match="could not draw the report; vaezoo resume draws it"):
            done = vaezoo.run(spec(train={"epochs": 1}), out=tmp_path / "runs")
    assert done.evaluation["metrics"] and not done.directory.report.exists()
    vaezoo.resume(done.path)
    assert done.directory.report.is_file()


def test_an_interruption_while_drawing_is_none_of_these(spec, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(pictures, "curves", stop)
    with pytest.raises(Interrupted, match="vaezoo resume"):
        vaezoo.run(spec(train={"epochs": 1}), out=tmp_path / "runs")

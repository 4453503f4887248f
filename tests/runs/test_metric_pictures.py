"""Pictures that metrics of the spec draw for the report."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image

import vaezoo
from vaezoo.runs.start import run


def png(shade):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(buffer, "png")
    return buffer.getvalue()


class Drawing(vaezoo.Metric):
    """Draws a picture whose shade is random."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken

    def __call__(self, model, data):
        return {"drawn": vaezoo.Estimate(0.0, None, 1)}

    def report_pictures(self, model, data):
        if self.broken:
            raise ValueError("no ink")
        assert len(self.training()) > len(data) and not torch.is_grad_enabled()
        return {"drawing": ("A shade of <red>", png(int(torch.randint(256, ()))))}


@pytest.fixture
def drawn(spec, tmp_path):
    vaezoo.register("metric", "drawing", Drawing)

    def make(*metrics):
        done = run(spec(train={"epochs": 1}, evaluate=[*metrics]), out=tmp_path / "runs")
        return done, done.directory.report.read_text("utf-8")

    return make


def test_they_come_last_in_the_report_and_are_repeatable(drawn):
    shades = []
    for _ in range(2):
        done, page = drawn("drawing")
        assert page.index("A shade of &lt;red&gt;") > page.index("The latent space")
        with Image.open(done.directory.pictures / "drawing.png") as image:
            shades.append(image.getpixel((0, 0)))
    assert shades[0] == shades[1]


def test_one_that_fails_leaves_the_report(drawn):
    with pytest.warns(UserWarning, match="could not draw the pictures of drawing: no ink"):
        _, page = drawn({"type": "drawing", "broken": True}, "rate")
    assert "the pictures of drawing: no ink" in page and "The latent space" in page

"""End-to-end tests of the commands: train, continue a prefix, interpolate, report."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import torch
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from vaezoo_vrae.midi import write_roll
from vaezoo_vrae.recurrent import Recurrent

from vaezoo.cli.main import main
from vaezoo.data.batch import Batch
from vaezoo.data.dataspec import DataSpec, Field
from vaezoo.distributions import DiagonalNormal
from vaezoo.model.trace import Site
from vaezoo.plugins.discovery import catalogue
from vaezoo.runs.report import sequences


def symbol_field(*symbols):
    """The fields of one-hot sequences of symbols."""
    return (Field("symbol", "categorical", (0, len(symbols)), categories=symbols),)


def call(*arguments):
    """The exit code of a command."""
    try:
        return main([str(argument) for argument in arguments]) or 0
    except SystemExit as stopped:
        return stopped.code or 0


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """A run of a small VRNN on MIDI files."""
    home = tmp_path_factory.mktemp("music")
    generator = np.random.default_rng(0)
    (home / "songs").mkdir()
    for i in range(12):
        roll = np.zeros((12, 88), bool)
        roll[np.arange(12), generator.integers(30, 60, 12)] = True
        write_roll(roll, home / "songs" / f"{i}.mid")
    return train(
        home, {"type": "midi", "path": str(home / "songs"), "batch_size": 4}, "chain", "bernoulli"
    )


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A run of a small VRAE on lines."""
    home = tmp_path_factory.mktemp("text")
    (home / "lines.txt").write_text("".join("ab"[i % 2] * (2 + i % 4) + "\n" for i in range(40)))
    return train(
        home,
        {"type": "text", "path": str(home / "lines.txt"), "batch_size": 8},
        "recurrent",
        "categorical",
    )


def train(home, data, latents, likelihood):
    write_spec(home, data, latents, likelihood)
    assert call("-q", "run", home / "spec.yaml", "--out", home / "runs") == 0
    (result,) = (home / "runs" / "small").iterdir()
    return result


def write_spec(home, data, latents, likelihood):
    content = {
        "spec": "vaezoo/v1",
        "name": "small",
        "data": data,
        "model": {
            "latent_dim": 3,
            "encoder": {"type": "recurrent", "hidden": [8], "units": 8},
            "latents": {"type": latents, "units": 8},
            "decoder": {"type": "steps", "hidden": []},
            "likelihood": likelihood,
        },
        "train": {"steps": 3},
        "evaluate": ["elbo", "next-step", {"type": "steps", "samples": 2}],
    }
    (home / "spec.yaml").write_text(yaml.safe_dump(content))


def test_a_dry_run_takes_hidden_steps_and_says_what_is_not_used(tmp_path, capsys):
    data = {"type": "sequences", "path": str(tmp_path / "x.npz")}
    write_spec(tmp_path, data, "recurrent", "normal")
    x = np.random.default_rng(0).normal(size=(20, 6, 2)).astype(np.float32)
    mask = np.arange(6) < np.arange(1, 21)[:, None] % 6 + 1
    mask[5, 1] = False
    np.savez(tmp_path / "x.npz", x=np.where(mask[..., None], x, np.nan), mask=mask, y=0)
    assert call("run", tmp_path / "spec.yaml", "--dry-run") == 0
    output = capsys.readouterr().out
    assert "16 train" in output and "left out: 1 array that is not read (y)" in output
    np.savez(tmp_path / "x.npz", x=x, lengths=np.arange(20))
    assert call("run", tmp_path / "spec.yaml", "--dry-run") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "x.npz: 'lengths' row 7 is 7, but x has 6 steps" in line


def test_music_goes_on_from_a_prefix_and_is_written_as_music(music, tmp_path):
    roll = np.zeros((5, 88), bool)
    roll[:, 40] = True
    write_roll(roll, tmp_path / "start.mid")
    out = tmp_path / "x.npz"
    assert (
        call(
            "-q",
            "sample",
            music,
            "-n",
            3,
            "--prefix",
            tmp_path / "start.mid",
            "--steps",
            7,
            "--out",
            out,
        )
        == 0
    )
    x = np.load(out)["x"]
    assert x.shape == (3, 12, 88)
    np.testing.assert_array_equal(x[:, :5], np.broadcast_to(roll, (3, 5, 88)))
    assert (
        call("-q", "sample", music, "--prefix", tmp_path / "start.mid", "--steps", 7, "--out", out)
        == 0
    )
    assert np.load(out)["x"].shape == (1, 12, 88), (
        "one for each beginning where no number is given"
    )
    for ending in ("mid", "wav"):
        assert (
            call("-q", "sample", music, "-n", 2, "--steps", 9, "--out", tmp_path / f"y.{ending}")
            == 0
        )
        assert (tmp_path / f"y-1.{ending}").stat().st_size and (
            tmp_path / f"y-2.{ending}"
        ).is_file()


def test_prefixes_are_as_many_as_samples(music):
    import vaezoo

    model = vaezoo.open_run(music).model
    with pytest.raises(ValueError, match="3 prefixes for 5 samples"):
        model.sample(5, prefix=torch.zeros(3, 2, 88))
    with pytest.raises(ValueError, match="steps must be at least 1"):
        model.sample(5, steps=0)


def test_text_is_written_as_text(text, tmp_path):
    assert call("-q", "sample", text, "-n", 5, "--out", tmp_path / "x.txt") == 0
    assert len((tmp_path / "x.txt").read_text().splitlines()) == 5
    (tmp_path / "p.txt").write_text("ab\n")
    options = ("--steps", 4, "--temperature", 0, "--out", tmp_path / "y.txt")
    assert call("-q", "sample", text, "-n", 4, "--prefix", tmp_path / "p.txt", *options) == 0
    assert all(line.startswith("ab") for line in (tmp_path / "y.txt").read_text().splitlines())
    assert call("-q", "interpolate", text, "--steps", 6, "--out", tmp_path / "z.txt") == 0
    assert len((tmp_path / "z.txt").read_text().splitlines()) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--out", "x.txt"), "not text"),
        (("--prefix", "nowhere.mid", "--out", "x.npz"), "no such file"),
        (("--prefix", "x.wav", "--out", "x.npz"), "no such file"),
    ],
)
def test_what_cannot_be_is_one_line(music, tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    assert call("sample", music, *options) != 0
    output = capsys.readouterr().err.strip().splitlines()
    assert len(output) == 1 and message in output[0]


def test_chains_have_no_way_between_two_examples(music, tmp_path, capsys):
    assert call("interpolate", music, "train", "--out", tmp_path / "x.png") == 2
    assert "cannot interpolate between these examples" in capsys.readouterr().err


def test_the_report_shows_sequences_and_the_rate_of_each_step(music, text):
    for run in (music, text):
        pictures = {path.stem for path in (run / "pictures").iterdir()}
        assert {"samples", "reconstructions", "curves"} <= pictures
        assert ("rates" in pictures) == (run == music), (
            "one z for the whole has no rate at each step"
        )
    assert (text / "pictures" / "interpolations.png").is_file()


def test_a_collapsed_level_is_named_with_what_helps():
    zero, mask = torch.zeros(2, 4, 5, 3), torch.ones(4, 5, dtype=torch.bool)
    p = DiagonalNormal(zero, zero)
    busy = Site("level-1", zero, DiagonalNormal(zero + 2, zero), p, mask=mask)
    idle = Site("level-2", zero, DiagonalNormal(zero + 0.01, zero), p, mask=mask)
    result = sequences.remarks((busy, idle))
    assert "level 2" in result[0] and "level 1" not in result[0]
    assert "free-bits" in result[1] and "word_dropout" not in result[1], "a chain has none"
    assert sequences.remarks((busy,)) == []
    slow = Site("level-1", zero, DiagonalNormal(zero + 0.01, zero), p, mask=mask, stride=4)
    assert "nats every 4 steps" in sequences.remarks((slow,))[0]


@pytest.mark.parametrize(("nats", "collapsed"), [(0.9, True), (1.1, False)])
def test_a_z_of_the_whole_that_says_less_than_a_nat_is_named(nats, collapsed):
    zero = torch.zeros(2, 4, 3)
    mean = torch.cat([torch.full((2, 4, 1), (2 * nats) ** 0.5), zero[..., 1:]], -1)
    site = Site("z", mean, DiagonalNormal(mean, zero), DiagonalNormal(zero, zero))
    result = sequences.remarks((site,))
    assert bool(result) == collapsed
    assert not collapsed or (
        "whole sequence" in result[0]
        and "0.900 nats." in result[0]
        and "word_dropout" in result[1]
    )


def test_what_helps_is_there_by_that_name():
    output = " ".join((*sequences.REMEDIES, sequences.HIDE_STEPS))
    assert "free-bits" in output and "free-bits" in catalogue().names("regularizer")
    assert "word_dropout" in output and "word_dropout" in Recurrent.__init__.__kwdefaults__


@pytest.mark.parametrize(
    ("data", "most"),
    [
        (DataSpec((4, 5), "binary", 2, variable_length=True, mask_dims=1), 40),
        (DataSpec((4, 5), "real", variable_length=True, mask_dims=1), 40),
        (
            DataSpec(
                (4, 5),
                "one-hot",
                2,
                variable_length=True,
                mask_dims=1,
                fields=symbol_field("<eos>", "<unk>", "a", "b", "c"),
            ),
            200,
        ),
    ],
    ids=["rolls", "lines", "text"],
)
def test_a_picture_holds_many_sequences_and_says_how_many_it_leaves_out(data, most, monkeypatch):
    output = []
    label = Figure.supxlabel
    monkeypatch.setattr(
        Figure,
        "supxlabel",
        lambda samples, text, **how: output.append(text) or label(samples, text, **how),
    )
    heights = [
        Image.open(BytesIO(sequences.picture(data, Batch(torch.zeros(n, 4, 5))))).height
        for n in (2, most, most + 1)
    ]
    assert heights[1] > 10 * heights[0] and heights[1] == heights[2]
    assert output == [f"the first {most} of {most + 1}"]


def test_a_line_of_one_step_is_a_dot(monkeypatch):
    samples = []
    plot = Axes.plot
    monkeypatch.setattr(
        Axes,
        "plot",
        lambda axes, *x, **how: samples.append(how["marker"]) or plot(axes, *x, **how),
    )
    data = DataSpec((4, 1), "real", variable_length=True, mask_dims=1)
    for steps in (1, 2):
        sequences.picture(data, Batch(torch.ones(1, steps, 1)), torch.ones(1, steps, 1))
        zero = torch.zeros(1, 1, steps, 2)
        normal, mask = DiagonalNormal(zero, zero), torch.ones(1, steps) > 0
        site = Site("level-1", zero, normal, normal, mask=mask)
        sequences.rates((site,))
    assert samples == ["o", "o", "o", None, None, None]


def test_as_many_sequences_as_a_picture_has_room_for(text, music, tmp_path):
    out = tmp_path / "x.npz"
    assert call("-q", "sample", music, "--steps", 3, "--out", out) == 0
    assert len(np.load(out)["x"]) == 16
    assert call("-q", "reconstruct", text, "train", "--out", out) == 0
    with np.load(out) as arrays:
        counts = arrays["mask"].sum(1)
        assert arrays["x"].shape[:2] == arrays["mask"].shape and len(counts) == 16
    assert set(counts) == {3, 4, 5, 6}, (
        "a line is no longer than what it was made from, <eos> included"
    )
    page = (text / "report.html").read_text()
    assert (
        "Test examples and their reconstructions" in page
        and "each step sampled conditional on the previous steps" in page
    )


def test_a_slow_level_stands_at_the_steps_where_it_is_drawn(monkeypatch):
    zero, mask = torch.zeros(1, 4, 3, 2), torch.ones(4, 3, dtype=torch.bool)
    q, p = DiagonalNormal(zero + 2, zero), DiagonalNormal(zero, zero)
    slow = Site("level-1", zero, q, p, mask=mask, stride=4)
    samples = []
    plot = Axes.plot
    monkeypatch.setattr(
        Axes,
        "plot",
        lambda axes, x, *more, **how: samples.append(list(x)) or plot(axes, x, *more, **how),
    )
    sequences.rates((slow,))
    assert samples == [[1, 5, 9]]


@pytest.mark.parametrize("support", ["binary", "real", "one-hot"])
def test_pictures_name_the_class_of_each_sequence(support, monkeypatch):
    output = []
    for kind, name in ((Axes, "set_ylabel"), (Axes, "text")):
        monkeypatch.setattr(
            kind,
            name,
            lambda axes, *x, **how: output.append(x[0] if len(x) == 1 else x[2][:4].strip()),
        )
    fields = symbol_field("<eos>", "<unk>", "x") if support == "one-hot" else ()
    data = DataSpec(
        (4, 3), support, variable_length=True, mask_dims=1, classes=("up", "down"), fields=fields
    )
    sequences.picture(data, Batch(torch.zeros(3, 4, 3), torch.tensor([1, 0, 1])))
    assert [word for word in output if word] == ["down", "up", "down"]


@pytest.mark.parametrize("support", ["binary", "real"])
def test_a_sequence_that_is_hidden_whole_is_drawn_without_a_warning(support):
    data = DataSpec((4, 3), support, variable_length=True, mask_dims=1)
    hidden = Batch(torch.zeros(2, 4, 3), None, torch.tensor([[True] * 4, [False] * 4]))
    assert Image.open(BytesIO(sequences.picture(data, hidden, torch.zeros(2, 4, 3)))).height

"""Series of people's own sensors: missing cells, times, and the commands that read their files."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from vaezoo_vrae.metrics import NextStep, StepBounds
from vaezoo_vrae.sequences import Sequences
from vaezoo_vrae.series_format import SeriesCsv

import vaezoo
from vaezoo.cli.main import main
from vaezoo.evaluation.anomaly import scores, step_scores
from vaezoo.runs.example_files import to_loader
from vaezoo.runs.named_examples import named_examples
from vaezoo.runs.opening import open_run
from vaezoo.runs.report.channels import draw_channels

START = np.datetime64("2024-05-01 22:00:00")


def write_sensor(path, steps, *, seed, missing=0.1):
    """A file of a sensor with two channels, a column of text, and cells without a value."""
    generator = np.random.default_rng(seed)
    rows = ["timestamp,status,temperature [C],flow"]
    for i in range(steps):
        time = str(START + np.timedelta64(5 * i, "m")).replace("T", " ")
        values = (20 + 4 * np.sin(i / 5 + seed), 1e4 + 300 * np.cos(i / 5 + seed))
        cells = [
            ["", "NaN"][i % 2] if generator.random() < missing else f"{value:.2f}"
            for value in values
        ]
        rows.append(f"{time},ok,{','.join(cells)}")
    path.write_text("\n".join(rows) + "\n")
    return path


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def call(*arguments):
    try:
        return main([str(argument) for argument in arguments]) or 0
    except SystemExit as stopped:
        return stopped.code or 0


@pytest.fixture(scope="module")
def sensors(tmp_path_factory):
    """A folder of files of different lengths; the first one has a long gap."""
    folder = tmp_path_factory.mktemp("sensors") / "pumps"
    folder.mkdir()
    for i, steps in enumerate((260, 300, 230)):
        write_sensor(folder / f"pump-{i}.csv", steps, seed=i)
    lines = (folder / "pump-0.csv").read_text().splitlines()
    lines[51:171] = [",".join([*line.split(",")[:2], "", ""]) for line in lines[51:171]]
    (folder / "pump-0.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def run(sensors, tmp_path_factory):
    """A run of the spec that is proposed for this folder, without any change but its length."""
    home = tmp_path_factory.mktemp("home")
    assert call("-q", "new", "spec", home / "pumps.yaml", sensors, "--from", "series") == 0
    options = ["--set", "train.epochs=2", "--out", home / "runs"]
    assert call("-q", "run", home / "pumps.yaml", *options) == 0
    spec = yaml.safe_load((home / "pumps.yaml").read_text())
    assert spec["data"]["time"] == "timestamp" and spec["data"]["missing"] == "hide"
    assert spec["data"]["columns"] == ["temperature [C]", "flow"]
    assert (spec["data"]["window"], spec["data"]["stride"]) == (100, 50)
    (folder,) = (home / "runs" / "pumps").iterdir()
    return folder


def test_a_proposed_spec_leaves_out_files_that_cannot_be_read(sensors, tmp_path):
    folder = tmp_path / "pumps"
    shutil.copytree(sensors, folder)
    lines = (folder / "pump-1.csv").read_text().splitlines()
    lines[20], lines[30] = lines[30], lines[20]  # times are out of order
    (folder / "pump-1.csv").write_text("\n".join(lines) + "\n")
    assert call("-q", "new", "spec", tmp_path / "x.yaml", folder, "--from", "series") == 0
    text = (tmp_path / "x.yaml").read_text()
    assert "unreadable: skip  # files that cannot be read are left out" in text
    assert "1 file that cannot be read (pump-1.csv)" in text
    assert call("-q", "run", tmp_path / "x.yaml", "--dry-run") == 0


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("window", 1.5, "window: "),
        ("stride", -1, "stride: "),
        ("decimals", ["x"], "decimals.0: "),
        ("decimals", [1, 2, 3], "decimals of other channels"),
        ("missing", "x", "missing: "),
        ("time", None, "time: "),
    ],
)
def test_damage_to_what_is_kept_of_series_is_named(sensors, name, value, says):
    data = Sequences(path=str(sensors), time="timestamp", columns=["flow"], missing="hide").spec
    kept = data.facts["vaezoo-vrae"]["series"]
    assert SeriesCsv(data).decimals == tuple(kept["decimals"])
    damaged = replace(data, facts={"vaezoo-vrae": {"series": {**kept, name: value}}})
    with pytest.raises(ValueError, match=f"the facts of the series are damaged: {says}"):
        SeriesCsv(damaged)


def test_channels_have_their_names_units_and_the_scale_of_the_training_rows(sensors):
    data = Sequences(path=str(sensors), time="timestamp", columns=["flow"], missing="hide")
    (field,) = data.spec.fields
    rows = [read(file) for file in sorted(sensors.iterdir())]
    train = [row["flow"] for file in rows for row in file[: round(0.8 * len(file))]]
    numbers = np.array([float(cell) for cell in train if cell not in ("", "NaN")])
    assert field.offset == pytest.approx(numbers.mean()) and field.unit == ""
    assert field.scale == pytest.approx(numbers.std())
    assert data.spec.step.unit == "s" and data.spec.step.scale == 300
    assert data.left_out[0] == "2 columns that are not used (status, temperature [C])"
    assert data.spec.mask_dims == 2 and data.spec.is_sequence
    split = data.split("train")
    assert split.x[split.mask].mean().abs() < 1e-5 and not split.x[~split.mask].any()
    units = {"flow": "l/h"}
    both = Sequences(
        path=str(sensors),
        time="timestamp",
        columns=["flow", "temperature [C]"],
        missing="hide",
        units=units,
    )
    assert [field.unit for field in both.spec.fields] == ["l/h", "C"]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("t,a\n1,2\n1,3\n", {"time": "t"}, r":3: time '1' does not come after '1'; sort the rows"),
        ("t,a\n1,2\nx,3\n", {"time": "t"}, r":3: time 'x' is not a number"),
        ("t,a\nx,2\ny,3\n", {"time": "t"}, r":2: time 'x' is not of the format 2024-05-31"),
        ("t,a\n1,2\n2,\n", {"time": "t"}, r":3: column 'a' has no value"),
        ("t,a\n1,2\n2,up\n", {"missing": "hide"}, r":3: column 'a': 'up' is not a number; choose"),
        ("t,a\n1,2\n2,3\n", {"columns": ["b"]}, r"has no column 'b'; it has t, a"),
        ("t,a\n1,2\n2\n", {"columns": ["a"]}, r":3: has 1 cells, expected 2"),
        ("1,2\n2,3\n", {"missing": "hide"}, "needs a header with the names of the columns"),
        ("t,a\n1,inf\n2,3\n", {"missing": "hide"}, r":2: column 'a': 'inf' is not a finite"),
        (
            "a,b\n" + "NaN,1\n" * 30 + "1,1\n" * 9,
            {"missing": "hide"},
            "channel 'a' has no value in",
        ),
        ("t,a\n" + "1,2\n" * 9, {"columns": ["a"], "units": {"b": "m"}}, "no channel 'b'"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, text, options, message):
    (tmp_path / "x.csv").write_text(text)
    data = Sequences(path=str(tmp_path / "x.csv"), fractions=(0.5, 0.25, 0.25), **options)
    with pytest.raises(vaezoo.DataError, match=message):
        _ = data.spec


def test_steps_of_different_length_are_said(tmp_path):
    times = [*range(30), *range(40, 70)]
    text = "time [h],a\n" + "".join(f"{time},{i % 7}\n" for i, time in enumerate(times))
    (tmp_path / "x.csv").write_text(text)
    data = Sequences(path=str(tmp_path / "x.csv"), time="time [h]")
    assert "1 file whose steps are not equally long" in data.notes[0]
    assert (data.spec.step.scale, data.spec.step.unit) == (1, "h")
    assert data.spec.shape == (48, 1) and data.spec.mask_dims == 1
    dates = "day,a\n" + "".join(f"{i + 1:02}.02.2024,{i}\n" for i in range(28))
    (tmp_path / "y.csv").write_text(dates)
    proposal = Sequences.propose(tmp_path / "y.csv")
    assert proposal.spec["data"]["time_format"] == "%d.%m.%Y"
    data = Sequences(path=str(tmp_path / "y.csv"), time="day", time_format="%d.%m.%Y")
    assert data.notes == () and data.spec.step.scale == 86_400


def with_hidden(batch, hidden):
    """The batch with other values in the cells that its mask hides."""
    return replace(batch, x=torch.where(batch.mask, batch.x, torch.full_like(batch.x, hidden)))


@pytest.fixture
def with_cells(sensors, composed):
    """From latents to their task on these files, and a batch with hidden cells and steps."""

    def make(**model):
        return composed(
            {
                "spec": "vaezoo/v2",
                "name": "cells",
                "data": {
                    "type": "sequences",
                    "path": str(sensors),
                    "columns": ["temperature [C]", "flow"],
                    "missing": "hide",
                    "window": 12,
                    "batch_size": 8,
                },
                "model": {
                    "latent_dim": 2,
                    "encoder": {"type": "recurrent", "hidden": [8], "units": 8},
                    "latents": {"type": "recurrent", "units": 8},
                    "decoder": {"type": "steps", "hidden": [8]},
                    "likelihood": {"type": "normal", "scale": "predicted"},
                }
                | model,
            }
        )

    return make


LATENTS = [
    {"type": "recurrent", "units": 8},
    {"type": "recurrent", "units": 8, "teacher_forcing": False},
    {"type": "chain", "units": 8, "hidden": 8, "levels": 2, "clocks": [2, 1], "skip": True},
]


@pytest.mark.parametrize("latents", LATENTS, ids=["vrae", "no-teacher", "chain"])
def test_hidden_cells_have_no_influence_and_the_likelihood_leaves_them_out(with_cells, latents):
    task, batch = with_cells(latents=latents)
    model = task.model.eval()
    assert (~batch.mask).sum() > 0 and (batch.mask.any(-1) & ~batch.mask.all(-1)).any()
    results = []
    for hidden in (0.0, 1e6, torch.nan):
        model.zero_grad()
        torch.manual_seed(1)
        trace = model(with_hidden(batch, hidden), 3)
        trace.mean_elbo.sum().backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        results.append((trace.log_likelihood, trace.mean_elbo, *gradients))
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], result, strict=True))
    px = trace.px
    while hasattr(px, "base_dist"):
        px = px.base_dist
    expected = torch.zeros(3, len(batch), dtype=torch.float64)
    for b, t, d in batch.mask.nonzero().tolist():  # the cells that are there, one by one
        normal = torch.distributions.Normal(px.loc[:, b, t, d], px.scale[:, b, t, d])
        expected[:, b] += normal.log_prob(batch.x[b, t, d]).double()
    torch.testing.assert_close(trace.log_likelihood.double(), expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(
        model.likelihood.step_log_prob(trace).sum(-1), trace.log_likelihood, rtol=1e-5, atol=1e-4
    )


@pytest.mark.parametrize("latents", LATENTS[::2], ids=["vrae", "chain"])
def test_metrics_of_steps_count_the_cells_that_are_there(with_cells, latents):
    task, batch = with_cells(latents=latents)
    model, results = task.model.eval(), []
    for hidden in (0.0, torch.nan):
        loader = to_loader(model, with_hidden(batch, hidden))
        torch.manual_seed(0)
        with torch.no_grad():
            found = {
                **NextStep(particles=3)(model, loader),
                **StepBounds(particles=3)(model, loader),
            }
        results.append({name: estimate.value for name, estimate in found.items()})
        assert found["next_step_rmse"].details["steps"] == batch.mask.any(-1).sum()
    assert results[0] == results[1] and np.isfinite(list(results[0].values())).all()


def test_the_encoder_tells_a_hidden_cell_from_an_observed_mean(with_cells):
    task, batch = with_cells()
    model = task.model.eval()
    mean = replace(batch, x=torch.zeros_like(batch.x), mask=torch.ones_like(batch.mask))
    hidden = replace(mean, mask=batch.mask)
    assert not torch.allclose(model.encode(mean), model.encode(hidden))


def test_cells_draw_as_the_posterior_of_a_grid_says(with_cells):
    """The exact p(hidden | observed) of a one-dimensional z, by quadrature."""
    task, batch = with_cells(
        latent_dim=1, latents={"type": "recurrent", "units": 8, "teacher_forcing": False}
    )
    model = task.model.eval()
    mask = batch.mask[:1, :4].clone()
    mask[0] = torch.tensor([[True, False], [False, False], [True, True], [True, False]])
    one = vaezoo.Batch(batch.x[:1, :4], mask=mask)
    with torch.no_grad():  # a proposal that is wide, and not the prior
        linear = model.latents.sequence_latent.posterior.linear
        linear.weight.zero_()
        linear.bias.copy_(torch.tensor([0.8, 0.3]))
    result = model.impute(one, draws=4000, samples=40_000, seed=0)
    with pytest.raises(NotImplementedError, match="step by step"):
        model.impute(one, from_prior=True)
    grid = torch.linspace(-6, 6, 2001)[:, None]
    with torch.no_grad():
        generation = replace(model.start_generation(len(grid), None), steps=4)
        px = model.likelihood_of(model.latents.code(grid, generation), None, {})
        log_p = px.log_prob(one.x.expand(len(grid), -1, -1)).masked_fill(~mask, 0).sum((1, 2))
        weight = (log_p - grid[:, 0].square() / 2).softmax(0)  # [grid]
        mean = (weight[:, None, None] * px.mean).sum(0)  # [T, D]
        square = (weight[:, None, None] * (px.mean.square() + px.variance)).sum(0)
    deviation = (square - mean.square()).sqrt()
    assert (result.x[:, 0][:, mask[0]] == one.x[mask]).all()
    drawn = result.x[:, 0][:, ~mask[0]]  # [draws, hidden]
    error = (drawn.mean(0) - mean[~mask[0]]).abs() / deviation[~mask[0]]
    assert error.max() < 0.08 and float(result.effective_sample_size) > 200
    torch.testing.assert_close(drawn.std(0), deviation[~mask[0]], rtol=0.08, atol=0)


def test_scores_of_steps_are_those_of_windows_averaged_by_row(run, sensors, tmp_path):
    out, steps_out = tmp_path / "scores.csv", tmp_path / "steps.csv"
    options = ["--out", out, "--steps-out", steps_out, "--samples", 2]
    assert call("-q", "score", run, sensors, *options) == 0
    windows, steps = read(out), read(steps_out)
    rows = {file.name: read(file) for file in sorted(sensors.iterdir())}
    assert [(row["file"], row["timestamp"]) for row in steps] == [
        (name, row["timestamp"]) for name, each in rows.items() for row in each
    ]
    first = [row for row in windows if row["file"] == "pump-1.csv"]
    assert [int(row["row"]) for row in first] == [0, 50, 100, 150, 200]
    assert all(rows["pump-1.csv"][int(w["row"])]["timestamp"] == w["timestamp"] for w in first)
    # in the gap of the first file no step has a score
    hidden = [
        all(row[name] in ("", "NaN") for name in ("flow", "temperature [C]"))
        for row in rows["pump-0.csv"]
    ]
    assert [not row["score"] for row in steps[:260]] == hidden
    assert call("-q", "score", run, sensors, "--method", "elbo", *options) == 2


def test_steps_have_the_mean_of_the_windows_that_show_them(run, sensors):
    opened = open_run(run)
    examples = named_examples(opened, str(sensors / "pump-1.csv"))  # windows at 0, 50, ..., 200
    torch.manual_seed(0)
    values, shown = step_scores(opened.model, examples.loader, 2)
    assert shown.shape == (5, 100) and torch.equal(shown, examples.loader.mask.any(-1))
    torch.manual_seed(0)
    total = scores(opened.model, examples.loader, "reconstruction", 2)
    torch.testing.assert_close(values.sum(1), total, rtol=1e-5, atol=1e-4)
    names, means = examples.by_step(values, shown)
    assert names["row"] == list(range(300)) and len(means) == 300
    both = shown[0, 50:]
    assert torch.equal(both, shown[1, :50]) and torch.equal(means[:50].isfinite(), shown[0, :50])
    torch.testing.assert_close(means[:50][shown[0, :50]], values[0, :50][shown[0, :50]])
    torch.testing.assert_close(means[50:100][both], ((values[0, 50:] + values[1, :50]) / 2)[both])
    names, means = replace(examples, steps=()).by_step(values, shown)
    assert list(names) == ["file", "example", "row", "timestamp", "step"]
    assert means.isfinite().all()


def test_scores_of_a_split_are_joined_to_files_and_times(run, sensors, tmp_path):
    out, steps_out = tmp_path / "scores.csv", tmp_path / "steps.csv"
    options = ["--out", out, "--steps-out", steps_out, "--samples", 1]
    assert call("-q", "score", run, "all", *options) == 0
    windows, steps = read(out), read(steps_out)
    rows = {file.name: read(file) for file in sorted(sensors.iterdir())}
    for row in (*windows, *steps):
        assert rows[row["file"]][int(row["row"])]["timestamp"] == row["timestamp"]
    # three files are split along time: each row is in one split
    assert sorted((row["file"], int(row["row"])) for row in steps) == [
        (name, i) for name, each in rows.items() for i in range(len(each))
    ]
    test = [row for row in windows if row["split"] == "test"]
    assert [(row["file"], row["row"]) for row in test] == [
        ("pump-0.csv", "234"), ("pump-1.csv", "270"), ("pump-2.csv", "207"),
    ]  # fmt: skip


def test_files_of_a_folder_that_cannot_be_read_are_left_out(run, sensors, tmp_path, capsys):
    """As the spec of the run says: unreadable: skip."""
    folder = shutil.copytree(sensors, tmp_path / "pumps")
    (folder / "pump-1.csv").write_text("timestamp,flow,temperature [C]\n2024-05-01,much,3\n")
    out = tmp_path / "scores.csv"
    assert call("score", run, folder, "--out", out) == 0
    assert "1 file that cannot be read (pump-1.csv)" in "".join(capsys.readouterr())
    assert {row["file"] for row in read(out)} == {"pump-0.csv", "pump-2.csv"}
    assert call("score", run, folder / "pump-1.csv", "--out", out) == 1
    assert "pump-1.csv:2: column 'flow': 'much' is not a number" in capsys.readouterr().err


def test_latents_are_joined_to_files_and_times(run, sensors, tmp_path):
    assert call("-q", "encode", run, sensors, "--out", tmp_path / "z.csv") == 0
    rows = read(tmp_path / "z.csv")
    assert list(rows[0])[:5] == ["file", "example", "row", "timestamp", "z0"]
    # the window of the first file in which nothing is observed is left out
    assert [int(row["row"]) for row in rows if row["file"] == "pump-0.csv"] == [0, 100, 150, 200]
    assert rows[1]["timestamp"] == "2024-05-02 06:20:00"


def test_a_file_is_completed_and_nothing_else_of_it_changes(run, sensors, tmp_path):
    source = sensors / "pump-0.csv"
    assert call("-q", "impute", run, source, "--out", tmp_path / "filled.csv") == 0
    assert call("-q", "impute", run, source, "--out", tmp_path / "folder") == 0
    same = (tmp_path / "folder" / source.name).read_bytes()
    assert same == (tmp_path / "filled.csv").read_bytes() != source.read_bytes()
    before, after = read(source), read(tmp_path / "filled.csv")
    filled = 0
    for old, new in zip(before, after, strict=True):
        for name, cell in old.items():
            if cell in ("", "NaN"):
                filled += 1
                low, high = {"flow": (5000, 15_000)}.get(name, (-80, 120))
                assert low < float(new[name]) < high
                assert len(new[name].partition(".")[2]) <= 2  # as in the files of training
            else:
                assert new[name] == cell
    assert filled > 240
    assert call("impute", run, tmp_path / "filled.csv", "--out", tmp_path / "x.csv") != 0
    assert call("-q", "impute", run, source, "--draws", 2, "--out", tmp_path / "many.csv") == 0
    assert read(tmp_path / "many-1.csv") != read(tmp_path / "many-2.csv")


def test_a_file_is_completed_in_its_own_notation(run, sensors, tmp_path):
    lines = (sensors / "pump-1.csv").read_text().splitlines()
    lines[0] = lines[0].replace("flow", " flow")
    lines[7:7] = [""]
    source, out = tmp_path / "x.csv", tmp_path / "filled.csv"
    source.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).replace(",", ";").encode() + b"\r\n")
    assert call("-q", "impute", run, source, "--out", out) == 0
    before, after = (path.read_bytes().split(b"\r\n") for path in (source, out))
    assert before[0] == after[0] and len(before) == len(after) and after[7] == b""
    changed = 0
    for old, new in zip(before, after, strict=True):
        for a, b in zip(old.split(b";"), new.split(b";"), strict=True):
            assert a == b or (a in (b"", b"NaN") and float(b))
            changed += a != b
    assert changed > 20


def test_steps_after_the_end_of_a_series_are_not_imputed(run, sensors, tmp_path):
    lines = (sensors / "pump-1.csv").read_text().splitlines()
    lines[-1] = ",".join([*lines[-1].split(",")[:2], "", ""])  # exists, but nothing is observed
    source, out = tmp_path / "x.csv", tmp_path / "filled.npz"
    source.write_text("\n".join(lines[:231]) + "\n" + lines[-1] + "\n")
    assert call("-q", "impute", run, source, "--out", out) == 0
    arrays = np.load(out)
    x, mask = arrays["x"], arrays["mask"]
    assert x.shape == mask.shape == (3, 100, 2)
    assert mask[:2].all() and mask[2, :31].all() and not mask[2, 31:].any()
    assert len(np.unique(x[2, 31:], axis=0)) == 1  # padded, and not drawn
    complete = tmp_path / "complete.npz"  # padding alone is nothing to impute
    np.savez(complete, x=x, lengths=[100, 100, 31])
    assert call("impute", run, complete, "--out", out) == 1
    holes = arrays["x"].copy(), np.ones((3, 100, 2), bool)
    holes[1][0, 4] = False
    np.savez(complete, x=holes[0], mask=holes[1], lengths=[100, 100, 31])
    assert call("-q", "impute", run, complete, "--out", out) == 0
    assert (np.load(out)["mask"] == mask).all()
    assert (np.load(out)["x"][0, 4] != 0).all()
    assert call("-q", "impute", run, complete, "--out", tmp_path / "many.csv") == 0
    assert len(read(tmp_path / "many.csv")) == 231


def test_samples_and_reconstructions_are_files_of_the_same_kind(run, sensors, tmp_path):
    assert call("-q", "sample", run, "-n", 3, "--steps", 20, "--out", tmp_path / "new") == 0
    files = sorted((tmp_path / "new").iterdir())
    assert [file.name for file in files] == ["1.csv", "2.csv", "3.csv"]
    assert list(read(files[0])[0]) == ["step", "temperature [C]", "flow"]
    assert call("-q", "sample", run, "-n", 3, "--steps", 20, "--out", tmp_path / "new.csv") == 0
    one = [row for row in read(tmp_path / "new.csv") if row["example"] == "1"]
    assert [row["flow"] for row in one] == [row["flow"] for row in read(files[1])]
    for source in ("new", "new.csv"):  # the model reads what it wrote
        assert call("-q", "score", run, tmp_path / source, "--out", tmp_path / "s.csv") == 0
        assert len(read(tmp_path / "s.csv")) == 3
    out = tmp_path / "rec.csv"
    assert call("-q", "reconstruct", run, sensors / "pump-2.csv", "--out", out) == 0
    values = [float(row["flow"]) for row in read(out)]
    assert 5000 < min(values) < max(values) < 15_000
    (tmp_path / "other.csv").write_text("timestamp,flow\n2024-05-01,3\n")
    assert call("score", run, tmp_path / "other.csv", "--out", out) != 0
    assert call("-q", "sample", run, "-n", 5, "--out", tmp_path / "new.png") == 0


def test_a_picture_has_an_axis_for_each_channel_over_time(sensors):
    data = Sequences(
        path=str(sensors),
        time="timestamp",
        columns=["flow", "temperature [C]"],
        missing="hide",
        units={"flow": "l/h"},
    )
    series = [torch.rand(40, 2), torch.rand(30, 2)]
    series[0][5:9, 0] = torch.nan
    figure = draw_channels(data.spec, series, None, [])
    axes = figure.axes
    assert [axis.get_ylabel() for axis in axes] == ["flow [l/h]", "", "temperature [C]", ""]
    assert axes[2].get_xlabel() == "time, hours" and axes[0].get_ylim() == axes[1].get_ylim()
    times, values = axes[0].lines[0].get_data()
    assert times[12] == pytest.approx(1) and np.isnan(values[5:9]).all()


def test_classes_of_folders_condition_a_model_of_cells(tmp_path, composed, with_cells):
    for i in range(24):
        folder = tmp_path / "data" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        write_sensor(folder / f"{i}.csv", 12 + i % 5, seed=i, missing=0.2)
    source = {"type": "sequences", "path": str(tmp_path / "data"), "missing": "hide"}
    source |= {"columns": ["flow", "temperature [C]"], "batch_size": 8}
    model = {
        "latent_dim": 2,
        "encoder": {"type": "recurrent", "hidden": [8], "units": 8},
        "latents": {"type": "chain", "units": 8, "hidden": 8},
        "decoder": {"type": "steps", "hidden": [8]},
        "likelihood": "normal",
        "condition": {"type": "label"},
    }
    task, batch = composed({"spec": "vaezoo/v2", "name": "c", "data": source, "model": model})
    model = task.model.eval()
    elbos = []
    for hidden in (0.0, torch.nan):
        torch.manual_seed(0)
        elbos.append(model(with_hidden(batch, hidden)).mean_elbo)
    assert torch.equal(*elbos) and elbos[0].isfinite().all()
    assert tuple(model.sample(2, condition="a", steps=5, seed=0).shape) == (2, 5, 2)

"""Scores of disentanglement on factors that users give with their data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import vaezoo
from vaezoo.cli.main import cli

N, VALUES = 1500, 5
METRICS = [
    "mig",
    {"type": "dci", "trees": 3},
    "sap",
    "modularity",
    {"type": "factor-vae-score", "train": 500, "test": 200, "batch": 16},
    {"type": "beta-vae-score", "train": 500, "test": 200, "batch": 16},
]


def latent_values(seed=0):
    """Three independent values for each example, int64 ``[N, 3]``."""
    return np.random.default_rng(seed).integers(VALUES, size=(N, 3))


def to_x(values):
    return (values - 2.0) / np.sqrt(2.0)


def table(values, factors):
    lines = ["a,b,c,hue,size,kind"]
    kinds = "vwxyz"
    for x, (hue, size, kind) in zip(to_x(values), factors):
        lines.append(",".join([*map(str, x), f"{hue / 4}", str(size), kinds[kind]]))
    return "\n".join(lines)


@pytest.fixture
def own(tmp_path):
    """The options of a data set with given factors: ``own("npz", values, factors)``."""

    def write(kind, values, factors):
        path = tmp_path / f"x.{'npz' if kind == 'npz' else 'csv'}"
        if kind == "npz":
            np.savez(path, x=to_x(values).astype(np.float32), factors=factors)
            return {"type": "npz", "path": str(path)}
        path.write_text(table(values, factors))
        return {"type": "table", "path": str(path), "factors": ["hue", "size", "kind"]}

    return write


@pytest.fixture
def scores(tmp_path, monkeypatch):
    """The scores of a model whose posterior means are its inputs."""
    monkeypatch.setattr("vaezoo.runs.report.page.write_report", lambda run: None)

    def measure(data):
        blocks = {
            "spec": "vaezoo/v2",
            "name": "own",
            "data": {**data, "batch_size": 256},
            "model": {
                "latent_dim": 3,
                "encoder": {"type": "mlp", "hidden": [6]},
                "decoder": {"type": "mlp", "hidden": [6]},
                "likelihood": "normal",
            },
            "train": {"steps": 1, "device": "cpu"},
            "evaluate": [],
        }
        run = vaezoo.run(blocks, out=tmp_path / "runs")
        with torch.no_grad():
            # x = relu(x) - relu(-x)
            weight, bias = run.model.encoder.parameters()  # [6, 3], [6]
            weight.copy_(torch.cat([torch.eye(3), -torch.eye(3)]))
            bias.zero_()
            weight, bias = run.model.latents.posterior.parameters()  # [2 * 3, 6]: mean, scale
            weight.zero_()[:3] = torch.cat([torch.eye(3), -torch.eye(3)], 1)
            bias.zero_()
        batch = run.data().first(8)
        torch.testing.assert_close(run.model.encode(batch), batch.x)
        metrics = run.evaluate("train", METRICS)["metrics"]
        return {name: result["value"] for name, result in metrics.items()}

    return measure


@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_latents_that_are_the_factors_score_1_and_others_0(kind, own, scores):
    found = scores(own(kind, latent_values(), latent_values()))
    high = ["mig", "modularity", "dci_disentanglement", "dci_completeness", "factor_vae_score"]
    assert all(found[name] > 0.9 for name in high), found
    assert found["dci_informativeness"] > 0.99 and found["beta_vae_score"] > 0.95
    assert found["sap"] > 0.2  # a threshold separates ordered values badly
    found = scores(own(kind, latent_values(), latent_values(seed=1)))
    assert all(found[name] < 0.1 for name in ("mig", "sap", "dci_completeness")), found
    assert found["dci_informativeness"] < 0.35  # chance is 1/5
    assert found["factor_vae_score"] < 0.6 and found["beta_vae_score"] < 0.6  # chance is 1/3


def test_factors_have_the_names_and_values_of_their_columns(own):
    data = vaezoo.load_spec(
        {
            "spec": "vaezoo/v2",
            "name": "own",
            "data": own("csv", latent_values(), latent_values()),
            "model": {
                "latent_dim": 3,
                "encoder": "mlp",
                "decoder": "mlp",
                "likelihood": "normal",
            },
        }
    ).data.build()
    assert data.spec.shape == (3,) and [field.name for field in data.spec.fields] == [*"abc"]
    hue, size, kind = data.spec.factors
    assert hue.categories == ("0", "0.25", "0.5", "0.75", "1") and hue.kind == "ordinal"
    assert size.categories == tuple("01234") and kind.categories == tuple("vwxyz")
    split = data.split("test")
    values = split.x[:, :1] * data.spec.fields[0].scale + data.spec.fields[0].offset
    torch.testing.assert_close(values[:, 0] * 2**0.5 + 2, split.factors[:, 0].float())


def test_the_command_evaluates_scores_of_own_factors(own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = own("npz", latent_values(), latent_values())
    (tmp_path / "own.yaml").write_text(
        f"""
        spec: vaezoo/v2
        name: own
        data: {{type: npz, path: {data["path"]}, batch_size: 512}}
        model: {{latent_dim: 3, encoder: mlp, decoder: mlp, likelihood: normal}}
        train: {{steps: 1, device: cpu}}
        evaluate: [mig]
        """
    )
    result = CliRunner().invoke(cli, ["run", "own.yaml"])
    assert result.exit_code == 0, result.output
    assert "mig" in result.output


def test_scores_without_factors_are_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("x.npz", x=to_x(latent_values()).astype(np.float32))
    blocks = "data={type: npz, path: x.npz}"
    result = CliRunner().invoke(cli, ["new", "spec", "own.yaml"])
    assert result.exit_code == 0, result.output
    model = "model={latent_dim: 3, encoder: mlp, decoder: mlp, likelihood: normal}"
    options = ["-s", blocks, "-s", model, "-s", "train={steps: 1}", "-s", "evaluate=[]"]
    assert CliRunner().invoke(cli, ["run", "own.yaml", *options]).exit_code == 0
    (run,) = tmp_path.glob("runs/*/*")
    result = CliRunner().invoke(cli, ["evaluate", str(run), "--metric", "mig"])
    assert result.exit_code and "needs data with known factors" in result.output
    assert "Traceback" not in result.output


def test_images_have_the_factors_of_a_csv_file(tmp_path):
    random = np.random.default_rng(0)
    lines = ["file,shade,side"]
    for i in range(30):
        side = "left" if i % 2 else "right"
        (tmp_path / "photos" / side).mkdir(parents=True, exist_ok=True)
        pixels = np.full((4, 4), 8 * i, np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / side / f"{i}.png")
        lines.append(f"{side}/{i}.png,{8 * i},{side}")
    random.shuffle(lines[1:])
    (tmp_path / "factors.csv").write_text("\n".join(lines))
    data = vaezoo.load_spec(
        {
            "spec": "vaezoo/v2",
            "name": "own",
            "data": {
                "type": "image-folder",
                "path": str(tmp_path / "photos"),
                "channels": 1,
                "factors": str(tmp_path / "factors.csv"),
            },
            "model": {
                "latent_dim": 3,
                "encoder": "mlp",
                "decoder": "mlp",
                "likelihood": "bernoulli",
            },
        }
    ).data.build()
    assert [field.name for field in data.spec.factors] == ["shade", "side"]
    for name in ("train", "validation", "test"):
        split = data.split(name)
        assert torch.equal(split.factors[:, 0] * 8, split.x[:, 0, 0, 0].long())
        assert torch.equal(split.factors[:, 1], split.condition)

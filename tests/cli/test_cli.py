"""The command line, run as users run it."""

from __future__ import annotations

import csv
import importlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from tests.commands import VAEZOO, run_forked
from vaezoo.utils.packaged import ROOT

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
FAST = ["-s", "train.epochs=2", "-s", "evaluate=[elbo]"]


def vaezoo(*args, cwd=None, check=None, **environment):
    done = run_forked(*args, cwd=cwd, **environment)
    if check is not None:
        assert done.returncode == check, done.stderr
    return done


def width(path):
    with Image.open(path) as picture:
        return picture.size[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The directory of one finished run, from the JSON output."""
    out = tmp_path_factory.mktemp("runs")
    done = vaezoo("run", ROOT / "examples/vae-digits.yaml", *FAST, "--out", out, "--json", check=0)
    result = json.loads(done.stdout)
    assert (
        result["schema_version"] == 1
        and result["evaluation"]["metrics"]["elbo"]["examples"] == 270
    )
    return result["run"]


def test_a_run_leaves_everything_it_promises(run):
    names = {str(p.relative_to(run)) for p in Path(run).rglob("*") if p.is_file()}
    promised = {
        "spec.yaml",
        "environment.json",
        "metrics.jsonl",
        "model.safetensors",
        "evaluation.json",
        "report.html",
    }
    promised |= {
        f"pictures/{name}.png"
        for name in (
            "samples",
            "reconstructions",
            "curves",
            "latents",
            "interpolations",
            "traversals",
        )
    }
    assert promised <= names
    assert [n for n in names if n.startswith("checkpoint/step-")]
    assert not [n for n in names if ".tmp-" in n]
    report = (Path(run) / "report.html").read_text()
    assert report.count("data:image/png;base64,") == 6 and "vae-digits" in report
    assert not re.search(r'(src|href)="(?!data:)', report), (
        "the page must need nothing beside itself"
    )
    environment = json.loads((Path(run) / "environment.json").read_text())
    assert {
        "vaezoo",
        "torch",
        "python",
        "device",
        "plugins",
        "git",
        "threads",
    } <= environment.keys()


def test_help_and_plugins_import_nothing_heavy():
    for arguments in (["--help"], ["plugins"], ["list"], ["run", "--help"]):
        code = (
            f"import sys; sys.argv = ['vaezoo', *{arguments!r}]\n"
            "try:\n    from vaezoo.cli.main import main; main()\n"
            "except SystemExit as end: assert not end.code, end.code\n"
            "heavy = ('torch', 'numpy', 'torchvision', 'sklearn', 'matplotlib', 'pydantic',"
            " 'vaezoo_mnist.dataset')\n"
            "print('HEAVY', [m for m in heavy if m in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            check=True,
        )
        assert done.stdout.strip().endswith("HEAVY []")


def test_importing_vaezoo_does_not_import_torch():
    code = (
        "import sys, vaezoo; assert 'torch' not in sys.modules; "
        "vaezoo.Batch; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=ENVIRONMENT)


def test_every_public_name_is_there():
    import vaezoo as package

    importlib.import_module(
        "vaezoo.testing"
    )  # after which every module is an attribute of the package
    for name in package.__all__:
        assert not isinstance(getattr(package, name), ModuleType), name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = package.nonsense


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["runn"], 2, "no command 'runn'; did you mean 'run'?"),
        (["run"], 2, "Missing argument 'SPEC'"),
        (["run", "absent.yaml"], 3, "absent.yaml:1:1: cannot be read: No such file or directory"),
        (
            ["run", "SPEC", "-s", "train.epochs=x"],
            3,
            "-s train.epochs=x:1:1: train.epochs: must be an integer",
        ),
        (["run", "SPEC", "-s", "epochs"], 2, "write key.path=value"),
        (
            ["run", "SPEC", "-s", "model.encoder.type=convv"],
            3,
            "no encoder named 'convv'; did you mean 'conv'?",
        ),
        (["run", "SPEC", "-s", "train.device=cuda:7"], 5, "device 'cuda:7' is not available"),
        (
            ["run", "SPEC", "-s", 'requires=["nope-nope>=1"]'],
            6,
            "needs nope-nope>=1; pip install 'nope-nope>=1'",
        ),
        (["run", "SPEC", "-s", "data={type: npz, path: /absent.npz}"], 1, "no /absent.npz"),
        (["resume", "/absent"], 2, "/absent: not a run"),
        (["evaluate", "/absent"], 2, "/absent: not a run"),
        (["list", "encoders"], 2, "no kind 'encoders'; did you mean 'encoder'?"),
        (["show", "encoder", "mpl"], 6, "no encoder named 'mpl'; did you mean 'mlp'?"),
        (["plugins", "info", "vaezo"], 6, "no plugin 'vaezo'; did you mean 'vaezoo'?"),
        (
            ["new", "spec", "x.yaml", "--from", "vae-digit"],
            2,
            "no example 'vae-digit'; did you mean 'vae-digits'?",
        ),
    ],
)
def test_errors_are_one_line_with_their_exit_code(tmp_path, arguments, code, message):
    spec = str(ROOT / "examples/vae-digits.yaml")
    done = vaezoo(*[spec if a == "SPEC" else a for a in arguments], cwd=tmp_path)
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and message in lines[0], done.stderr
    assert "Traceback" not in done.stderr and not done.stdout


def test_dry_run_shows_spec_shapes_and_a_batch_and_writes_nothing(tmp_path):
    done = vaezoo("run", ROOT / "examples/vae-digits.yaml", "--dry-run", cwd=tmp_path, check=0)
    assert "latent_dim: 8" in done.stdout
    assert re.search(r"encoder\s+mlp\s+64 x 128\s+49,536", done.stdout)
    assert re.search(r"total\s+102,224", done.stdout)
    assert re.search(r"model: loss -?\d+\.\d+, distortion", done.stdout)
    assert not list(tmp_path.iterdir())


def test_dry_run_finds_parts_that_do_not_fit(tmp_path):
    spec = ROOT / "examples/vae-digits.yaml"
    done = vaezoo(
        "run",
        spec,
        "--dry-run",
        "-s",
        "model.decoder={type: patch, patch: 3}",
        cwd=tmp_path,
        check=3,
    )
    assert (
        "model.decoder: decoder 'patch': patches of 3 do not tile an image of 8x8" in done.stderr
    )


def test_evaluate_repeats_the_figures_of_the_run(run):
    stored = (Path(run) / "evaluation.json").read_text()
    before = json.loads(stored)
    del before["digest"]
    result = json.loads(vaezoo("evaluate", run, "--json", check=0).stdout)["evaluation"]
    assert result == before
    other = vaezoo(
        "evaluate",
        run,
        "validation",
        "--metric",
        "{type: nll, samples: 7}",
        "--json",
        check=0,
    )
    metric = json.loads(other.stdout)["evaluation"]["metrics"]["nll"]
    assert metric["samples"] == 7 and 1 <= metric["effective_sample_size"] <= 7
    assert (Path(run) / "evaluation.json").read_text() == stored, "other metrics are only shown"
    table = vaezoo("evaluate", run, check=0).stdout
    assert "elbo" in table and "nats per example" in table


def test_sample_writes_pictures_and_arrays(run, tmp_path):
    vaezoo("sample", run, "-n", 9, "--out", tmp_path / "s.png", check=0)
    assert width(tmp_path / "s.png") > 3 * 8
    for name in ("a", "b"):
        vaezoo("sample", run, "-n", 9, "--seed", 4, "--out", tmp_path / f"{name}.npz", check=0)
    one, two = (np.load(tmp_path / f"{name}.npz")["x"] for name in "ab")
    assert one.shape == (9, 1, 8, 8) and np.array_equal(one, two)
    assert vaezoo("sample", run, "--out", tmp_path / "s.jpg").returncode == 2


def test_encode_writes_latents_and_labels(run, tmp_path):
    vaezoo("encode", run, "--out", tmp_path / "z.npz", check=0)
    arrays = np.load(tmp_path / "z.npz")
    assert arrays["mean"].shape == (270, 8) and arrays["label"].shape == (270,)
    vaezoo("encode", run, "-n", 5, "--out", tmp_path / "z.csv", check=0)
    rows = list(csv.reader((tmp_path / "z.csv").read_text().splitlines()))
    assert rows[0] == ["example", *(f"z{i}" for i in range(8)), "label"] and len(rows) == 6
    assert np.allclose(np.array(rows[1:], float)[:, 1:9], arrays["mean"][:5], atol=1e-5)


def test_reconstruct_and_interpolate_draw(run, tmp_path):
    vaezoo("reconstruct", run, "-n", 16, "--out", tmp_path / "r.png", check=0)
    vaezoo(
        "interpolate",
        run,
        "--from",
        1,
        "--to",
        2,
        "--steps",
        5,
        "--out",
        tmp_path / "i.npz",
        check=0,
    )
    assert width(tmp_path / "r.png") > 16 * 8
    assert np.load(tmp_path / "i.npz")["x"].shape == (5, 1, 8, 8)
    assert (
        "has 270 examples"
        in vaezoo("interpolate", run, "--to", 9999, cwd=tmp_path, check=2).stderr
    )


def test_an_unfinished_run_cannot_be_used_but_resumed(tmp_path):
    command = [
        sys.executable,
        "-m",
        "vaezoo",
        "run",
        str(ROOT / "examples/vae-digits.yaml"),
        "--out",
        str(tmp_path),
    ]
    environment = {**ENVIRONMENT, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [*command, "-s", "train.epochs=2000"], stderr=subprocess.PIPE, text=True, env=environment
    )
    for line in process.stderr:
        if "validation" in line:
            break
    process.send_signal(signal.SIGTERM)
    rest = process.stderr.read()
    assert process.wait(60) == 130
    process.stderr.close()
    assert "last good checkpoint" in rest
    (stopped,) = (tmp_path / "vae-digits").iterdir()
    done = vaezoo("sample", stopped, check=2)
    assert "the run is not finished; vaezoo resume" in done.stderr
    vaezoo("resume", stopped, "-s", "train.epochs=20", check=0)
    vaezoo("sample", stopped, "--out", tmp_path / "s.png", check=0)


def test_quiet_says_nothing_and_progress_goes_to_stderr(tmp_path):
    spec = ROOT / "examples/vae-digits.yaml"
    loud = vaezoo("run", spec, *FAST, "--out", tmp_path, check=0)
    assert "validation" in loud.stderr and "step" not in loud.stdout
    assert "report.html" in loud.stdout
    assert not vaezoo("-q", "run", spec, *FAST, "--out", tmp_path, check=0).stderr


def test_validate_reports_every_problem_of_every_file(tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    vaezoo("new", "spec", good, check=0)
    assert "exists" in vaezoo("new", "spec", good, check=2).stderr
    bad.write_text(
        good.read_text().replace("latent_dim: 8", "latent_dim: none").replace("name:", "nmae:")
    )
    done = vaezoo("validate", good, bad, check=3)
    assert "good.yaml: valid" in done.stderr
    assert done.stderr.count("error: ") == 3  # a wrong type, an unknown key, and the missing one
    result = json.loads(vaezoo("validate", good, bad, "--json", check=3).stdout)
    assert [r["valid"] for r in result["results"]] == [True, False]
    assert {p["line"] for p in result["results"][1]["problems"]} >= {3, 6}


def test_schema_is_json(tmp_path):
    vaezoo("schema", "--out", tmp_path / "schema.json", check=0)
    schema = json.loads((tmp_path / "schema.json").read_text())
    assert "encoder" in schema["$defs"]


def test_list_and_show_know_every_component():
    listed = json.loads(vaezoo("list", "--json", check=0).stdout)["components"]
    assert len(listed) > 30
    displayed = json.loads(vaezoo("show", "encoder", "conv", "--json", check=0).stdout)
    options = {option["name"]: option for option in displayed["options"]}
    assert options["channels"]["default"] == "[32, 64]" and options["channels"]["description"]
    assert "did you mean" not in vaezoo("show", "prior", "mixture", check=0).stdout


def test_every_option_of_every_component_is_described():
    from vaezoo.plugins import discovery
    from vaezoo.spec.reference import describe

    for entry in discovery.discover().all():
        result = (
            describe(entry.kind, entry.name)
            if entry.plugin in ("vaezoo", "vaezoo-mnist")
            else {"options": []}
        )
        for option in result["options"]:
            assert option["description"], f"{entry}: {option['name']}"


def test_doctor_passes(tmp_path):
    assert "all in order" in vaezoo("plugins", "doctor", check=0).stdout


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path):
    """A limit on file size imitates a disk that becomes full during the first checkpoint."""
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    )
    spec = ROOT / "examples/vae-digits.yaml"
    done = run_forked("run", spec, *FAST, "--out", tmp_path, code=code + VAEZOO)
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if line.startswith("error: cannot write")]
    (left,) = (tmp_path / "vae-digits").iterdir()
    assert not list(left.rglob(".tmp-*")) and not list(left.rglob("step-*"))
    vaezoo("resume", left, check=0)


def test_help_imports_few_modules_and_searches_no_plugins():
    code = (
        "import json, sys; before = set(sys.modules); sys.argv = ['vaezoo', '--help']\n"
        "try:\n    from vaezoo.cli.main import main; main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True
    )
    imported = json.loads(done.stdout.splitlines()[-1])
    own = {name for name in imported if name.startswith("vaezoo")}
    assert own <= {
        "vaezoo",
        "vaezoo.cli",
        "vaezoo.cli.group",
        "vaezoo.cli.main",
        "vaezoo.utils",
        "vaezoo.utils.errors",
        "vaezoo.utils.exit_codes",
        "vaezoo.utils.launch",
        "vaezoo.utils.own_process",
    }
    assert "importlib.metadata" not in imported, "the installed packages were searched for plugins"
    assert len(imported) < 150  # about 100; torch alone brings more than 1,000


def test_training_goes_on_where_nobody_reads_its_progress(tmp_path):
    command = [
        sys.executable,
        "-m",
        "vaezoo",
        "run",
        ROOT / "examples/vae-digits.yaml",
        *FAST,
        "--out",
        tmp_path,
        "--json",
    ]
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        process.stderr.close()
        reported = json.loads(process.stdout.read())
    assert process.returncode == 0 and Path(reported["run"], "report.html").is_file()


MODEL = "model: {latent_dim: 2, encoder: mlp, decoder: mlp, likelihood: bernoulli}"


def test_a_plugin_that_is_left_out_is_as_if_it_were_not_there(tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(f"spec: vaezoo/v1\nname: x\ndata: mnist\n{MODEL}\ntrain: {{steps: 1}}\n")
    vaezoo("validate", spec, check=0)
    done = vaezoo("--no-plugin", "mnist", "validate", spec, check=3)
    assert "no dataset named 'mnist'" in done.stderr


def test_a_folder_of_images_goes_all_the_way(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(20):
            grey = np.random.default_rng(index).integers(0, 256, (8, 8), np.uint8)
            Image.fromarray(grey).save(tmp_path / "images" / name / f"{index}.png")
    spec = tmp_path / "spec.yaml"
    data = "{type: image-folder, path: images, batch_size: 8}"
    spec.write_text(
        f"spec: vaezoo/v1\nname: f\ndata: {data}\n{MODEL}\n"
        "train: {epochs: 1}\nevaluate: [elbo]\n"
    )
    result = json.loads(
        vaezoo("run", spec, "--out", tmp_path / "runs", "--json", cwd=tmp_path, check=0).stdout
    )
    assert Path(result["run"], "report.html").is_file()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not an npz file"),
        (b"PK\x05\x06" + bytes(18), "has no array 'x'"),
        ({"y": np.zeros(3)}, "has no array 'x'"),
        ({"x": np.full((4, 1, 8, 8), 7.0)}, "'x' row 0 must have numbers from 0 to 1"),
        (
            {
                "x": np.where(
                    np.arange(4)[:, None, None, None] == 2, np.nan, np.zeros((4, 1, 8, 8))
                )
            },
            "'x' row 2 holds NaN or infinity",
        ),
    ],
)
def test_a_file_that_cannot_be_scored_is_one_line(run, tmp_path, content, words):
    if isinstance(content, dict):
        np.savez(tmp_path / "x.npz", **content)
    else:
        (tmp_path / "x.npz").write_bytes(content)
    done = vaezoo("score", run, tmp_path / "x.npz", check=1)
    assert len(done.stderr.splitlines()) == 1 and words in done.stderr


def test_a_metric_asked_for_that_is_not_defined_is_a_failure(run):
    done = vaezoo(
        "evaluate",
        run,
        "--metric",
        "{type: anomaly, anomalous: ['x']}",
        "--metric",
        "elbo",
        check=1,
    )
    message = "error: not defined for this model or data: anomaly: no class 'x'; known"
    assert done.stderr.startswith(message) and "elbo" in done.stdout


def test_a_metric_mistyped_is_told_where(run):
    done = vaezoo("evaluate", run, "--metric", "elbos", check=3)
    assert done.stderr == "error: --metric:1:1: no metric named 'elbos'; did you mean 'elbo'?\n"


def test_problems_of_components_and_of_torch_come_together(tmp_path):
    spec = tmp_path / "spec.yaml"
    train = "{epochz: 3, optimizer: {type: adamm}, scheduler: cosin-annealing}"
    spec.write_text(f"spec: vaezoo/v1\nname: x\ndata: digitz\n{MODEL}\ntrain: {train}\n")
    lines = vaezoo("validate", spec, check=3).stderr.splitlines()
    assert [line.split(": ")[2] for line in lines] == [
        "data",
        "train.epochz",
        "train.optimizer.type",
        "train.scheduler.type",
    ]

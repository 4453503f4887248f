"""Paths whose bytes are no text are written to and read from like others."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np

from vaezoo.utils.packaged import ROOT

BYTES = b"out\xff \xfe"


def vaezoo(folder, *words):
    return subprocess.run(
        [sys.executable, "-m", "vaezoo", *words],
        cwd=folder,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"},
    )


def strict_json(data):
    """A document that any reader accepts: UTF-8 without halves of surrogate pairs."""
    value = json.loads(data.decode())
    json.dumps(value, ensure_ascii=False).encode()
    return value


def test_a_run_and_what_is_made_of_it_may_have_any_path(tmp_path):
    spec = str(ROOT / "examples/vae-digits.yaml")
    short = ("-s", "train.steps=2", "-s", "evaluate=[elbo]")
    done = vaezoo(tmp_path, "run", spec, *short, "--out", BYTES, "--json")
    assert done.returncode == 0, done.stderr
    assert strict_json(done.stdout)["run"].startswith("out\\udcff \\udcfe/vae-digits/")
    (run,) = (tmp_path / os.fsdecode(BYTES) / "vae-digits").iterdir()
    for name in ("environment.json", "evaluation.json"):
        strict_json((run / name).read_bytes())
    quoted = rf"$'out\xff \xfe/vae-digits/{run.name}'".encode()
    for line in (
        b"$V sample $P --out $'\xff.npz' --json",
        b"$V score $P --out $'\xff.csv' --json",
        b"$V encode $P --out $'\xff.csv' --json",
        b"$V evaluate $P --json",
        b"$V resume $P --json",
    ):
        line = line.replace(b"$V", f"{sys.executable} -m vaezoo".encode())
        made = subprocess.run(
            ["bash", "-c", line.replace(b"$P", quoted)], cwd=tmp_path, capture_output=True
        )
        assert made.returncode == 0, made.stderr
        strict_json(made.stdout)
    assert np.load(tmp_path / os.fsdecode(b"\xff.npz"))["x"].shape[1:] == (1, 8, 8)


def test_a_folder_of_registries_may_have_any_path(tmp_path):
    folder = tmp_path / os.fsdecode(BYTES)
    folder.mkdir()
    (folder / "registry.yaml").write_bytes((ROOT / "registry.yaml").read_bytes())
    done = vaezoo(tmp_path, "weights", "list", "--registry", b"odd=" + BYTES, "--json")
    assert done.returncode == 0, done.stderr
    strict_json(done.stdout)

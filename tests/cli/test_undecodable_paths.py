"""Paths whose bytes are no text are written to and read from like others."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np

from tests.commands import run_forked
from vaezoo.utils.packaged import ROOT

BYTES = b"out\xff \xfe"


def strict_json(data):
    """A document that any reader accepts: UTF-8 without halves of surrogate pairs."""
    value = json.loads(data.decode())
    json.dumps(value, ensure_ascii=False).encode()
    return value


def test_a_run_and_what_is_made_of_it_may_have_any_path(tmp_path):
    spec = str(ROOT / "examples/vae-digits.yaml")
    short = ("-s", "train.steps=2", "-s", "evaluate=[elbo]")
    done = run_forked("run", spec, *short, "--out", BYTES, "--json", cwd=tmp_path, text=False)
    assert done.returncode == 0, done.stderr
    assert strict_json(done.stdout)["run"].startswith("out\\udcff \\udcfe/vae-digits/")
    (run,) = (tmp_path / os.fsdecode(BYTES) / "vae-digits").iterdir()
    for name in ("environment.json", "evaluation.json"):
        strict_json((run / name).read_bytes())
    path = BYTES + b"/vae-digits/" + run.name.encode()
    for words in (
        ("sample", path, "--out", b"\xff.npz"),
        ("score", path, "--out", b"\xff.csv"),
        ("encode", path, "--out", b"\xff.csv"),
        ("evaluate", path),
        ("resume", path),
    ):
        made = run_forked(*words, "--json", cwd=tmp_path, text=False)
        assert made.returncode == 0, made.stderr
        strict_json(made.stdout)
    assert np.load(tmp_path / os.fsdecode(b"\xff.npz"))["x"].shape[1:] == (1, 8, 8)


def test_a_folder_of_registries_may_have_any_path(tmp_path):
    folder = tmp_path / os.fsdecode(BYTES)
    folder.mkdir()
    (folder / "registry.yaml").write_bytes((ROOT / "registry.yaml").read_bytes())
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "vaezoo",
            "weights",
            "list",
            "--registry",
            b"odd=" + BYTES,
            "--json",
        ],
        cwd=tmp_path,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    strict_json(done.stdout)

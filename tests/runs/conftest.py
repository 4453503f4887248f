"""Runs commands in several processes, as torchrun does."""

from __future__ import annotations

import socket
import textwrap

import numpy as np
import pytest
import yaml

from tests.commands import run_forked

TRAIN = {"epochs": 2, "log_every": 4, "checkpoint_every": 0, "ema": 0.9}


@pytest.fixture
def torchrun(tmp_path, spec):
    """Runs a command in two processes, in ``tmp_path``, where there is a file spec.yaml."""
    examples = np.random.default_rng(0).random((1200, 1, 8, 8), dtype=np.float32)
    np.savez(tmp_path / "examples.npz", x=examples)
    data = {"type": "npz", "path": "examples.npz"}  # digits would import scikit-learn: 3 s
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec(data=data, train=TRAIN)))

    def run(*command):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        launcher = ("--nproc-per-node", "2", "--master-port", port)
        code = "from torch.distributed.run import main; main()"
        return run_forked(*launcher, *command, code=code, cwd=tmp_path)

    return run


@pytest.fixture
def script(tmp_path):
    """Writes a Python script to ``tmp_path``; returns its name."""

    def write(text):
        (tmp_path / "script.py").write_text(textwrap.dedent(text))
        return "script.py"

    return write

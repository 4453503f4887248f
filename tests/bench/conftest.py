"""Suites of one small spec, whose jobs are done in the process of the test."""

from __future__ import annotations

import sys

import pytest
import yaml

from vaezoo.bench import pool, worker
from vaezoo.utils.files import read_json

SPEC = {
    "spec": "vaezoo/v2",
    "name": "tiny",
    "data": {"type": "digits", "batch_size": 128},
    "model": {
        "latent_dim": 2,
        "encoder": {"type": "mlp", "hidden": [8]},
        "decoder": {"type": "mlp", "hidden": [8]},
        "likelihood": "bernoulli",
    },
    "train": {"epochs": 2, "device": "cpu"},
    "evaluate": ["elbo"],
}


@pytest.fixture
def suite(tmp_path):
    """Writes a suite and its spec; returns the path of the suite."""
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(SPEC))

    def write(**blocks):
        base = {
            "bench": "vaezoo/bench/v1",
            "name": "small",
            "budget": {"steps": 3},
            "seeds": [0, 1],
            "variants": {"plain": {"spec": "spec.yaml"}},
        }
        path = tmp_path / "suite.yaml"
        path.write_text(yaml.safe_dump(base | blocks, sort_keys=False))
        return path

    return write


class _Ended:
    """A process that has ended."""

    def __init__(self, code):
        self.code = code

    def poll(self):
        return self.code


@pytest.fixture
def inline(monkeypatch, no_report):
    """Does each job in this process, at once; returns the list of jobs."""
    jobs = []

    def start(job, processes, slot):
        jobs.append(read_json(job))
        monkeypatch.setattr(sys, "argv", ["worker", str(job)])
        return _Ended(worker.main())

    monkeypatch.setattr(pool, "_start_worker", start)
    return jobs

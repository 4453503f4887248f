"""Installs the out-of-tree plugins with pip, each into a folder of its own."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from vaezoo.plugins import discovery
from vaezoo.utils.files import read_tensors

SOURCES = Path(__file__).parent


def pip_install(name, folder):
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*command, "--target", str(folder), str(SOURCES / name)], check=True, capture_output=True
    )
    return folder


@pytest.fixture(scope="session")
def target(tmp_path_factory):
    """Where pip put ``vaezoo-tiny``; on nobody's path yet."""
    return pip_install("vaezoo-tiny", tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def variants_target(tmp_path_factory):
    """Where pip put ``vaezoo-variants``; on nobody's path yet."""
    return pip_install("vaezoo-variants", tmp_path_factory.mktemp("site"))


def in_this_process(target, monkeypatch):
    monkeypatch.syspath_prepend(str(target))
    importlib.invalidate_caches()
    discovery._discovered.cache_clear()
    yield target
    discovery._discovered.cache_clear()


@pytest.fixture
def installed(target, monkeypatch):
    """``vaezoo-tiny`` in this process."""
    yield from in_this_process(target, monkeypatch)


@pytest.fixture
def variants(variants_target, monkeypatch):
    """``vaezoo-variants`` in this process."""
    yield from in_this_process(variants_target, monkeypatch)


def train_in_two(rank, folder, spec):
    """One of two processes: trains, without copying buffers from rank 0."""
    from datetime import timedelta
    from pathlib import Path

    import torch
    import torch.distributed as dist

    import vaezoo.runs.report.page
    from vaezoo.runs.start import run
    from vaezoo.utils.files import write_tensors
    from vaezoo.utils.process_group import ProcessGroup

    torch.set_num_threads(1)
    vaezoo.runs.report.page.write_report = lambda finished: None
    broadcast = ProcessGroup.broadcast_buffers  # of one module: where training starts
    ProcessGroup.broadcast_buffers = lambda self, *modules: (
        len(modules) > 1 or broadcast(self, *modules)
    )
    store = f"file://{folder}/store"
    dist.init_process_group(
        "gloo", init_method=store, rank=rank, world_size=2, timeout=timedelta(seconds=15)
    )
    if rank:  # the codes that this process begins with must not matter
        torch.manual_seed(1)
    done = run(spec, out=f"{folder}/runs")
    write_tensors(Path(folder, f"rank{rank}.safetensors"), done.model.state_dict(), {})
    dist.destroy_process_group()


@pytest.fixture
def trained_in_two(child, tmp_path, same):
    """The weights of a run of two processes, which both have to the last bit."""

    def train(changes):
        members = [child(train_in_two, rank, str(tmp_path), changes) for rank in (0, 1)]
        for process in members:
            process.join(90)
            assert process.exitcode == 0
        first, second = (read_tensors(tmp_path / f"rank{rank}.safetensors")[0] for rank in (0, 1))
        same(first, second)
        return first

    return train

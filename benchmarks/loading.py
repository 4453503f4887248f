"""How long the largest weights of the zoo take from disk to tensors, hash included, beside safetensors' own reading.

    python benchmarks/loading.py

Medians of 21 interleaved repetitions, the file in the system's cache. ``load_file`` maps the file, so its tensors are
copied once here, as their first use would; vaezoo reads, hashes, checks and parses the same bytes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from vaezoo.pretrained.loading import WEIGHTS, table
from vaezoo.pretrained.registries import Found, registries
from vaezoo.runs.opening import opened


def milliseconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - began)


def main() -> None:
    torch.set_num_threads(1)
    own = registries()[0]
    entry = max(own.entries, key=lambda each: each.size)
    found, file = Found(own, entry), next(file for file in entry.files if file.name == WEIGHTS)
    path = own.place(file.sources[0])
    assert isinstance(path, Path), "the zoo's weights lie beside its registry"
    acts: dict[str, Callable[[], object]] = {
        "vaezoo, verified": lambda: table(found, file),
        "load_file": lambda: {name: tensor.clone() for name, tensor in load_file(path).items()},
        "vaezoo.load, the model": lambda: opened(found),
    }
    times: dict[str, list[float]] = {name: [] for name in acts}
    for repetition in range(22):  # the first warms up
        for name, act in acts.items():
            spent = milliseconds(act)
            if repetition:
                times[name].append(spent)
    ours, theirs = (statistics.median(times[name]) for name in ("vaezoo, verified", "load_file"))
    for name, found_times in times.items():
        print(f"{name:24}{statistics.median(found_times):8.2f} ms")
    print(f"{entry.id}, {file.size / 1e6:.1f} MB; allowed {1.3 * theirs + file.size / 1e6:.2f} ms, took {ours:.2f} ms")


if __name__ == "__main__":
    main()

"""Times reading the largest weights of the zoo, compared with safetensors' ``load_file``.

    python benchmarks/loading.py

Prints medians of 21 interleaved repetitions, with the file in the page cache. ``load_file`` maps
the file into memory, so its tensors are copied once here, as their first use would do. vaezoo
reads, hashes, checks and parses the same bytes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from vaezoo.pretrained.loading import WEIGHTS_FILE, read_weights
from vaezoo.pretrained.registries import open_registries
from vaezoo.pretrained.registry import RegistryEntry
from vaezoo.runs.opening import open_entry


def milliseconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    torch.set_num_threads(1)
    registry = open_registries()[0]
    weights = max(registry.entries, key=lambda candidate: candidate.size)
    entry = RegistryEntry(registry, weights)
    file = next(file for file in weights.files if file.name == WEIGHTS_FILE)
    path = registry.locate(file.sources[0])
    assert isinstance(path, Path), "the zoo's weights are files in the repository"
    actions: dict[str, Callable[[], object]] = {
        "vaezoo, verified": lambda: read_weights(entry, file),
        "load_file": lambda: {name: tensor.clone() for name, tensor in load_file(path).items()},
        "vaezoo.load, the model": lambda: open_entry(entry),
    }
    times: dict[str, list[float]] = {name: [] for name in actions}
    for repetition in range(22):  # the first is a warm-up
        for name, action in actions.items():
            duration = milliseconds(action)
            if repetition:
                times[name].append(duration)
    medians = {name: statistics.median(durations) for name, durations in times.items()}
    for name, median in medians.items():
        print(f"{name:24}{median:8.2f} ms")
    megabytes = file.size / 1e6
    limit, median = 1.3 * medians["load_file"] + megabytes, medians["vaezoo, verified"]
    print(f"{weights.id}, {megabytes:.1f} MB: {median:.2f} ms, at most {limit:.2f} ms allowed")


if __name__ == "__main__":
    main()

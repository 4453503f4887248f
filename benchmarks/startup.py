"""Times start-up: ``vaezoo --help``, and ``vaezoo run`` to the first logged step.

    python benchmarks/startup.py

Prints medians of complete processes, interleaved.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time

import yaml

SPEC = {
    "spec": "vaezoo/v1",
    "name": "startup",
    "data": {"type": "mnist", "binarize": "dynamic"},
    "model": {"latent_dim": 16, "encoder": "mlp", "decoder": "mlp", "likelihood": "bernoulli"},
    "train": {"steps": 1, "log_every": 1},
}
FIRST_STEP = """
import os, sys
from vaezoo.runs.log import FileRunLog
original = FileRunLog.record
def leave(self, record):
    original(self, record)
    os._exit(0)
FileRunLog.record = leave
from vaezoo.cli.main import main
main(["-q", "run", sys.argv[1], "--out", sys.argv[2]])
"""


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        spec = f"{folder}/spec.yaml"
        with open(spec, "w", encoding="utf-8") as file:
            yaml.safe_dump(SPEC, file)
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "vaezoo --help": [sys.executable, "-m", "vaezoo", "--help"],
            'python -c "import torch"': [sys.executable, "-c", "import torch"],
            "vaezoo run, to the first step logged": [
                sys.executable,
                "-c",
                FIRST_STEP,
                spec,
                folder,
            ],
        }
        for command in commands.values():
            seconds(command)  # fills the page cache
        times = {name: [seconds(command)] for name, command in commands.items()}
        for _ in range(6):
            for name, command in commands.items():
                times[name].append(seconds(command))
    medians = {name: statistics.median(durations) for name, durations in times.items()}
    for name, durations in times.items():
        print(f"{name:40} {medians[name]:6.2f} s   ({min(durations):.2f}-{max(durations):.2f})")
    python, help_, torch_, run = medians.values()
    print(f"--help takes {help_ - python:.2f} s more than an empty process (target: at most 0.25)")
    print(
        f"the first step takes {run - torch_:.2f} s more than importing torch (target: at most 2)"
    )


if __name__ == "__main__":
    main()

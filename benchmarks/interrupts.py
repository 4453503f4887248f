"""Interrupts ``vaezoo run`` at moments spread over its first seconds, and counts how it ends.

    python benchmarks/interrupts.py [--count 100] [--seconds 4]

Each time a run of a small spec that would train for long is started, and sent SIGINT once. A
``sitecustomize`` in a temporary folder writes a byte to an inherited pipe right before the code of
the package ``vaezoo`` is executed; an interruption that finds the pipe empty came before the first
line of vaezoo, while Python itself was starting, and is counted apart.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

SITECUSTOMIZE = """
import importlib.machinery, os, sys

class _Marker:
    def find_spec(self, name, path=None, target=None):
        if name != "vaezoo":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        execute = spec.loader.exec_module
        def marked(module):
            os.write(int(os.environ["MARKER"]), b"1")
            execute(module)
        spec.loader.exec_module = marked
        return spec

sys.meta_path.insert(0, _Marker())
"""
SPEC = """
spec: vaezoo/v2
name: small
data: {type: digits, batch_size: 64}
model:
  latent_dim: 2
  encoder: {type: mlp, hidden: [16]}
  decoder: {type: mlp, hidden: [16]}
  likelihood: bernoulli
train: {epochs: 100000}
evaluate: [elbo]
"""


def interrupt_once(home: Path, seconds: float) -> tuple[bool, int, str]:
    """Starts a run and interrupts it after a time.

    Returns:
        Whether vaezoo's first line was reached, the exit code, and what stderr received.
    """
    reading, writing = os.pipe()
    environment = {**os.environ, "PYTHONPATH": str(home), "MARKER": str(writing)}
    process = subprocess.Popen(
        [sys.executable, "-m", "vaezoo", "run", "spec.yaml"],
        cwd=home,
        env=environment,
        pass_fds=[writing],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    time.sleep(seconds)
    started = bool(select.select([reading], [], [], 0)[0]) and os.read(reading, 1) == b"1"
    process.send_signal(signal.SIGINT)
    try:
        _, said = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:  # the interruption was lost
        process.kill()
        _, said = process.communicate()
    os.close(reading)
    return started, process.returncode, said


def describe(code: int, said: str, runs: set[Path], home: Path) -> str:
    """One word for the way in which a run ended, and whether it said how to resume."""
    kind = f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
    if "Traceback" in said or "Exception ignored" in said:
        kind += ", with a traceback"
    resumable = set(home.glob("runs/*/*/spec.yaml")) - runs
    if resumable and "vaezoo resume" not in said:
        kind += ", without the command to resume"
    return kind


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    # which a shell ignores in the background, and programs inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    counts: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "sitecustomize.py").write_text(SITECUSTOMIZE)
        (home / "spec.yaml").write_text(SPEC)
        for i in range(options.count):
            before = set(home.glob("runs/*/*/spec.yaml"))
            moment = options.seconds * (i + 0.5) / options.count
            started, code, said = interrupt_once(home, moment)
            kind = describe(code, said, before, home)
            counts[started][kind] += 1
            if started and kind != "exit code 130":
                print(f"after {moment:.2f} s: {kind}\n{said}")
    for started, where in ((True, "after vaezoo's first line"), (False, "before it")):
        print(f"{where}: {counts[started].total()}")
        for kind, count in counts[started].most_common():
            print(f"  {count:4}  {kind}")


if __name__ == "__main__":
    main()

"""Times vaezoo against hand-written loops, interleaved in one process; prints medians and ratios.

    python benchmarks/speed.py                 # three repetitions of everything
    python benchmarks/speed.py --quick         # one, for a look
    python benchmarks/speed.py --fp32-only     # on a CPU without units for bf16, where that takes ten times as long

(a) vaezoo through its public API, with everything a run has by default; (b) a plain loop with DataLoader; (c) the best
hand-written loop. Ratios are of (c)'s median time to (a)'s: 1.00 is the same speed, more is faster.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import handwritten
import torch

import vaezoo
from vaezoo.cli.progress import PlainProgress
from vaezoo.utils.allocator import tune_allocator

EPOCHS = {"mlp": 3, "conv": 1}
AFTER = 50
LAYERS = {
    "mlp": ({"type": "mlp", "hidden": [400, 400]}, {"type": "mlp", "hidden": [400, 400]}),
    "conv": ({"type": "conv", "channels": [32, 64]}, {"type": "conv", "channels": [64, 32]}),
}


def spec(kind: str, precision: str) -> dict[str, Any]:
    encoder, decoder = LAYERS[kind]
    return {
        "spec": "vaezoo/v1",
        "name": f"bench-{kind}",
        "data": {"type": "mnist", "binarize": "dynamic", "batch_size": 128},
        "model": {"latent_dim": 16, "encoder": encoder, "decoder": decoder, "likelihood": "bernoulli"},
        "train": {"epochs": EPOCHS[kind], "precision": precision},
        "evaluate": [],
    }


class Stopwatch(vaezoo.Callback):
    """Seconds from the record of step 50 to the last one."""

    def __init__(self) -> None:
        self.first = self.last = 0.0

    def log(self, record: Any) -> None:
        self.last = time.perf_counter()
        if record["step"] == AFTER:
            self.first = self.last


def train(given: dict[str, Any], out: str) -> tuple[vaezoo.Run, float]:
    """A run of a spec, and its seconds from step 50 on."""
    watch = Stopwatch()
    run = vaezoo.run(given, out=out, callbacks=[PlainProgress(), watch])
    return run, watch.last - watch.first


def timed(*actions: Callable[[], Any]) -> list[float]:
    """Median seconds of each action; they take turns after a warm-up, seven times, or twice where they are slow."""
    times: list[list[float]] = [[] for _ in actions]
    turn = 0
    while turn < 8 and (turn < 3 or times[0][0] < 1):
        for action, found in zip(actions, times, strict=True):
            started = time.perf_counter()
            action()
            found.append(time.perf_counter() - started)
        turn += 1
    return [statistics.median(found[1:]) for found in times]


def repetition(
    kind: str, data: dict[str, torch.Tensor], out: str, precisions: list[str]
) -> dict[str, dict[str, float]]:
    """One pass over every contender: rate of work, by job and contender."""
    found: dict[str, dict[str, float]] = {}
    examples = 50_000 * EPOCHS[kind] - 128 * AFTER
    x, grey = data["train"], data["test"].float() / 255
    for precision in precisions:
        run, seconds = train(spec(kind, precision), out)
        model = run.model
        model.precision = precision
        best, best_seconds = handwritten.train_best(kind, x, data["validation"], EPOCHS[kind], AFTER, precision)
        row = {"a": examples / seconds, "c": examples / best_seconds}
        if precision == "fp32":
            row["b"] = examples / handwritten.train_plain(kind, x, data["validation"], EPOCHS[kind], AFTER)[1]
        found[f"train {precision}"] = row
        best.eval()
        some = grey[:500].round()
        jobs = {
            "sample": (
                10_000,
                lambda m=model: m.sample(10_000),
                lambda p=precision, m=best: handwritten.sample(m, 10_000, p),
            ),
            "encode": (
                10_000,
                lambda m=model: m.encode(grey),
                lambda p=precision, m=best: handwritten.encode(m, grey, p),
            ),
            "nll S=200": (
                500,
                lambda m=model, s=some: m.log_likelihood(s, samples=200),
                lambda p=precision, m=best, s=some: handwritten.log_likelihood(m, s, 200, p),
            ),
        }
        for name, (count, ours, theirs) in jobs.items():
            ours_, theirs_ = timed(ours, theirs)
            found[f"{name} {precision}"] = {"a": count / ours_, "c": count / theirs_}
    return found


def load() -> dict[str, torch.Tensor]:
    dataset = vaezoo.load_spec(spec("mlp", "fp32")).data.build()
    return {name: dataset.split(name).x for name in ("train", "validation", "test")} | {"test": _grey_test()}


def _grey_test() -> torch.Tensor:
    plain = {**spec("mlp", "fp32"), "data": {"type": "mnist", "binarize": "none"}}
    return vaezoo.load_spec(plain).data.build().split("test").x


def peak(kind: str, contender: str) -> float:
    """Peak MiB of a process that only trains; Linux."""
    code = [sys.executable, __file__, "--train-only", contender, "--model", kind]
    done = subprocess.run(code, capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1])


def train_only(kind: str, contender: str) -> None:
    with tempfile.TemporaryDirectory() as out:
        if contender == "a":
            train(spec(kind, "fp32"), out)
        else:
            data = load()
            handwritten.train_best(kind, data["train"], data["validation"], EPOCHS[kind], AFTER, "fp32")
    status = Path("/proc/self/status").read_text()  # getrusage would count the process that started this one
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024)


def show(kind: str, runs: list[dict[str, dict[str, float]]], memory: dict[str, float]) -> dict[str, Any]:
    print(f"\n{kind}: examples a second, medians of {len(runs)}; ratio a / c with the range over repetitions")
    print(f"{'':16}{'(a) vaezoo':>12}{'(b) plain':>12}{'(c) best':>12}{'a / c':>8}   range")
    table = {}
    for job in runs[0]:
        medians = {key: statistics.median(run[job][key] for run in runs) for key in runs[0][job]}
        ratios = [run[job]["a"] / run[job]["c"] for run in runs]
        plain = f"{medians['b']:12,.0f}" if "b" in medians else " " * 12
        ratio, spread = medians["a"] / medians["c"], f"{min(ratios):.2f}-{max(ratios):.2f}"
        print(f"{job:16}{medians['a']:12,.0f}{plain}{medians['c']:12,.0f}{ratio:8.2f}   {spread}")
        table[job] = {**medians, "ratio": ratio}
    if "train bf16" in table:
        table["bf16_gain"] = {"ratio": table["train bf16"]["a"] / table["train fp32"]["a"]}
        print(f"vaezoo's own bf16 training is {table['bf16_gain']['ratio']:.2f} x its fp32 training")
    print(f"peak memory, MiB: vaezoo {memory['a']:.0f}, best {memory['c']:.0f}, ratio {memory['a'] / memory['c']:.2f}")
    return {**table, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--model", choices=["mlp", "conv"])
    parser.add_argument("--fp32-only", action="store_true", help="for a CPU without units for bf16")
    parser.add_argument("--train-only", choices=["a", "c"])
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    options = parser.parse_args()
    tune_allocator()
    if options.train_only:
        train_only(options.model, options.train_only)
        return
    data, results = load(), {}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for kind in [options.model] if options.model else ["mlp", "conv"]:
        with tempfile.TemporaryDirectory() as out:
            precisions = ["fp32"] if options.fp32_only else ["fp32", "bf16"]
            runs = [repetition(kind, data, out, precisions) for _ in range(1 if options.quick else 3)]
        results[kind] = show(kind, runs, {key: peak(kind, key) for key in ("a", "c")})
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""Times vaezoo against hand-written loops, interleaved in one process; prints medians and ratios.

    python benchmarks/speed.py                 # three repetitions of everything
    python benchmarks/speed.py --quick         # one repetition
    python benchmarks/speed.py --fp32-only     # on a CPU without bf16 units: ten times as fast

Contenders: (a) vaezoo through its public API, with all defaults of a run; (b) a plain loop with
DataLoader; (c) the fastest hand-written loop. Ratios are speeds relative to (c): 1.00 is the same
speed, larger is faster.
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
WARMUP_STEPS = 50
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
        "model": {
            "latent_dim": 16,
            "encoder": encoder,
            "decoder": decoder,
            "likelihood": "bernoulli",
        },
        "train": {"epochs": EPOCHS[kind], "precision": precision},
        "evaluate": [],
    }


class Stopwatch(vaezoo.Callback):
    """Seconds from the record of step 50 to the last one."""

    def __init__(self) -> None:
        self.first = self.last = 0.0

    def log(self, record: Any) -> None:
        self.last = time.perf_counter()
        if record["step"] == WARMUP_STEPS:
            self.first = self.last


def train(run_spec: dict[str, Any], out: str) -> tuple[vaezoo.Run, float]:
    """Runs a spec; returns the run and its seconds from step 50 on."""
    watch = Stopwatch()
    run = vaezoo.run(run_spec, out=out, callbacks=[PlainProgress(), watch])
    return run, watch.last - watch.first


def median_seconds(*actions: Callable[[], Any]) -> list[float]:
    """Median seconds of each action, interleaved, after a warm-up.

    There are seven repetitions, or two if the first action takes more than a second.
    """
    times: list[list[float]] = [[] for _ in actions]
    turn = 0
    while turn < 8 and (turn < 3 or times[0][0] < 1):
        for action, durations in zip(actions, times, strict=True):
            start = time.perf_counter()
            action()
            durations.append(time.perf_counter() - start)
        turn += 1
    return [statistics.median(durations[1:]) for durations in times]


def measure(
    kind: str, data: dict[str, torch.Tensor], out: str, precisions: list[str]
) -> dict[str, dict[str, float]]:
    """Measures every contender once; returns examples per second by task and contender."""
    rates: dict[str, dict[str, float]] = {}
    examples = 50_000 * EPOCHS[kind] - 128 * WARMUP_STEPS
    x, grey, validation = data["train"], data["test"].float() / 255, data["validation"]
    steps = {"epochs": EPOCHS[kind], "warmup_steps": WARMUP_STEPS}
    for precision in precisions:
        run, seconds = train(spec(kind, precision), out)
        model = run.model
        model.precision = precision
        best, best_seconds = handwritten.train_best(
            kind, x, validation, **steps, precision=precision
        )
        row = {"a": examples / seconds, "c": examples / best_seconds}
        if precision == "fp32":
            _, plain_seconds = handwritten.train_plain(kind, x, validation, **steps)
            row["b"] = examples / plain_seconds
        rates[f"train {precision}"] = row
        best.eval()
        binary = grey[:500].round()
        tasks = {
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
                lambda m=model, x=binary: m.log_likelihood(x, samples=200),
                lambda p=precision, m=best, x=binary: handwritten.log_likelihood(m, x, 200, p),
            ),
        }
        for name, (count, vaezoo_task, best_task) in tasks.items():
            vaezoo_seconds, best_seconds = median_seconds(vaezoo_task, best_task)
            rates[f"{name} {precision}"] = {
                "a": count / vaezoo_seconds,
                "c": count / best_seconds,
            }
    return rates


def load() -> dict[str, torch.Tensor]:
    dataset = vaezoo.load_spec(spec("mlp", "fp32")).data.build()
    images = {name: dataset.split(name).x for name in ("train", "validation")}
    return images | {"test": _grey_test()}


def _grey_test() -> torch.Tensor:
    grey = {**spec("mlp", "fp32"), "data": {"type": "mnist", "binarize": "none"}}
    return vaezoo.load_spec(grey).data.build().split("test").x


def peak_memory(kind: str, contender: str) -> float:
    """Peak MiB of a process that only trains (Linux)."""
    command = [sys.executable, __file__, "--train-only", contender, "--model", kind]
    completed = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(completed.stdout.strip().splitlines()[-1])


def train_only(kind: str, contender: str) -> None:
    with tempfile.TemporaryDirectory() as out:
        if contender == "a":
            train(spec(kind, "fp32"), out)
        else:
            data = load()
            handwritten.train_best(
                kind,
                data["train"],
                data["validation"],
                epochs=EPOCHS[kind],
                warmup_steps=WARMUP_STEPS,
                precision="fp32",
            )
    # getrusage would include the memory of the parent process.
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024)


def print_table(
    kind: str, repetitions: list[dict[str, dict[str, float]]], memory: dict[str, float]
) -> dict[str, Any]:
    """Prints and returns the medians of the repetitions."""
    count = len(repetitions)
    print(f"\n{kind}: examples a second, medians of {count}; ratio a / c with its range")
    print(f"{'':16}{'(a) vaezoo':>12}{'(b) plain':>12}{'(c) best':>12}{'a / c':>8}   range")
    table = {}
    for task in repetitions[0]:
        medians = {
            contender: statistics.median(rates[task][contender] for rates in repetitions)
            for contender in repetitions[0][task]
        }
        ratios = [rates[task]["a"] / rates[task]["c"] for rates in repetitions]
        plain = f"{medians['b']:12,.0f}" if "b" in medians else " " * 12
        ratio, spread = medians["a"] / medians["c"], f"{min(ratios):.2f}-{max(ratios):.2f}"
        columns = f"{medians['a']:12,.0f}{plain}{medians['c']:12,.0f}{ratio:8.2f}"
        print(f"{task:16}{columns}   {spread}")
        table[task] = {**medians, "ratio": ratio}
    if "train bf16" in table:
        gain = table["train bf16"]["a"] / table["train fp32"]["a"]
        table["bf16_gain"] = {"ratio": gain}
        print(f"vaezoo's own bf16 training is {gain:.2f} x its fp32 training")
    ratio = memory["a"] / memory["c"]
    print(f"peak memory, MiB: vaezoo {memory['a']:.0f}, best {memory['c']:.0f}, ratio {ratio:.2f}")
    return {**table, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--model", choices=["mlp", "conv"])
    parser.add_argument(
        "--fp32-only", action="store_true", help="for a CPU without units for bf16"
    )
    parser.add_argument("--train-only", choices=["a", "c"])
    parser.add_argument("--out", type=Path, help="also write the results as JSON to this file")
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
            count = 1 if options.quick else 3
            repetitions = [measure(kind, data, out, precisions) for _ in range(count)]
        memory = {contender: peak_memory(kind, contender) for contender in ("a", "c")}
        results[kind] = print_table(kind, repetitions, memory)
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""Times the metric ``nll`` against a hand-written batched loop, in interleaved pairs.

    python benchmarks/nll.py                                # 25 pairs of 10,000 images, S = 500
    python benchmarks/nll.py --images 500 --samples 100     # a few minutes of one core

The model is the MLP VAE 784-400-400-16 with initial weights, the images are those of the MNIST
test split, binarized once. Both encode 500 images at once and decode 5 samples of each, so that
they fit in the CPU cache. The order within a pair alternates. Prints the geometric mean of the
ratios vaezoo / hand-written with its 95 % interval, by wall time and by CPU time; the second is
hardly disturbed by other processes. Exits with 1 if the upper limit by ``--clock`` is above 1.08.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import handwritten
import torch
from scipy.stats import t as student

from vaezoo.data.loader import Loader
from vaezoo.evaluation.evaluate import evaluate
from vaezoo.runs.setup import prepare_training
from vaezoo.spec.load import load_spec

LIMIT = 1.08
BATCH = 500
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def spec(images: int, samples: int) -> dict[str, Any]:
    layers = {"type": "mlp", "hidden": [400, 400]}
    return {
        "spec": "vaezoo/v2",
        "name": "bench-nll",
        "data": {"type": "mnist", "binarize": "static"},
        "model": {
            "latent_dim": handwritten.LATENT,
            "encoder": layers,
            "decoder": layers,
            "likelihood": "bernoulli",
        },
        "train": {"epochs": 1},
        "evaluate": [{"type": "nll", "samples": samples, "limit": images}],
    }


def contenders(images: int, samples: int) -> tuple[Callable[[], float], Callable[[], float]]:
    """vaezoo's metric and the loop, each of which returns -log p(x) in nats per example."""
    loaded = load_spec(spec(images, samples))
    dataset, train, (task,) = prepare_training(loaded, torch.device("cpu"))
    data = Loader(dataset.split("test"), train.device, train.batch_size)
    plain = handwritten.VAE("mlp").eval()
    x = data.first(images).x

    def metric() -> float:
        result = evaluate(task.model, loaded.evaluate, data, "test", seed=0)
        value: float = result["metrics"]["nll"]["value"]
        return value

    def loop() -> float:
        with torch.inference_mode():
            batches = [
                handwritten.log_likelihood(plain, batch, samples, "fp32")
                for batch in x.split(BATCH)
            ]
        return -float(torch.cat(batches).mean())

    return metric, loop


def measure(actions: tuple[Callable[[], float], ...]) -> list[dict[str, float]]:
    """The seconds of each action by each clock, in the order of the actions."""
    seconds = []
    for action in actions:
        before = {name: clock() for name, clock in CLOCKS.items()}
        action()
        seconds.append({name: clock() - before[name] for name, clock in CLOCKS.items()})
    return seconds


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """The geometric mean of ratios, and its 95 % interval."""
    logs = [math.log(ratio) for ratio in ratios]
    mean, count = statistics.fmean(logs), len(logs)
    half = student.ppf(0.975, count - 1) * statistics.stdev(logs) / count**0.5
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--pairs", type=int, default=25)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    torch.set_num_threads(1)
    metric, loop = contenders(options.images, options.samples)
    measure((metric, loop))  # a warm-up
    ratios: dict[str, list[float]] = {name: [] for name in CLOCKS}
    for pair in range(options.pairs):
        swapped = pair % 2
        times = measure((loop, metric) if swapped else (metric, loop))
        own, best = reversed(times) if swapped else times
        for name in CLOCKS:
            ratios[name].append(own[name] / best[name])
        print(
            f"pair {pair + 1}: vaezoo {own['wall']:.2f} s, loop {best['wall']:.2f} s", flush=True
        )
    print(f"{options.images:,} images, S = {options.samples}, {options.pairs} pairs")
    limits = {}
    for name, values in ratios.items():
        mean, low, limits[name] = interval(values)
        print(f"{name:5} vaezoo / loop: {mean:.3f}, 95 % interval {low:.3f} to {limits[name]:.3f}")
    return int(limits[options.clock] > LIMIT)


if __name__ == "__main__":
    sys.exit(main())

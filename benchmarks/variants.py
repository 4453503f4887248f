"""Times the plugins' variants against the plain VAE with equal layers; prints medians and ratios.

    python benchmarks/variants.py              # five interleaved repetitions

The MLP 784-400-400-16 at batch 128 on MNIST, one epoch each, with all defaults of a run. The AAE
has a critic with the same two layers of 400 and a deterministic posterior. Ratios are of examples
a second: 1.00 is as fast as the plain VAE.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from typing import Any

import speed

from vaezoo.utils.allocator import tune_allocator

LAYERS = [400, 400]
# The changes to the plain spec, and the target ratio of each variant.
VARIANTS: dict[str, tuple[dict[str, Any], float]] = {
    "plain": ({}, 1.0),
    "cvae": ({"model": {"condition": {"type": "label", "into": ["encoder", "decoder"]}}}, 0.9),
    "beta-kl": ({"regularizers": [{"type": "beta-kl", "weight": 4.0}]}, 0.9),
    "beta-kl, pi-control": (
        {"regularizers": [{"type": "beta-kl", "weight": {"type": "pi-control", "target": 20.0}}]},
        0.9,
    ),
    "beta-tc": ({"regularizers": [{"type": "beta-tc"}]}, 0.9),
    "aae": (
        {
            "model": {"posterior": "deterministic"},
            "regularizers": [{"type": "adversarial", "hidden": LAYERS, "weight": 10.0}],
            "train": {"select": "last"},
        },
        0.6,
    ),
}


def variant_spec(changes: dict[str, Any]) -> dict[str, Any]:
    """The plain spec for one epoch, with the changes merged in."""
    merged = speed.spec("mlp", "fp32")
    merged["train"]["epochs"] = 1
    for key, value in changes.items():
        merged[key] = {**merged[key], **value} if isinstance(value, dict) else value
    return merged


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    tune_allocator()
    rates: dict[str, list[float]] = {name: [] for name in VARIANTS}
    with tempfile.TemporaryDirectory() as out:
        for repetition in range(options.repetitions + 1):  # the first is a warm-up
            for name, (changes, _) in VARIANTS.items():
                _, seconds = speed.train(variant_spec(changes), out)
                if repetition:
                    rates[name].append((50_000 - 128 * speed.WARMUP_STEPS) / seconds)
    print(f"{'':22}{'examples a second':>18}{'to plain':>10}   range       target")
    for name, (_, target) in VARIANTS.items():
        ratios = [rate / plain for rate, plain in zip(rates[name], rates["plain"], strict=True)]
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        rate, ratio = statistics.median(rates[name]), statistics.median(ratios)
        print(f"{name:22}{rate:18,.0f}{ratio:10.2f}   {spread}   {target}")


if __name__ == "__main__":
    main()

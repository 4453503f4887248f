"""Trains the variants of tests/plugins/vaezoo-variants; prints test figures of three seeds.

    pip install ./tests/plugins/vaezoo-variants
    python benchmarks/interfaces.py            # about five minutes on one core

It shows that the variants train, on 8x8 digits; it ranks nothing: the networks are small and no
setting was searched for.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import vaezoo
from vaezoo.utils.allocator import tune_allocator

EXAMPLES = Path(__file__).parents[1] / "tests/plugins/vaezoo-variants/examples"
NAMES = ("base", "diffusion", "m2", "maps", "ladder")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    tune_allocator()
    with tempfile.TemporaryDirectory() as out:
        for name in options.names:
            figures: dict[str, list[float]] = {}
            for seed in range(options.seeds):
                run = vaezoo.run(EXAMPLES / f"{name}.yaml", [f"seed={seed}"], out=out)
                for metric, row in run.evaluation["metrics"].items():
                    figures.setdefault(metric, []).append(row["value"])
            columns = [
                f"{metric} {statistics.mean(values):8.2f} ({min(values):.2f} to {max(values):.2f})"
                for metric, values in figures.items()
            ]
            print(f"{name:12s}", "  ".join(columns), flush=True)


if __name__ == "__main__":
    main()

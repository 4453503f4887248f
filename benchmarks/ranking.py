"""Does ``vaezoo compare`` rank specs as often as it should, and no more often?

    python benchmarks/ranking.py             # 200 resamples of the stored pool
    python benchmarks/ranking.py --train     # trains the pool again: 12 seeds of one spec

The pool holds the NLL of each of the 270 test examples of ``digits`` under 12 runs, which differ
in the seed only. Each resample divides them by chance into two specs of 6 seeds each, and draws
the test examples with replacement, the same ones for all runs. As they are, the two specs are
equal; taken off 0.5 nats, the second one is really better. Prints how often equal specs are
declared different (a level of 5 % allows about 10 of 200; at most 16), and how often the better
one is marked as best (at least 190). Ends with 1 if a count is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor

import vaezoo
from vaezoo.runs.comparison.comparing import MetricRow, rank
from vaezoo.runs.comparison.statistics import independent_difference
from vaezoo.runs.directory import RunDirectory
from vaezoo.runs.example_values import read_example_values
from vaezoo.utils.files import read_tensors, write_tensors

POOL = Path(__file__).with_name("ranking-pool.safetensors")
SEEDS, BETTER_BY = range(12), 0.5
MOST_FALSE, LEAST_FOUND = 16, 190
SPEC = {
    "spec": "vaezoo/v2",
    "name": "ranking",
    "data": {"type": "digits", "batch_size": 64, "binarize": "threshold"},
    "model": {
        "latent_dim": 6,
        "encoder": {"type": "mlp", "hidden": [128]},
        "decoder": {"type": "mlp", "hidden": [128]},
        "likelihood": "bernoulli",
    },
    "train": {"epochs": 60, "optimizer": {"type": "adam", "lr": 2e-3}, "device": "cpu"},
    "evaluate": [{"type": "nll", "samples": 500}],
}


def train_pool() -> None:
    """Trains the runs of the pool, and stores the NLL of each test example, ``[12, 270]``."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            run = vaezoo.run({**SPEC, "seed": seed}, out=folder)
            values = read_example_values(RunDirectory(run.path), "test", run.evaluation)
            rows.append(values.values["nll"].float())
            print(f"seed {seed}: NLL {rows[-1].mean():.3f}", flush=True)
    write_tensors(POOL, {"nll": torch.stack(rows)})


def compare(first: Tensor, second: Tensor) -> MetricRow:
    """The comparison of two specs by the NLL of their runs, ``[seeds, examples]`` each."""
    means = [each.mean(1) for each in (first, second)]
    values = [(float(each.mean()), None) for each in means]
    row = MetricRow(name="nll", unit="nats per example", values=values, direction=-1)
    return rank(row, (0, 1), lambda i, j: independent_difference(means[i], means[j]))


def main() -> int:
    parser = argparse.ArgumentParser(description="Checks the ranking of vaezoo compare.")
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--resamples", type=int, default=200)
    options = parser.parse_args()
    if options.train:
        train_pool()
    pool = read_tensors(POOL)[0]["nll"].double()  # [12, 270]
    means, errors = pool.mean(1), pool.std(1) / pool.shape[1] ** 0.5
    print(
        f"{len(pool)} seeds: NLL {means.mean():.3f}, between seeds ± {means.std():.3f}, "
        f"over examples ± {errors.mean():.3f} (standard error)"
    )
    generator = torch.Generator().manual_seed(0)
    false, found = 0, 0
    for _ in range(options.resamples):
        order = torch.randperm(len(pool), generator=generator)
        examples = torch.randint(pool.shape[1], (pool.shape[1],), generator=generator)
        first, second = pool[order][:, examples].chunk(2)
        false += compare(first, second).pairs[0].differs
        found += compare(first, second - BETTER_BY).best == 1
    print(f"equal specs declared different: {false} of {options.resamples}")
    print(f"a spec that is {BETTER_BY} nats better found: {found} of {options.resamples}")
    share = options.resamples / 200
    return int(false > MOST_FALSE * share or found < LEAST_FOUND * share)


if __name__ == "__main__":
    sys.exit(main())

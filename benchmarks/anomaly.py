"""Measures anomaly detection on MNIST: AUROC of each score on the 10,000 test images.

    python benchmarks/anomaly.py               # trains examples/anomaly-mnist.yaml ten times
    python benchmarks/anomaly.py --digits 0 1  # only these digits

Each digit in turn is left out of training and is the anomaly. A PCA with 40 components is measured
too. Further arguments override options of the spec, for example train.epochs=3.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

import vaezoo
from vaezoo.utils.allocator import tune_allocator

SPEC = Path(__file__).parents[1] / "examples/anomaly-mnist.yaml"


def pca(run: vaezoo.Run, digit: int) -> float:
    """The AUROC of the squared residual of a PCA with 40 components, fitted to training images."""
    train, test = run.data("train").split, run.data("test").split
    pca_40 = PCA(40, random_state=0).fit(train.x.flatten(1).numpy() / 255)  # from [n, 784]
    x = test.x.flatten(1).numpy() / 255  # [10000, 784]
    residual = np.square(x - pca_40.inverse_transform(pca_40.transform(x))).sum(1)
    return float(roc_auc_score(test.condition.numpy() == digit, residual))


def print_row(name: str, row: dict[str, float]) -> None:
    print(f"{name:>8}" + "".join(f"{value:16.3f}" for value in row.values()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--digits", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    options = parser.parse_args()
    tune_allocator()
    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as out:
        for digit in options.digits:
            digit_overrides = [f'vars.digit=["{digit}"]', f"data.omit=[{digit}]"]
            run = vaezoo.run(SPEC, [*digit_overrides, *options.overrides], out=out)
            metrics = run.spec.resolved()["evaluate"]
            methods = [metric["method"] for metric in metrics if metric["type"] == "anomaly"]
            areas = [
                estimate["value"]
                for name, estimate in run.evaluation["metrics"].items()
                if name.startswith("anomaly_auroc")
            ]
            row = dict(zip(methods, areas, strict=True))
            rows.append({"PCA-40": pca(run, digit), **row})
            if len(rows) == 1:
                print("left out" + "".join(f"{name:>16}" for name in rows[0]))
            print_row(str(digit), rows[-1])
    print_row("mean", {name: statistics.mean(row[name] for row in rows) for name in rows[0]})


if __name__ == "__main__":
    main()

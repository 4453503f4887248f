"""Leaves out one digit of MNIST after another and tells how well each score finds it: AUROC on the 10,000 test images.

python benchmarks/anomaly.py               # examples/anomaly-mnist.yaml ten times, PCA-40 beside it
python benchmarks/anomaly.py --digits 0 1  # some of them; other arguments are overrides: train.epochs=3
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
    """The AUROC of the squared residual of 40 principal components of the training images."""
    train, test = run.data("train").split, run.data("test").split
    fitted = PCA(40, random_state=0).fit(train.x.flatten(1).numpy() / 255)
    x = test.x.flatten(1).numpy() / 255
    residual = np.square(x - fitted.inverse_transform(fitted.transform(x))).sum(1)
    return float(roc_auc_score(test.condition.numpy() == digit, residual))


def show(name: str, row: dict[str, float]) -> None:
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
            own = [f'vars.digit=["{digit}"]', f"data.omit=[{digit}]"]
            run = vaezoo.run(SPEC, [*own, *options.overrides], out=out)
            asked = [metric for metric in run.spec.resolved()["evaluate"] if metric["type"] == "anomaly"]
            areas = [row for name, row in run.evaluation["metrics"].items() if name.startswith("anomaly_auroc")]
            row = {metric["method"]: area["value"] for metric, area in zip(asked, areas, strict=True)}
            rows.append({"PCA-40": pca(run, digit), **row})
            if len(rows) == 1:
                print("left out" + "".join(f"{name:>16}" for name in rows[0]))
            show(str(digit), rows[-1])
    show("mean", {name: statistics.mean(row[name] for row in rows) for name in rows[0]})


if __name__ == "__main__":
    main()

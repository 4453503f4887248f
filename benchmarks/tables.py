"""Generated rows of a table: the model of a spec beside TVAE and CTGAN, with the same CPU time.

    pip install ctgan==0.12.1     # for measuring only; its licence does not allow all uses
    python benchmarks/tables.py plugins/vaezoo-tabular/examples/adult.yaml --out rows/adult
    python benchmarks/tables.py plugins/vaezoo-tabular/examples/default-credit.yaml --out rows/dc

Each method and seed trains one model on one thread and writes one csv file of as many rows as
there are training rows; all figures are of that file. The model of the spec takes as long as its
epochs take; TVAE and CTGAN train until the CPU time is up. They see the validation rows, too, from
which the spec selects its weights. "real" are the training rows themselves, and "marginals" are
those with each column shuffled.

The figures are those of the metric `synthetic-rows` of the spec, with its floors. The last lines
are the differences from TVAE, paired over seeds. A second call with the same folder takes the rows
that are there.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from vaezoo_tabular.comparison import Rows, to_rows
from vaezoo_tabular.facts import columns_of
from vaezoo_tabular.formats import TableCsv
from vaezoo_tabular.metrics import SyntheticRows

import vaezoo

METHODS = ("vaezoo", "tvae", "ctgan", "real", "marginals")
MISSING = "?"
"""Stands for a missing cell in what TVAE and CTGAN see; it is read as one again."""


@dataclass(frozen=True)
class Job:
    """One model.

    Attributes:
        spec: the path of the spec.
        overrides: of its options.
        method: one of ``METHODS``.
        seed: of the model and the samples.
        minutes: the CPU time.
        out: the folder for files.
    """

    spec: Path
    overrides: tuple[str, ...]
    method: str
    seed: int
    minutes: float
    out: Path

    @property
    def rows(self) -> Path:
        """The file of generated rows."""
        return self.out / f"{self.method}-{self.seed}.csv"

    @property
    def figures(self) -> Path:
        """The file of the figures of the training."""
        return self.rows.with_suffix(".json")


def generate(job: Job) -> None:
    """Trains a model and writes its rows, and the figures of the training beside them."""
    torch.set_num_threads(1)
    torch.manual_seed(job.seed)
    dataset = vaezoo.load_spec(job.spec, job.overrides).data.build()
    start = time.process_time()
    if job.method == "vaezoo":
        figures = generate_by_spec(job, len(dataset.split("train")))
    else:
        generate_without_spec(job, dataset)
        figures = {"minutes": (time.process_time() - start) / 60}
    job.figures.write_text(json.dumps(figures))


def compare(job: Job) -> dict[str, Any]:
    """Compares the rows of a model with real ones; of real rows there are floors, too."""
    torch.set_num_threads(1)
    spec = vaezoo.load_spec(job.spec, job.overrides)
    dataset = spec.data.build()
    columns = columns_of(dataset.spec)
    train, test = rows_of(dataset, "train"), rows_of(dataset, "test")
    generated = to_rows(TableCsv(dataset.spec).read(job.rows).x.numpy(), columns)
    metric = next(
        each
        for each in (part.build() for part in spec.evaluate)
        if isinstance(each, SyntheticRows)
    )
    positive = metric.find_positive(columns)
    figures = {"method": job.method, "seed": job.seed, **json.loads(job.figures.read_text())}
    figures["values"] = metric.compare(train, generated, test, positive, job.seed)
    if job.method == "real":
        figures["floors"] = metric.floors(train, test, positive, job.seed)
    print(json.dumps(figures), flush=True)
    return figures


def rows_of(dataset: vaezoo.Dataset, split: str) -> Rows:
    """The rows of a split, in the units of the source."""
    x = dataset.spec.to_source_units(dataset.split(split).x.double())
    return to_rows(x.numpy(), columns_of(dataset.spec))


def generate_by_spec(job: Job, count: int) -> dict[str, float]:
    """Runs the spec and samples from its weights, by the commands that users call.

    Returns:
        The minutes of CPU time of the run, and the NLL of the test rows with its standard error.
    """
    runs = job.out / f"run-{job.seed}"
    changes = [*job.overrides, f"seed={job.seed}", "evaluate=[{type: nll, samples: 50}]"]
    options = [part for change in changes for part in ("-s", change)]
    before = os.times()
    call("run", str(job.spec), "--out", str(runs), *options)
    after = os.times()
    (run,) = runs.glob("*/*/")
    call("sample", str(run), "-n", str(count), "--seed", str(job.seed), "--out", str(job.rows))
    nll = json.loads((run / "evaluation.json").read_text())["metrics"]["nll"]
    seconds = after.children_user + after.children_system
    seconds -= before.children_user + before.children_system
    return {"minutes": seconds / 60, "nll": nll["value"], "nll_error": nll["standard_error"]}


def call(*arguments: str) -> None:
    """Calls a command of vaezoo on one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "vaezoo", *arguments]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def generate_without_spec(job: Job, dataset: vaezoo.Dataset) -> None:
    """Writes the rows of a method that is no spec."""
    import pandas as pd

    parts = ["train", "validation"] if job.method in ("tvae", "ctgan") else ["train"]
    x = torch.cat([dataset.split(name).x for name in parts]).double()
    seen = job.out / f"seen-by-{job.method}-{job.seed}.csv"
    TableCsv(dataset.spec).write(seen, vaezoo.Batch(dataset.spec.to_source_units(x)), 0)
    categories = [each.name for each in columns_of(dataset.spec) if each.categories]
    frame = pd.read_csv(seen, dtype=dict.fromkeys(categories, str))
    seen.unlink()
    frame[categories] = frame[categories].fillna(MISSING)
    rng = np.random.default_rng(job.seed)
    if job.method == "marginals":
        frame = frame.apply(lambda column: rng.permutation(column.to_numpy()))
    elif job.method != "real":
        model = fit_for(job.method, frame, categories, job.minutes * 60)
        frame = model.sample(len(dataset.split("train")))
    frame.to_csv(job.rows, index=False)


def fit_for(method: str, frame: Any, categories: list[str], seconds: float) -> Any:
    """Fits TVAE or CTGAN for some seconds of CPU time."""
    from ctgan.synthesizers import ctgan, tvae

    module, make = {"tvae": (tvae, tvae.TVAE), "ctgan": (ctgan, ctgan.CTGAN)}[method]
    start = time.process_time()

    def epochs(counts: Iterable[int], **_: Any) -> Iterator[int]:
        for count in counts:
            if time.process_time() - start > seconds:
                return
            yield count

    module.tqdm = epochs
    model = make(epochs=1_000_000, enable_gpu=False)
    model.fit(frame, categories)
    return model


def describe(figures: list[dict[str, Any]]) -> Iterator[str]:
    """The lines of the tables."""
    names = [*figures[0]["values"], "nll", "minutes"]
    titles = [re.sub("_", " ", name) for name in names]
    yield f"{'':12}" + "".join(f"{title.split()[-1][:9]:>10}" for title in titles)
    yield "columns: " + ", ".join(titles)
    for each in figures:
        if "floors" in each:
            yield line(f"floor {each['seed']}", [each["floors"].get(name) for name in names])
    for each in sorted(figures, key=lambda each: (METHODS.index(each["method"]), each["seed"])):
        values = {**each["values"], **each}
        yield line(f"{each['method']} {each['seed']}", [values.get(name) for name in names])
    ours, theirs = ({each["seed"]: each["values"] for each in figures if each["method"] == method}
                    for method in ("vaezoo", "tvae"))  # fmt: skip
    seeds = sorted(ours.keys() & theirs.keys())
    for name in names if len(seeds) > 1 else ():
        if name in figures[0]["values"]:
            differences = [ours[seed][name] - theirs[seed][name] for seed in seeds]
            error = statistics.stdev(differences) / len(seeds) ** 0.5
            mean = statistics.mean(differences)
            yield f"{name}: vaezoo - tvae {mean:+.4f}, standard error {error:.4f}"


def line(name: str, values: list[float | None]) -> str:
    """A line of a table."""
    return f"{name:12}" + "".join(" " * 10 if v is None else f"{v:10.4f}" for v in values)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("spec", type=Path)
    parser.add_argument("-s", "--set", action="append", default=[], help="override an option")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=12.0, help="of CPU time, for a model")
    parser.add_argument("--jobs", type=int, default=1, help="models at the same time")
    parser.add_argument("--generate-only", action="store_true", help="compare in another call")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    jobs = [
        Job(options.spec, tuple(options.set), method, seed, options.minutes, options.out)
        for method in options.methods
        for seed in options.seeds
    ]
    with ProcessPoolExecutor(options.jobs, max_tasks_per_child=1) as pool:
        list(pool.map(generate, [job for job in jobs if not job.figures.exists()]))
        if not options.generate_only:
            print(*describe(list(pool.map(compare, jobs))), sep="\n")


if __name__ == "__main__":
    main()

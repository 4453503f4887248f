"""The time and memory of reading a table, beside those of data frame libraries.

    python benchmarks/tables_reading.py --rows 1000000

A table of 30 columns (10 of floats, 8 of integers, 8 of categories, 2 of truth values, 2 of dates)
is read from csv and parquet by pandas, polars and pyarrow alone, and by the data set ``table``,
which also finds out what columns hold and encodes them. Each reading is a process of its own.
Prints medians of wall time, CPU time of all threads, and peak memory beyond that of the imports;
the bar is 3 times the CPU time and 2 times the memory of pandas. Linux only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

READERS = ("pandas", "polars", "pyarrow", "table")


def write(folder: Path, rows: int) -> None:
    """Writes the table as csv and parquet."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    rng = np.random.default_rng(0)
    columns = {f"float{i}": rng.normal(size=rows).round(4) for i in range(10)}
    columns |= {f"integer{i}": rng.integers(0, 10 ** (1 + i % 4), rows) for i in range(8)}
    names = np.array([f"name{i:02}" for i in range(20)])
    columns |= {f"category{i}": names[rng.integers(0, 3 + 2 * i, rows)] for i in range(8)}
    columns |= {f"truth{i}": rng.integers(0, 2, rows).astype(bool) for i in range(2)}
    start = np.datetime64("2000-01-01", "s")
    columns |= {
        f"date{i}": start + rng.integers(0, 9000, rows).astype("timedelta64[D]") for i in range(2)
    }
    table = pa.table(columns)
    pa.csv.write_csv(table, folder / "t.csv")
    pa.parquet.write_table(table, folder / "t.parquet")


def read(reader: str, path: str) -> None:
    """Reads a table in this process, and prints what that took."""
    if reader == "pandas":
        import pandas as pd

        call = pd.read_csv if path.endswith("csv") else pd.read_parquet
    elif reader == "polars":
        import polars as pl

        call = pl.read_csv if path.endswith("csv") else pl.read_parquet
    elif reader == "pyarrow":
        import pyarrow.csv
        import pyarrow.parquet

        call = pyarrow.csv.read_csv if path.endswith("csv") else pyarrow.parquet.read_table
    else:
        from vaezoo_tabular.dataset import Table

        import vaezoo

        assert vaezoo.DataSpec

        def call(path: str) -> object:
            return Table(path=path)._loaded

    before = peak_memory()
    wall, cpu = time.perf_counter(), time.process_time()
    kept = call(path)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = peak_memory() - before
    print(json.dumps({"wall": wall, "cpu": cpu, "mib": peak / 1024, "kept": kept is not None}))


def peak_memory() -> int:
    """The peak of this process in KiB; ru_maxrss would begin with that of the process before."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def measure(reader: str, path: Path, repeats: int) -> dict[str, float]:
    """The medians of several processes."""
    runs = []
    for _ in range(repeats):
        command = [sys.executable, __file__, "--read", reader, str(path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    return {key: statistics.median(run[key] for run in runs) for key in ("wall", "cpu", "mib")}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        read(*options.read)
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), options.rows)
        for name in ("t.csv", "t.parquet"):
            path = Path(folder, name)
            results = {reader: measure(reader, path, options.repeats) for reader in READERS}
            for reader, result in results.items():
                own = results["table"]
                ratios = ", ".join(f"{key} {own[key] / result[key]:.2f}" for key in result)
                print(
                    f"{name} {reader}: {result['wall']:.2f} s, {result['cpu']:.2f} CPU seconds, "
                    f"{result['mib']:.0f} MiB; table / {reader}: {ratios}",
                    flush=True,
                )


if __name__ == "__main__":
    main()

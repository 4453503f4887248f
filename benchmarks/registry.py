"""Times opening a registry of many entries, and finding one of them.

    python benchmarks/registry.py [--entries 10000]

Writes an index of copies of an entry of vaezoo's own registry, each row as ``vaezoo publish``
would write it. Prints medians of the CPU time of 21 repetitions, in this process: reading, hashing
and parsing ``registry.yaml`` and the index; finding one entry by name, which reads its file; and
the summaries of all entries, which ``vaezoo weights list`` shows.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from vaezoo.pretrained.entry import FORMAT, parse_registry
from vaezoo.pretrained.finding import find_entry
from vaezoo.pretrained.index import Index
from vaezoo.pretrained.locations import own_registry_path
from vaezoo.pretrained.registries import open_registries, read_registry
from vaezoo.pretrained.registry import Registry
from vaezoo.runs.registry_file import _write_entry, _write_index
from vaezoo.spec.dump import dump


def milliseconds(action: Callable[[], object]) -> float:
    """The CPU time of an action."""
    start = time.process_time()
    action()
    return 1000 * (time.process_time() - start)


def write_registry(folder: Path, count: int) -> None:
    """Writes a registry whose index has ``count`` entries, of which one file is enough."""
    path = own_registry_path()
    entry = parse_registry(path.read_bytes(), str(path)).entries[0]
    plain = entry.model_copy(update={"status": "active", "successor": None, "reason": None})
    rows = []
    for number in range(count):
        named = plain.model_copy(update={"id": f"vae/set-{number}@1"})
        if not number:
            row = _write_entry(folder, named)
        rows.append(row.model_copy(update={"id": named.id}))
    index = _write_index(folder, Index().changed(rows))
    text = dump({"registry": FORMAT, "index": index.model_dump(), "entries": []})
    (folder / "registry.yaml").write_text(text)
    print(f"{count:,} entries, an index of {index.size / 1e6:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--entries", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "lab")
        folder.mkdir()
        write_registry(folder, options.entries)
        closed = Registry("lab", str(folder / "registry.yaml"), folder)
        (opened,) = open_registries([str(folder)], only_prefix="lab")
        actions: dict[str, Callable[[], object]] = {
            "open": lambda: read_registry(closed),
            "find one by name, when open": lambda: find_entry("lab:vae/set-0@1", [str(folder)]),
            "summaries of all": lambda: [opened.summary(each) for each in opened.ids],
        }
        times = {
            label: [milliseconds(action) for _ in range(21)] for label, action in actions.items()
        }
    for label, values in times.items():
        print(f"{label:30} {statistics.median(values):7.1f} ms of CPU time")


if __name__ == "__main__":
    main()

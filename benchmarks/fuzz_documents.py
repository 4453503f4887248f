"""Fuzzes the documents that vaezoo reads: specs, registries, headers, metrics; or all of them.

    python benchmarks/fuzz_documents.py specs --cases 5000          # in process
    python benchmarks/fuzz_documents.py specs --seed 137            # repeats one case
    python benchmarks/fuzz_documents.py all --command --cases 75    # through the command
    python benchmarks/fuzz_documents.py all --cases 100000 --seconds 600   # CPU seconds of each

``specs`` are specs with overrides, ``registries`` are registry files, their indices and the files
of their entries, ``headers`` those of weights in a registry whose hashes match, and ``metrics``
the ``metrics.jsonl`` of a run. What is a fault is said in tests/fuzz/documents.py.

Prints the numbers of cases and verdicts, and each fault with its seed; ``--out`` writes them as
JSON. Ends with 1 if there are faults. Linux only.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from tests.fuzz.driver import parse_options, run_fuzzers
from tests.fuzz.kinds import KINDS

if __name__ == "__main__":
    run_fuzzers(KINDS, parse_options([*KINDS], __doc__, "kind"))

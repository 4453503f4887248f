"""Which components go together: every ninth pair of the matrix, as the docs say it."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[1] / "benchmarks/matrix.py"
FOUND = importlib.util.spec_from_file_location("matrix", PATH)
matrix = importlib.util.module_from_spec(FOUND)
sys.modules["matrix"] = matrix  # where dataclasses look for it
FOUND.loader.exec_module(matrix)
PAIRS = matrix.pairs()
KNOWN = json.loads(matrix.RECORD.read_text("utf-8"))


def name_of(pair):
    return f"{pair.kind}-{pair.name}-{pair.base}"


def test_the_matrix_has_every_pair():
    recorded = {(k, n, b) for k, names in KNOWN.items() for n, of in names.items() for b in of}
    assert recorded == {(pair.kind, pair.name, pair.base) for pair in PAIRS}


# nine and four have no common divisor, so that all bases take part
@pytest.mark.parametrize("pair", PAIRS[::9], ids=name_of)
def test_a_pair_works_or_is_refused_as_the_docs_say(pair, tmp_path, no_report):
    assert matrix.verdict(pair, tmp_path) == KNOWN[pair.kind][pair.name][pair.base]

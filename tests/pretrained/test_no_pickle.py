"""No file that vaezoo reads can run code: no pickle, torch.load or yaml.load anywhere."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "vaezoo").rglob("*.py"), *(ROOT / "plugins").glob("*/src/**/*.py")])
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_CALLS = {
    "torch.load",
    "torch.save",
    "torch.jit.load",
    "torch.serialization.load",
    "torch.hub.load",
    "yaml.load",
    "yaml.load_all",
    "yaml.full_load",
    "yaml.unsafe_load",
}


def dotted(node):
    """``a.b.c`` of an attribute; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    inner = dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{inner}.{node.attr}" if inner else ""


def meant(tree):
    """The full name of each imported name: ``torch`` for ``t`` after ``import torch as t``."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            names |= {
                alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names
            }
    return names


def faults(source):
    result, tree = [], ast.parse(source)
    known = meant(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            result += [
                alias.name for alias in node.names if alias.name.split(".")[0] in FORBIDDEN_MODULES
            ]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            result += [
                name
                for name in names
                if name in FORBIDDEN_CALLS or name.split(".")[0] in FORBIDDEN_MODULES
            ]
        elif isinstance(node, ast.Attribute):
            first, _, rest = dotted(node).partition(".")
            result += [
                name for name in [f"{known.get(first, first)}.{rest}"] if name in FORBIDDEN_CALLS
            ]
        elif (
            isinstance(node, ast.keyword)
            and node.arg == "allow_pickle"
            and getattr(node.value, "value", True)
        ):
            result.append("allow_pickle")
    return result


def test_there_is_something_to_look_at():
    assert len(SOURCES) > 100


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_reads_what_could_run_code(path):
    assert faults(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "torch.load(path)",
        "from torch import load",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "np.load(path, allow_pickle=True)",
        "import torch\nread = torch.load",
        "import torch as t\nt.load(path)",
        "from torch import jit\njit.load(path)",
        "from torch import hub as h\nh.load(path)",
        "torch.serialization.load(path)",
    ],
)
def test_the_search_finds_what_it_looks_for(line):
    assert faults(line)

"""Registry files, the files of entries, the index of them, and the specs that they name."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from tests.fuzz import odd
from tests.fuzz.damage import damage
from tests.fuzz.documents import Kind, attempt, environment
from tests.fuzz.guard import Fault, guarded
from tests.fuzz.reference import check_kept, read_yaml
from tests.fuzz.registry_bases import NAMES, registries
from vaezoo.pretrained.card import card
from vaezoo.pretrained.entry import WeightsEntry, parse_entry
from vaezoo.pretrained.finding import find_entry
from vaezoo.pretrained.index import row_of
from vaezoo.pretrained.loading import load_entry
from vaezoo.pretrained.registries import open_registries
from vaezoo.pretrained.registry import RegistryEntry
from vaezoo.spec.dump import dump

_FIRST = b'{"index":"vaezoo/index/v1"}\n'
_DEPRECATED = "^lab:.* is deprecated"
_KEYS = (
    "id", "title", "status", "successor", "reason", "spec", "path", "inline", "sha256", "size",
    "requires", "files", "sources", "tensors", "count", "parameters", "classes", "metrics", "data",
    "registry", "index", "entries", "entry", "blobs", "bytes",
)  # fmt: skip
_VALUES = (
    "vae/plain@1", "vae/table@1", "vae/plain@2", "active", "deprecated", "revoked", "vae@1",
    "test", "vaezoo>=0.1", "no-such>=1", "vaezoo; python_version > '2'", *odd.IN_YAML,
)  # fmt: skip


def digest(data: bytes) -> dict[str, Any]:
    """The hash and the size of a file, as a registry lists them."""
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def rewrite(path: Path, tree: Any) -> bytes:
    """Writes a tree as YAML; returns the bytes."""
    data = odd.write(tree, yaml=True).encode("utf-8", "surrogatepass")
    path.write_bytes(data)
    return data


class RegistryFiles(Kind):
    """The fuzzer of registries."""

    name = "registries"
    mutators = ("file", "entry", "row", "spec", "file-bytes", "entry-bytes", "index-bytes",
                "indexed-file", "inline", "sources")  # fmt: skip

    def make(self, rng: np.random.Generator, place: Path, mutator: str) -> Path:
        """Writes a case; returns the folder of the registry."""
        lab, bases = place / "lab", registries()
        is_indexed = mutator in ("entry", "row", "entry-bytes", "index-bytes", "indexed-file")
        shutil.copytree(bases.indexed if is_indexed else bases.plain, lab)
        path = lab / "registry.yaml"
        tree = read_yaml(path.read_text("utf-8"))
        if mutator in ("file", "indexed-file"):
            rewrite(path, odd.change_tree(tree, rng, _VALUES, _KEYS))
        elif mutator == "file-bytes":
            path.write_bytes(damage(path.read_bytes(), rng))
        elif mutator in ("entry", "entry-bytes"):
            self._change_entry(lab, tree, rng, mutator)
        elif mutator in ("row", "index-bytes"):
            self._change_index(lab, tree, rng, mutator)
        else:
            self._change_part(lab, tree, rng, mutator)
        return lab

    def _change_entry(self, lab: Path, tree: Any, rng: np.random.Generator, mutator: str) -> None:
        """Changes the file of an entry, and makes the hashes of it right again."""
        index = lab / tree["index"]["path"]
        rows = [json.loads(line) for line in index.read_bytes().splitlines()[1:]]
        row = odd.pick(rng, rows)
        path = lab / row["path"]
        if mutator == "entry":
            data = rewrite(path, odd.change_tree(read_yaml(path.read_text()), rng, _VALUES, _KEYS))
        else:
            data = damage(path.read_bytes(), rng)
            path.write_bytes(data)
        new = row | digest(data)
        if rng.random() < 0.5:  # a publisher lists what the entry now says
            with contextlib.suppress(Exception):
                entry = parse_entry(data, "")
                new = row_of(entry, path=row["path"], **digest(data)).model_dump(mode="json")
        rows = [new if each["id"] == row["id"] else each for each in rows]
        self._write_index(lab, tree, [json.dumps(each, separators=(",", ":")) for each in rows])

    def _change_index(self, lab: Path, tree: Any, rng: np.random.Generator, mutator: str) -> None:
        """Changes the index, and makes its hash right again."""
        data = (lab / tree["index"]["path"]).read_bytes()
        lines = [line.decode() for line in data.splitlines()[1:]]
        if mutator == "row":
            number = int(rng.integers(len(lines)))
            row = odd.change_tree(json.loads(lines[number]), rng, odd.IN_JSON, _KEYS)
            text = odd.write(row, yaml=False)
            lines[number] = text.replace('": ', '":') if rng.random() < 0.9 else text
            self._write_index(lab, tree, lines)
        else:
            self._write_index(lab, tree, damage(data, rng))

    @staticmethod
    def _write_index(lab: Path, tree: Any, lines: list[str] | bytes) -> None:
        data = (
            lines
            if isinstance(lines, bytes)
            else _FIRST + "\n".join([*lines, ""]).encode("utf-8", "surrogatepass")
        )
        (lab / tree["index"]["path"]).write_bytes(data)
        rewrite(lab / "registry.yaml", {**tree, "index": {**tree["index"], **digest(data)}})

    @staticmethod
    def _change_part(lab: Path, tree: Any, rng: np.random.Generator, mutator: str) -> None:
        """Changes the spec of an entry or the sources of its files, in a plain registry."""
        entry = tree["entries"][int(rng.integers(len(tree["entries"])))]
        path = lab / entry["spec"]["path"]
        if mutator == "sources":
            entry["files"][0]["sources"] = [
                odd.pick(rng, odd.PATHS),
                *entry["files"][0]["sources"],
            ]
        elif mutator == "spec":
            spec = odd.change_tree(read_yaml(path.read_text()), rng, odd.IN_YAML, _KEYS)
            entry["spec"] |= digest(rewrite(path, spec))
        else:
            spec = odd.change_tree(read_yaml(path.read_text()), rng, odd.STRUCTURES, _KEYS)
            entry["spec"] = {"inline": spec, "sha256": "0" * 64, "size": 1}
            with contextlib.suppress(Exception):  # what dump cannot write is not hashed
                entry["spec"] |= digest(dump(spec).encode())
        rewrite(lab / "registry.yaml", tree)

    def judge(self, rng: np.random.Generator, place: Path, mutator: str) -> str:
        """Opens the registry, reads and loads each entry, and compares them."""
        lab = self.make(rng, place, mutator)
        with mock.patch.dict(os.environ, environment(place)):
            return read_registry(place, lab)

    def command(self, rng: np.random.Generator, place: Path, mutator: str) -> list[str]:
        """A command about the registry or one of its entries."""
        lab, name = self.make(rng, place, mutator), f"lab:vae/{odd.pick(rng, NAMES)}@1"
        words = (["weights", "list"], ["weights", "show", name], ["weights", "verify", name])
        return [*odd.pick(rng, words), "--registry", f"lab={lab}"]


def _is_named(line: str) -> bool:
    return "lab" in line


def read_registry(place: Path, lab: Path) -> str:
    """Reads all of a registry; returns the verdict.

    Raises:
        Fault: it holds something else than is written, or other weights.
    """
    location = f"lab={lab}"
    with guarded(place):
        opened, is_read = attempt(
            lambda: open_registries([location], only_prefix="lab"), _is_named
        )
    if not is_read:
        return "refused"
    loaded = 0
    for entry_id in opened[0].ids:
        with guarded(place):
            attempt(lambda: opened[0].summary(entry_id), _is_named)
            entry, is_read = attempt(lambda: find_entry(f"lab:{entry_id}", [location]), _is_named)
        if is_read:
            _check_entry(lab, entry)
            card(entry.weights, (), "lab:")
            loaded += load(place, entry)
    return "all loaded" if loaded == len(opened[0].ids) else "some loaded" if loaded else "none"


def load(place: Path, entry: RegistryEntry) -> bool:
    """Loads an entry; whether it was not refused.

    Raises:
        Fault: the model has other weights than its file.
    """
    with guarded(place, memory=None, may_warn=_DEPRECATED):
        result, is_loaded = attempt(lambda: load_entry(entry), _is_named)
    if is_loaded:
        expected = registries().states[entry.weights.files[0].sha256]
        state = result[1].model.state_dict()
        if state.keys() != expected.keys() or not all(
            torch.equal(value, expected[name]) for name, value in state.items()
        ):
            raise Fault(f"{entry.name} has other weights")
    return is_loaded


def _check_entry(lab: Path, entry: RegistryEntry) -> None:
    """Checks that an entry holds what is written."""
    tree = read_yaml((lab / "registry.yaml").read_text("utf-8"))
    written = [each for each in tree["entries"] if each["id"] == entry.weights.id]
    if not written:
        path = lab / entry.registry.index.row(entry.weights.id).path
        written = [read_yaml(path.read_text("utf-8"))["entry"]]
    check_kept(written[0], _plain(entry.weights))


def _plain(weights: WeightsEntry) -> Any:
    return weights.model_dump()

"""Headers of weights, in a registry whose hashes match: the publisher is hostile."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
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
from tests.fuzz.registry_files import digest, rewrite
from vaezoo.data.description import to_json
from vaezoo.model.model import Model
from vaezoo.pretrained.finding import find_entry
from vaezoo.pretrained.loading import load_entry

_DTYPES = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
           "I8": "<i1", "U8": "<u1", "BOOL": "?"}  # fmt: skip
_VALUES = (
    "F32", "F64", "F16", "BF16", "I64", "BOOL", "F8_E4M3", [0, 0], [0, 16], [2, 2], [1] * 20,
    [2**40, 2**40], [0], *odd.IN_JSON,
)  # fmt: skip
_ABOUT = (
    "real", "unit", "binary", "count", "one-hot", "mixed", "joint", "a:b", [8], [1, 8, 8],
    [2**20, 2**20], [0], [-1], [1, [2]], "numeric", "categorical", "ordinal", *odd.IN_JSON,
)  # fmt: skip
_KEYS = (
    "shape", "support", "levels", "pixels", "mask_dims", "classes", "condition_shape", "fields",
    "factors", "variable_length", "extras", "parts", "facts", "step", "name", "kind", "columns",
    "categories", "offset", "scale", "unit", "train_size", "data", "dtype", "data_offsets",
    "__metadata__", "about", "vaezoo",
)  # fmt: skip


def split_file(data: bytes) -> tuple[bytes, bytes]:
    """The header and the numbers of a safetensors file."""
    end = 8 + int.from_bytes(data[:8], "little")
    return data[8:end], data[end:]


class Headers(Kind):
    """The fuzzer of the headers of weights."""

    name = "headers"
    mutators = ("about", "header", "about", "bytes", "about", "table", "length", "about-bytes")

    def make(self, rng: np.random.Generator, place: Path, mutator: str) -> tuple[Path, str]:
        """Writes a case; returns the folder of the registry and the name of the entry."""
        lab, name = place / "lab", odd.pick(rng, NAMES)
        shutil.copytree(registries().plain, lab)
        path = lab / f"weights/vae-{name}-1/model.safetensors"
        header, numbers = split_file(path.read_bytes())
        length = None
        if mutator == "bytes":
            header = damage(header, rng)
        elif mutator == "length":
            length = int(odd.pick(rng, (0, 1, len(header) - 1, 2**20, 2**31, 2**63, 2**64 - 1)))
        else:
            header = self._change(json.loads(header), rng, mutator)
        length = len(header) if length is None else length
        data = length.to_bytes(8, "little") + header + numbers
        path.write_bytes(data)
        self._publish(lab, name, data, hostile=rng.random() < 0.7)
        return lab, f"lab:vae/{name}@1"

    @staticmethod
    def _change(header: Any, rng: np.random.Generator, mutator: str) -> bytes:
        """Changes the tree of a header, or of the description in it."""
        if mutator == "header":
            header = odd.change_tree(header, rng, _VALUES, _KEYS)
        elif mutator == "table":
            metadata = header.pop("__metadata__")
            header = odd.change_tree(header, rng, _VALUES, _KEYS)
            if isinstance(header, dict):
                header["__metadata__"] = metadata
        else:
            about = header["__metadata__"]["about"]
            if mutator == "about-bytes":
                about = damage(about.encode(), rng).decode("utf-8", "replace")
            else:
                about = odd.write(
                    odd.change_tree(json.loads(about), rng, _ABOUT, _KEYS), yaml=False
                )
            header["__metadata__"]["about"] = about.encode("utf-8", "replace").decode()
            if rng.random() < 0.2:
                header["__metadata__"]["vaezoo"] = "model/v1"
        return odd.write(header, yaml=False).encode("utf-8", "surrogatepass")

    @staticmethod
    def _publish(lab: Path, name: str, data: bytes, *, hostile: bool) -> None:
        """Lists the file; a hostile publisher also lists the tensors and data that it declares."""
        path = lab / "registry.yaml"
        tree = read_yaml(path.read_text("utf-8"))
        (entry,) = [each for each in tree["entries"] if each["id"] == f"vae/{name}@1"]
        entry["files"][0] |= digest(data)
        if hostile:
            with contextlib.suppress(Exception):  # a header that declares nothing
                header = json.loads(split_file(data)[0])
                metadata = header.pop("__metadata__", {})
                entry["tensors"] = _table(header)
                described = json.loads(metadata["about"])["data"]
                for key in ("shape", "support"):
                    entry["preprocessing"][key] = described[key]
                if described["classes"]:
                    entry["classes"] = described["classes"]
        rewrite(path, tree)

    def judge(self, rng: np.random.Generator, place: Path, mutator: str) -> str:
        """Loads the entry, compares the model with the file, and samples from it."""
        lab, name = self.make(rng, place, mutator)
        with mock.patch.dict(os.environ, environment(place)):
            with guarded(place):
                entry, is_read = attempt(
                    lambda: find_entry(name, [f"lab={lab}"]), lambda line: "lab" in line
                )
            if not is_read:
                return "registry refused"
            with guarded(place, memory=None):
                loaded, is_read = attempt(lambda: load_entry(entry), lambda line: name in line)
        if not is_read:
            return "refused"
        model = loaded[1].model
        check_model(lab / entry.weights.files[0].sources[0], model)
        with guarded(place, memory=None):
            condition = None if model.conditioner is None else 0
            _, is_sampled = attempt(
                lambda: model.sample(2, condition=condition, seed=0), lambda line: True
            )
        return "sampled" if is_sampled else "loaded"

    def command(self, rng: np.random.Generator, place: Path, mutator: str) -> list[str]:
        """A command that loads the entry."""
        lab, name = self.make(rng, place, mutator)
        condition = ["--condition", "0"] if "labels" in name else []
        words = (["weights", "verify", name], ["sample", name, "-n", "2", *condition])
        return [*odd.pick(rng, words), "--registry", f"lab={lab}"]


def _table(header: dict[str, Any]) -> dict[str, Any]:
    """What a registry lists of tensors."""
    rows = sorted((name, row["dtype"], tuple(row["shape"])) for name, row in header.items())
    lines = [f"{name}\t{dtype}\t{','.join(map(str, shape))}\n" for name, dtype, shape in rows]
    return {
        "count": len(rows),
        "parameters": sum(math.prod(shape) for _, _, shape in rows),
        "sha256": hashlib.sha256("".join(lines).encode()).hexdigest(),
    }


def check_model(path: Path, model: Model) -> None:
    """Checks that a model has the weights, and describes the data, of a file.

    Raises:
        Fault: it does not.
    """
    header, numbers = split_file(path.read_bytes())
    table = json.loads(header)
    metadata, state = table.pop("__metadata__"), model.state_dict()
    if table.keys() != state.keys():
        raise Fault(f"tensors {sorted(table.keys() ^ state.keys())} are in one of file and model")
    for name, row in table.items():
        begin, end = row["data_offsets"]
        if row["dtype"] not in _DTYPES:  # which numpy lacks
            continue
        found = np.frombuffer(numbers[begin:end], _DTYPES[row["dtype"]]).reshape(row["shape"])
        if not torch.equal(torch.from_numpy(found.copy()).to(state[name].dtype), state[name]):
            raise Fault(f"{name} is not that of the file")
    if metadata.get("vaezoo") != "model/v1":  # in which other keys have other names
        check_kept(json.loads(metadata["about"])["data"], to_json(model.data))

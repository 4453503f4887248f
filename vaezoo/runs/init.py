"""Loads the weights that training begins with, from runs and pretrained weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from vaezoo.model.model import Model
from vaezoo.nn.loading import load_matching, load_strict
from vaezoo.pretrained.finding import find_entry
from vaezoo.pretrained.loading import check_status, read_weights, weights_file
from vaezoo.runs.directory import RunDirectory
from vaezoo.spec.parts import find_parts
from vaezoo.spec.schema import InitSpec
from vaezoo.spec.spec import Spec
from vaezoo.utils.errors import IntegrityError, UsageError, VaezooError
from vaezoo.utils.files import read_tensors
from vaezoo.utils.paths import is_file, is_folder, shell_word

_SUFFIX = ".safetensors"


def load_init(spec: Spec, model: Model) -> list[dict[str, Any]]:
    """Loads the weights of ``init`` into a model, in the order of the spec.

    Args:
        spec: the spec of the run.
        model: the model.

    Returns:
        What was loaded: for each item its source, parts and the SHA-256 of the file; and
        ``kept``, the weights that have no counterpart and keep their initial values.

    Raises:
        SpecError: there are no such weights, or a part of them does not fit the model.
    """
    return [_load_item(spec, model, item, index) for index, item in enumerate(spec.init)]


def _load_item(spec: Spec, model: Model, item: InitSpec, index: int) -> dict[str, Any]:
    try:
        tensors, digest = _read_source(item.source)
    except VaezooError as error:
        raise spec.problem(f"init.{index}.from", str(error)) from error
    names, kept = item.parts or model.own_parts, []
    count = total = 0
    for position, name in enumerate(names):
        path = f"init.{index}.parts.{position}"
        for part in find_parts(spec, model, [name], path):
            try:
                missing = _load_part(model, part, tensors, item)
            except IntegrityError as error:
                hint = "set strict: false to load those that fit, or list other parts"
                raise spec.problem(path, f"{error}; {hint}") from error
            kept += missing
            total += len(model.get_submodule(part).state_dict())
            count += len(model.get_submodule(part).state_dict()) - len(missing)
    if total and not count:
        raise spec.problem(f"init.{index}", f"no weight of {item.source} fits the model")
    place = Path(item.source)
    return {
        "from": item.source,
        "parts": item.parts,
        "sha256": digest,
        "is_run": is_folder(place),
        "is_file": is_file(place),
        **({} if item.strict else {"kept": kept}),
    }


def _load_part(model: Model, part: str, tensors: dict[str, Tensor], item: InitSpec) -> list[str]:
    """Loads one part; returns what keeps its initial values.

    Raises:
        IntegrityError: a weight does not fit, and the item is strict.
    """
    prefix, module = f"{part}.", model.get_submodule(part)
    own = {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    if not item.strict:
        return [f"{prefix}{each}" for each in load_matching(module, own)]
    load_strict(module, own, f"{part} of {item.source}")
    return []


def describe_init(loaded: Sequence[Mapping[str, Any]]) -> list[str]:
    """What training begins with, of what ``load_init`` returned: a line for each item."""
    lines = []
    for item in loaded:
        parts = ", ".join(item["parts"] or ["all parts"])
        line = f"init: {parts} of {item['from']}"
        if kept := item.get("kept"):
            line += f"; {len(kept)} weights keep their initial values: {'; '.join(kept)}"
        lines.append(line)
    return lines


def _read_source(source: str) -> tuple[dict[str, Tensor], str]:
    """The tensors of a run, a file or pretrained weights, and the SHA-256 of their file.

    Raises:
        VaezooError: there are none, or they are damaged.
    """
    path = Path(source)
    if is_folder(path):
        directory = RunDirectory.open(path)
        if not directory.model.is_file():
            raise UsageError(f"{path}: the run is not finished; vaezoo resume {shell_word(path)}")
        tensors, _ = directory.read_tensors(directory.model)
        return tensors, hashlib.sha256(directory.model.read_bytes()).hexdigest()
    if is_file(path) or path.suffix == _SUFFIX:
        if path.suffix != _SUFFIX:
            raise UsageError(f"{path}: is no file of weights, which end in {_SUFFIX}")
        tensors, _ = read_tensors(path)
        return tensors, hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        entry = find_entry(source, ())
    except UsageError as error:
        raise UsageError(f"{source}: not a run, and {error}") from None
    check_status(entry)
    file = weights_file(entry)
    tensors, _ = read_weights(entry, file)
    return tensors, file.sha256

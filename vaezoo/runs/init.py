"""Loads the weights that training begins with, from runs and pretrained weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from torch import Tensor

from vaezoo.model.model import Model
from vaezoo.nn.loading import load_strict
from vaezoo.pretrained.loading import check_status, read_weights, weights_file
from vaezoo.pretrained.registries import find_entry
from vaezoo.runs.directory import RunDirectory
from vaezoo.spec.parts import find_parts
from vaezoo.spec.schema import InitSpec
from vaezoo.spec.spec import Spec
from vaezoo.utils.errors import IntegrityError, UsageError, VaezooError
from vaezoo.utils.files import read_tensors


def load_init(spec: Spec, model: Model) -> list[dict[str, Any]]:
    """Loads the weights of ``init`` into a model, in the order of the spec.

    Args:
        spec: the spec of the run.
        model: the model.

    Returns:
        What was loaded: for each item its source, parts and the SHA-256 of the file.

    Raises:
        SpecError: there are no such weights, or a part of them does not fit the model.
    """
    return [_load_item(spec, model, item, index) for index, item in enumerate(spec.init)]


def _load_item(spec: Spec, model: Model, item: InitSpec, index: int) -> dict[str, Any]:
    try:
        tensors, digest = _read_source(item.source)
    except VaezooError as error:
        raise spec.problem(f"init.{index}.from", str(error)) from error
    names = item.parts or model.own_parts
    for position, name in enumerate(names):
        path = f"init.{index}.parts.{position}"
        for part in find_parts(spec, model, [name], path):
            _load_part(spec, model, part, tensors, path=path, source=item.source)
    is_run = Path(item.source).is_dir()
    return {"from": item.source, "parts": item.parts, "sha256": digest, "is_run": is_run}


def _load_part(
    spec: Spec, model: Model, part: str, tensors: dict[str, Tensor], *, path: str, source: str
) -> None:
    prefix = f"{part}."
    own = {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    try:
        load_strict(model.get_submodule(part), own, f"{part} of {source}")
    except IntegrityError as error:
        raise spec.problem(path, str(error)) from error


def _read_source(source: str) -> tuple[dict[str, Tensor], str]:
    """The tensors of a run or of pretrained weights, and the SHA-256 of their file.

    Raises:
        VaezooError: there are none, or they are damaged.
    """
    path = Path(source)
    if path.is_dir():
        directory = RunDirectory.open(path)
        if not directory.model.is_file():
            raise UsageError(f"{path}: the run is not finished; vaezoo resume {path}")
        tensors, _ = read_tensors(directory.model)
        return tensors, hashlib.sha256(directory.model.read_bytes()).hexdigest()
    try:
        entry = find_entry(source, ())
    except UsageError as error:
        raise UsageError(f"{source}: not a run, and {error}") from None
    check_status(entry)
    file = weights_file(entry)
    tensors, _ = read_weights(entry, file)
    return tensors, file.sha256

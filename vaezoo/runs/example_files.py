"""Reads files of examples that a user gives to a model, and writes files of generated examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from vaezoo.data.batch import Batch, hide_missing
from vaezoo.data.dataset import Split
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.format import Format
from vaezoo.data.loader import Loader
from vaezoo.data.mapping import first_tensor
from vaezoo.data.supports import describe_support, first_invalid_row
from vaezoo.model.inputs import to_batch
from vaezoo.model.model import Model
from vaezoo.model.parts import Likelihood
from vaezoo.nn import masked
from vaezoo.plugins.catalogue import BUILT_IN, ComponentEntry
from vaezoo.plugins.discovery import catalogue
from vaezoo.utils.errors import DataError, PluginError, UsageError
from vaezoo.utils.files import atomic_write
from vaezoo.utils.finite import first_fault


def format_for(data: DataSpec, path: Path) -> Format:
    """The format that belongs to the suffix of a file name.

    Raises:
        UsageError: no plugin provides such a format, or it cannot store such data.
    """
    suffix = path.suffix.lstrip(".").lower()
    try:
        cls: Any = _format_entry(data, suffix).load()
    except PluginError as error:
        suffixes = ", ".join(f".{name}" for name in catalogue().names("format"))
        raise UsageError(
            f"{path}: unknown file format; use one of the suffixes {suffixes}"
        ) from error
    if data.parts and not cls.holds_parts:
        names = ", ".join(data.parts)
        raise UsageError(f"{path}: a .{suffix} file cannot store the parts {names}; use .npz")
    try:
        file_format: Format = cls(data)
    except ValueError as error:
        raise UsageError(
            f"{path}: a .{suffix} file cannot store these examples: {error}"
        ) from error
    return file_format


def _format_entry(data: DataSpec, suffix: str) -> ComponentEntry:
    """The format of a plugin that knows the data, or else the one of that name.

    Raises:
        PluginError: there is none.
    """
    known = catalogue()
    for entry in known.entries.get(("format", suffix), []):
        if entry.plugin in data.facts:
            return entry
    return known.find("format", suffix)


def usual_suffix(data: DataSpec) -> str:
    """The suffix of the format that people expect of such data, such as ``mid`` for music.

    That is one of the plugin that knows the data, or one that only a plugin has and that takes
    the data, or else a picture, a table, or arrays.
    """
    known = list(catalogue().all("format"))
    core = {entry.name for entry in known if entry.plugin == BUILT_IN}
    own = [entry for entry in known if entry.plugin in data.facts]
    others = [entry for entry in known if entry.name not in core]
    built_in = [catalogue().find("format", f"{BUILT_IN}:{name}") for name in ("png", "csv")]
    for entry in (*own, *others, *built_in):
        try:
            cls: Any = entry.load()
            if (cls.reads or entry in built_in) and (cls.holds_parts or not data.parts):
                cls(data)
                return entry.name
        except (PluginError, ValueError, KeyError):  # not for such data
            continue
    return "npz"


def write_example_files(file_format: Format, path: Path, batch: Batch, columns: int) -> list[Path]:
    """Writes examples in the units of the source data.

    Args:
        file_format: the format of the file.
        path: the file; a format with one example per file writes ``<stem>-1``, ``<stem>-2``, ...
        batch: the examples in the range of the model.
        columns: the number of images in a row of a picture.

    Returns:
        The paths of the files that were written.
    """
    batch = batch.to("cpu")
    batch = replace(batch, x=_convert(file_format.data, batch.x, DataSpec.to_source_units))
    paths, n = [path], len(batch)
    if file_format.one_example_per_file and n > 1:
        digits = len(str(n))
        paths = [path.with_stem(f"{path.stem}-{i:0{digits}}") for i in range(1, n + 1)]
    for i, name in enumerate(paths):
        with atomic_write(name) as temporary:
            examples = batch.select(slice(i, i + 1)) if len(paths) > 1 else batch
            file_format.write(temporary, examples, columns)
    return paths


def read_examples(model: Model, path: Path) -> Loader:
    """Reads the examples of a file, with their conditions and masks if the file has them.

    Raises:
        DataError: the examples do not fit the model's data; names the row.
    """
    return to_loader(model, read_batch(model, path))


def read_batch(model: Model, path: Path) -> Batch:
    """Reads the examples of a file, as ``read_examples`` does.

    Raises:
        DataError: the examples do not fit the model's data; names the row.
    """
    batch = _read_batch(model, path, "read")
    try:
        condition = _check_condition(model, batch.condition, len(batch))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    return replace(batch, condition=condition)


def to_loader(model: Model, batch: Batch) -> Loader:
    """Loads examples in batches that fit in memory."""
    split = Split(batch.x, batch.condition, batch.mask, extras=batch.extras, present=batch.present)
    return Loader(split, model.device, model.batch_size())


def read_prefixes(model: Model, path: Path) -> Tensor:
    """Reads the first steps of sequences, all with the same number of steps, ``[n, T, D]``.

    Raises:
        DataError: their lengths differ, or they do not fit the model's data.
    """
    batch = _read_batch(model, path, "read_prefixes")
    if batch.mask is not None and not bool(batch.mask.all()):
        raise DataError(f"{path}: all prefixes must have the same length")
    return batch.x


def read_incomplete(model: Model, path: Path) -> Batch:
    """Reads examples of which some values are missing, with a mask that says which.

    Raises:
        DataError: no value is missing, or they do not fit the model's data; names the row.
    """
    batch = _read_batch(model, path, "read_incomplete")
    if batch.mask is None or bool(first_tensor(batch.mask).all()):
        raise DataError(f"{path}: nothing is missing")
    try:
        condition = _check_condition(model, batch.condition, len(batch))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    return replace(batch, condition=condition)


def _read_batch(
    model: Model, path: Path, method: Literal["read", "read_prefixes", "read_incomplete"]
) -> Batch:
    """Reads a file and converts its examples to the range of the model."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; the splits are train, validation and test")
    try:
        file_format = format_for(model.data, path)
        batch = getattr(file_format, method)(path)
        extras = {} if method == "read_prefixes" else _select_extras(model.data, batch)
        stored = batch
        batch = to_batch(model.data, replace(batch, extras=extras), None, None, model.device)
    except NotImplementedError as error:
        raise UsageError(f"{path}: .{path.suffix.lstrip('.')} {error}") from error
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: {error}") from error
    batch = replace(batch, x=_standardised(model.data, stored.x, batch.x))
    if not model.data.parts:
        return _checked_part(model.data, model.likelihood, batch, path, "")
    batch, likelihoods = replace(batch, x=hide_missing(batch)), model.likelihood.by_part
    parts = {
        name: _checked_part(
            part, likelihoods.get(name, model.likelihood), batch.part(name), path, f".{name}"
        )
        for name, part in model.data.parts.items()
    }
    masks = {name: part.mask for name, part in parts.items() if part.mask is not None}
    return replace(batch, x={name: part.x for name, part in parts.items()}, mask=masks or None)


def _standardised(data: DataSpec, stored: Any, x: Any) -> Any:
    """Examples in the range of the model, from their numbers in the precision of the file.

    Args:
        data: describes them.
        stored: as they were read; parts may be missing.
        x: as input of the model, but in the units of the source.
    """
    if data.parts:
        return {
            name: _standardised(part, stored.get(name), x[name])
            for name, part in data.parts.items()
        }
    exact = x if stored is None else torch.as_tensor(stored)
    return _convert(data, exact, DataSpec.from_source_units).to(x) if _is_scaled(data) else x


def _convert(data: DataSpec, x: Any, convert: Callable[[DataSpec, Any], Any]) -> Any:
    """Converts units in float64: a mean may be large in comparison with the deviation."""
    if data.parts:
        return {name: _convert(part, x[name], convert) for name, part in data.parts.items()}
    return convert(data, x.cpu().double()) if _is_scaled(data) else x


def _is_scaled(data: DataSpec) -> bool:
    """Whether examples have other units than the source."""
    return any(field.offset != 0 or field.scale != 1 for field in data.fields)


def _checked_part(
    data: DataSpec, likelihood: Likelihood, batch: Batch, path: Path, suffix: str
) -> Batch:
    """Examples of one tensor, with their mask if the data has masks.

    Args:
        data: describes them.
        likelihood: theirs.
        batch: the examples in the range of the model.
        path: the file, for messages.
        suffix: what follows ``x`` and ``mask`` in the names of their arrays.

    Raises:
        DataError: they are not valid; names the row.
    """
    x, mask = batch.x, batch.mask
    if not x.numel():
        raise DataError(f"{path}: 'x{suffix}' of shape {tuple(x.shape)} contains no values")
    mask_shape = x.shape[: 1 + data.mask_dims]
    if mask is None and data.mask_dims:
        mask = torch.ones(mask_shape, dtype=torch.bool, device=x.device)
    if mask is not None and mask.shape != mask_shape:
        raise DataError(
            f"{path}: the mask{suffix} has the shape {tuple(mask.shape)}; it must be "
            f"{tuple(mask_shape)}"
        )
    support = likelihood.permitted_support
    x = masked(x, mask)  # what it hides may be anything
    row = first_invalid_row(x, support)
    if row is not None:
        raise DataError(f"{path}: 'x{suffix}' row {row} must have {describe_support(support)}")
    return replace(batch, x=x, mask=mask)


def _select_extras(data: DataSpec, batch: Batch) -> dict[str, Tensor]:
    """The extras that the data has; others of the file are left out.

    Raises:
        ValueError: one is missing or not finite.
    """
    for name in data.extras:
        if name not in batch.extras:
            raise ValueError(f"has no array 'extras.{name}', which the data of the model has")
        if fault := first_fault(batch.extras[name], f"'extras.{name}' row"):
            raise ValueError(fault)
    return {name: batch.extras[name] for name in data.extras}


def _check_condition(model: Model, condition: Tensor | None, n: int) -> Tensor | None:
    """The conditions of n examples with the model's dtype; None if the model has no conditions.

    Raises:
        ValueError: they do not fit the model, or are missing and the model needs them.
    """
    shape, classes = model.data.condition_shape, model.data.classes
    if condition is None:
        try:
            model.context(None, n)
        except ValueError as error:
            raise ValueError(f"{error}, as the array 'condition' of an .npz file") from error
        return None
    if shape is None:
        return None
    condition = condition.double()  # torch.isin does not support every integer type
    if condition.shape == (n,) and shape == (1,):
        condition = condition[:, None]  # [n, 1]
    if condition.shape != (n, *shape):
        raise ValueError(
            f"'condition' has the shape {tuple(condition.shape)}; it must be {(n, *shape)}"
        )
    labels = torch.arange(len(classes)).double()
    valid = torch.isin(condition, labels) if classes else condition.isfinite()
    if not bool(valid.all()):
        row = int((~valid).nonzero()[0, 0])
        problem = "is not finite"
        if classes:
            problem = (
                f"is {condition[row]:g}, not one of the {len(classes)} classes, which start at 0"
            )
        raise ValueError(f"'condition' row {row} {problem}")
    return condition.long() if classes else condition.float()

"""Reads files of examples that a user gives to a model, and writes files of generated examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from vaezoo.data.batch import Batch, hide_missing
from vaezoo.data.dataset import Split
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.format import Format, NamedBatch
from vaezoo.data.loader import Loader
from vaezoo.data.mapping import first_tensor
from vaezoo.data.supports import describe_support, first_invalid_row
from vaezoo.model.inputs import to_batch
from vaezoo.model.model import Model
from vaezoo.model.parts import Likelihood
from vaezoo.nn import masked
from vaezoo.runs.file_formats import folder_suffix, format_for
from vaezoo.utils.errors import DataError, UsageError
from vaezoo.utils.files import atomic_write
from vaezoo.utils.finite import first_fault
from vaezoo.utils.paths import is_file, is_folder


def write_example_files(file_format: Format, path: Path, batch: Batch, columns: int) -> list[Path]:
    """Writes examples in the units of the source data.

    Args:
        file_format: the format of the file.
        path: the file; a format with one example per file writes ``<stem>-1``, ``<stem>-2``, ...;
            a path without an ending is a folder, with a file for each example.
        batch: the examples in the range of the model.
        columns: the number of images in a row of a picture.

    Returns:
        The paths of the files that were written.
    """
    batch = batch.to("cpu")
    batch = replace(batch, x=_convert(file_format.data, batch.x, DataSpec.to_source_units))
    return write_source_units(file_format, path, batch, columns)


def write_source_units(file_format: Format, path: Path, batch: Batch, columns: int) -> list[Path]:
    """Writes examples that are in the units of the source data, as ``write_example_files`` does.

    Args:
        file_format: the format of the file.
        path: the file, or a folder.
        batch: the examples, on the CPU.
        columns: the number of images in a row of a picture.

    Returns:
        The paths of the files that were written.
    """
    paths, n = [path], len(batch)
    numbers = [f"{i:0{len(str(n))}}" for i in range(1, n + 1)]
    if not path.suffix:
        suffix = folder_suffix(file_format.data, path)
        path.mkdir(parents=True, exist_ok=True)
        paths = [path / f"{number}{suffix}" for number in numbers]
    elif file_format.one_example_per_file and n > 1:
        paths = [path.with_stem(f"{path.stem}-{number}") for number in numbers]
    for i, name in enumerate(paths):
        with atomic_write(name) as temporary:
            examples = batch.select(slice(i, i + 1)) if len(paths) == n else batch
            file_format.write(temporary, examples, columns)
    return paths


def write_completed(file_format: Format, path: Path, source: Path, batch: Batch) -> list[Path]:
    """Writes examples of which some values were missing, with these values.

    Where the format completes the incomplete file, all else of it is kept; in a folder it has the
    name of the incomplete file.

    Args:
        file_format: the format of the file.
        path: the file, as for ``write_example_files``.
        source: the incomplete file.
        batch: its completed examples in the range of the model.
    """
    if not file_format.completes(source):
        return write_example_files(file_format, path, batch, 1)
    if not path.suffix:
        path.mkdir(parents=True, exist_ok=True)
        name = Path(source.name.removesuffix(".gz"))
        path = path / name.with_suffix(folder_suffix(file_format.data, path))
    batch = batch.to("cpu")
    batch = replace(batch, x=_convert(file_format.data, batch.x, DataSpec.to_source_units))
    with atomic_write(path) as temporary:
        file_format.write_completed(temporary, source, batch)
    return [path]


def read_examples(model: Model, path: Path, file_format: Format | None = None) -> Loader:
    """Loads the examples of a file, as ``read_named_batch`` reads them."""
    return to_loader(model, read_named_batch(model, path, file_format).batch)


def read_named_batch(
    model: Model,
    path: Path,
    file_format: Format | None = None,
    *,
    label: int | None = None,
    needs_condition: bool = True,
) -> NamedBatch:
    """Reads the examples of a file, with their names, conditions and masks if the file has them.

    Args:
        model: the model.
        path: the file.
        file_format: reads it; by default the format of its ending.
        label: the condition of examples that have none in the file; None if it is not known.
        needs_condition: whether examples need a condition if the model does.

    Raises:
        DataError: the examples do not fit the model's data; names the row.
    """
    named: NamedBatch = _read_file(model, path, "read_named", file_format)
    batch = _to_model(model, path, named.batch)
    condition = batch.condition
    if condition is None and label is not None:
        condition = torch.full((len(batch),), label, device=batch.device)
    try:
        if condition is not None or needs_condition:
            condition = _check_condition(model, condition, len(batch))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    return replace(named, batch=replace(batch, condition=condition))


def to_loader(model: Model, batch: Batch) -> Loader:
    """Loads examples in batches that fit in memory."""
    split = Split(batch.x, batch.condition, batch.mask, extras=batch.extras, present=batch.present)
    return Loader(split, model.device, model.batch_size())


def read_prefixes(model: Model, path: Path) -> Tensor:
    """Reads the first steps of sequences, all with the same number of steps, ``[n, T, D]``.

    Raises:
        DataError: their lengths differ, or they do not fit the model's data.
    """
    batch = _read_file(model, path, "read_prefixes")
    batch = _to_model(model, path, batch, needs_extras=False)
    if batch.mask is not None and not bool(batch.mask.all()):
        raise DataError(f"{path}: all prefixes must have the same length")
    return batch.x


def read_incomplete(model: Model, path: Path, file_format: Format) -> tuple[Batch, Tensor | None]:
    """Reads examples of which some values are missing, with a mask that says which.

    Args:
        model: the model.
        path: the file.
        file_format: reads it.

    Returns:
        The examples, and which of their steps exist, bool of the shape of their mask: what comes
        after the end of a sequence is not missing. None if all do.

    Raises:
        DataError: no value is missing, or they do not fit the model's data; names the row.
    """
    batch = _read_file(model, path, "read_incomplete", file_format)
    batch = _to_model(model, path, batch)
    exists = _existing_steps(batch, file_format.lengths(path))
    mask = None if batch.mask is None else first_tensor(batch.mask)
    if mask is None or bool((mask if exists is None else mask | ~exists).all()):
        raise DataError(f"{path}: nothing is missing")
    try:
        condition = _check_condition(model, batch.condition, len(batch))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    return replace(batch, condition=condition), exists


def _existing_steps(batch: Batch, lengths: Sequence[int] | None) -> Tensor | None:
    """Which steps examples have, of the shape of their mask; None if all, or if they have none."""
    if lengths is None or not isinstance(batch.mask, Tensor):
        return None
    mask = batch.mask
    steps = torch.arange(mask.shape[1], device=mask.device)
    exists = steps < torch.tensor(lengths, device=mask.device)[:, None]  # [n, T]
    return exists.reshape(*exists.shape, *[1] * (mask.dim() - 2)).expand_as(mask)


def _read_file(
    model: Model,
    path: Path,
    method: Literal["read_named", "read_prefixes", "read_incomplete"],
    file_format: Format | None = None,
) -> Any:
    """What a method of the format returns of a file."""
    if not is_file(path):
        what = "is a folder; name a file in it" if is_folder(path) else "no such file"
        raise DataError(f"{path}: {what}")
    try:
        return getattr(file_format or format_for(model.data, path), method)(path)
    except NotImplementedError as error:
        raise UsageError(f"{path}: .{path.suffix.lstrip('.')} {error}") from error
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: {error}") from error


def _to_model(model: Model, path: Path, stored: Batch, *, needs_extras: bool = True) -> Batch:
    """Converts examples of a file to the range of the model, with or without their extras."""
    try:
        extras = _select_extras(model.data, stored) if needs_extras else {}
        batch = to_batch(model.data, replace(stored, extras=extras), None, None, model.device)
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
            hint = "as the array 'condition' of an .npz file"
            if classes:
                hint += ", or as the name of the folder that holds the file"
            hint += "; a model trained with condition.dropout needs none"
            raise ValueError(f"{error}, {hint}") from error
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
    first = -1 if model.takes_unknown_labels else 0
    labels = torch.arange(first, len(classes)).double()
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

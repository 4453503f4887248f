"""Files of examples that a user hands to a trained model, or asks it for."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.dataset import Split
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.format import Format
from vaezoo.data.loader import Loader
from vaezoo.model.model import Model
from vaezoo.plugins.discovery import catalogue
from vaezoo.utils.errors import DataError, PluginError, UsageError
from vaezoo.utils.files import atomic_write


def format_for(data: DataSpec, path: Path) -> Format:
    """The format that a file's ending names.

    Raises:
        UsageError: no plugin brings it, or it cannot hold such data.
    """
    ending, names = path.suffix.lstrip(".").lower(), catalogue().names("format")
    try:
        cls = catalogue().find("format", ending).load()
    except PluginError as error:
        raise UsageError(
            f"{path}: give it an ending that says how: {', '.join(f'.{name}' for name in names)}"
        ) from error
    try:
        found: Format = cls(data)
    except ValueError as error:
        raise UsageError(f"{path}: .{ending} cannot hold them: {error}") from error
    return found


def write_examples(form: Format, path: Path, batch: Batch, columns: int) -> list[Path]:
    """Writes examples as a model gives them, and says where: numbered files where one holds but one."""
    condition, mask = (None if part is None else part.cpu() for part in (batch.condition, batch.mask))
    batch = Batch(form.data.to_source_units(batch.x).cpu(), condition, mask)
    paths, n = [path], len(batch)
    if form.single and n > 1:
        paths = [path.with_stem(f"{path.stem}-{i:0{len(str(n))}}") for i in range(1, n + 1)]
    for i, name in enumerate(paths):
        with atomic_write(name) as temporary:
            form.write(temporary, batch.part(i, i + 1) if len(paths) > 1 else batch, columns)
    return paths


def examples(model: Model, path: Path) -> Loader:
    """The examples of a file, with their conditions and masks where it has them.

    Raises:
        DataError: they are not what the model was trained on; names the row.
    """
    found = _read(model, path, beginnings=False)
    try:
        condition = _condition(model, found.condition, len(found))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    return Loader(Split(found.x, condition, found.mask), model.device, model.batch_size())


def prefix(model: Model, path: Path) -> Tensor:
    """The beginnings of sequences in a file, all of one length, ``[n, T, D]``.

    Raises:
        DataError: they are not, or not what the model was trained on.
    """
    found = _read(model, path, beginnings=True)
    if found.mask is not None and not bool(found.mask.all()):
        raise DataError(f"{path}: prefixes must have one length")
    return found.x


def _read(model: Model, path: Path, *, beginnings: bool) -> Batch:
    """A batch in the model's range."""
    if not path.is_file():
        raise DataError(f"{path}: no such file, and no split: say train, validation or test")
    try:
        form = format_for(model.data, path)
        batch = form.read_beginnings(path) if beginnings else form.read(path)
        x = model.data.from_source_units(model.prepare(batch.x))
    except NotImplementedError as error:
        raise UsageError(f"{path}: .{path.suffix.lstrip('.')} {error}") from error
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: {error}") from error
    if not x.numel():
        raise DataError(f"{path}: 'x' of shape {tuple(x.shape)} holds nothing")
    real = model.data.support == "real"
    bad = ~x.isfinite() if real else ~((x >= 0) & (x <= 1))
    if bool(bad.any()):
        row = int(bad.flatten(1).any(1).nonzero()[0])
        what = "holds NaN or infinity" if real else "leaves the model's range of 0 to 1"
        raise DataError(f"{path}: 'x' row {row} {what}")
    covered = x.shape[: 1 + model.data.mask_dims]
    mask = torch.ones(covered) if batch.mask is None and model.data.mask_dims else batch.mask
    if mask is not None and mask.shape != covered:
        raise DataError(f"{path}: a mask of shape {tuple(mask.shape)}; it must be {tuple(covered)}")
    return Batch(x, batch.condition, None if mask is None else mask > 0)


def _condition(model: Model, given: Tensor | None, n: int) -> Tensor | None:
    """The conditions of n examples as the model's data has them; None where that has none.

    Raises:
        ValueError: they are not conditions of the model, or it cannot do without.
    """
    shape, classes = model.data.condition_shape, model.data.classes
    if given is None:
        try:
            model.context(None, n)
        except ValueError as error:
            raise ValueError(f"{error}, the array 'condition' of an .npz") from error
        return None
    if shape is None:
        return None
    given = given.double()  # torch compares some integers with nothing
    if given.shape == (n,) and shape == (1,):
        given = given[:, None]
    if given.shape != (n, *shape):
        raise ValueError(f"'condition' has the shape {tuple(given.shape)}; it must be {(n, *shape)}")
    known = torch.isin(given, torch.arange(len(classes)).double()) if classes else given.isfinite()
    if not bool(known.all()):
        row = int((~known).nonzero()[0, 0])
        what = f"is {given[row]:g}, not one of the {len(classes)} classes, from 0 on" if classes else "is not finite"
        raise ValueError(f"'condition' row {row} {what}")
    return given.long() if classes else given.float()

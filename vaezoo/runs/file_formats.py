"""The format of a file of examples, by the ending of its name."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from vaezoo.data.dataset import Dataset
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.format import Format
from vaezoo.data.image_format import ImageFormat, is_image, is_image_file
from vaezoo.plugins.catalogue import BUILT_IN
from vaezoo.plugins.discovery import catalogue
from vaezoo.utils.errors import PluginError, UsageError
from vaezoo.utils.paths import is_file


def format_for(data: DataSpec, path: Path) -> Format:
    """The format that belongs to the suffix of a file name.

    That of a plugin that knows the data comes first. A path without a suffix is a folder.

    Raises:
        UsageError: no plugin provides such a format, or it cannot store such data.
    """
    suffix = path.suffix.lstrip(".").lower()
    if not suffix and not is_file(path):
        return format_for(data, path / f"x{folder_suffix(data, path)}")
    known = catalogue()
    for entry in known.entries.get(("format", suffix), []):
        if entry.plugin in data.facts and not data.parts:
            with suppress(ValueError):  # of other data of this plugin: the format of that name
                own: Format = entry.load()(data)
                return own
    try:
        cls: Any = known.find("format", suffix).load()
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
            f"{path}: a .{suffix} file cannot hold examples of this model: {error}"
        ) from error
    return file_format


def folder_suffix(data: DataSpec, folder: Path) -> str:
    """The ending of the files of a folder with a file for each example: csv, png or npz.

    Raises:
        UsageError: none can store such data.
    """
    for suffix in (".csv", ".png", ".npz"):
        with suppress(UsageError):
            format_for(data, folder / f"x{suffix}")
            return suffix
    raise UsageError(f"{folder}: give the name of a file, with an ending, and no folder")


def reading_format(dataset: Dataset, data: DataSpec, path: Path) -> Format:
    """The format that reads a file as a data set reads its source, or else that of its ending.

    Args:
        dataset: the data set of the model, with its options.
        data: describes the data of the model.
        path: the file.

    Raises:
        UsageError: as for ``format_for``.
    """
    known = dataset.file_format(data, path)
    if known is None and is_image(data) and is_image_file(path):
        # the data sets of images have this option
        known = ImageFormat(data, binarize=getattr(dataset, "binarize", "static"))
    return known or format_for(data, path)


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

"""From a name to a model whose every weight is what was measured."""

from __future__ import annotations

import warnings
from functools import partial
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from torch import Tensor

from vaezoo.data.dataspec import DataSpec
from vaezoo.model.model import Model
from vaezoo.model.task import Task
from vaezoo.nn.loading import load_strict
from vaezoo.pretrained import download as http
from vaezoo.pretrained import safetensors_header as header
from vaezoo.pretrained.cache import Cache, Mismatch, read, verified
from vaezoo.pretrained.entry import File
from vaezoo.pretrained.model_header import read_model_header
from vaezoo.pretrained.registries import RegistryEntry, find
from vaezoo.spec.composer import compose
from vaezoo.spec.dump import dump
from vaezoo.spec.load import load as load_spec
from vaezoo.spec.spec import Spec
from vaezoo.utils.devices import pick_device
from vaezoo.utils.errors import IntegrityError, PluginError, RegistryError, SpecError, UnavailableError

WEIGHTS = "model.safetensors"


def load(name: str, *, device: str = "cpu", registry: str | Path | None = None) -> Model:
    """A pretrained model by name, ready to sample, encode and measure.

    Args:
        name: such as ``cvae/mnist@1``, ``cvae-mnist``, or ``prefix:name`` for another registry than vaezoo's own.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        registry: one more registry to look in: ``[prefix=]path-or-address``.

    Raises:
        UsageError: no such weights, or several; says the close matches.
        PluginError: a plugin they need is not installed; says the pip command.
        UnavailableError: they are not here and cannot be fetched.
        RegistryError: they are not what the registry declares, or were revoked.
    """
    _, task = load_entry(find(name, () if registry is None else (str(registry),)), device)
    return task.model


def load_entry(found: RegistryEntry, device: str = "cpu") -> tuple[Spec, Task]:
    """The spec of an entry, and its task with the published weights, in evaluation mode; raises as ``load``."""
    entry = found.entry
    check_status(found)
    check_requirements(found)
    spec = spec_of(found)
    weights = next((file for file in entry.files if file.name == WEIGHTS), None)
    if weights is None:
        raise RegistryError(f"{found.name}: lists no {WEIGHTS}")
    tensors, about = table(found, weights)
    try:
        data, train_size = read_model_header(about, found.name)
        _check_said(found, data)
        task = compose(spec, data, train_size)
        load_strict(task.model, tensors, found.name, share=True)
    except SpecError as error:
        raise RegistryError(f"{found.name}: {error}") from error
    except IntegrityError as error:  # names the weights
        raise RegistryError(str(error)) from error
    return spec, task.to(pick_device(device)).eval()


def _check_said(found: RegistryEntry, data: DataSpec) -> None:
    """Raises RegistryError where the entry says something else of its data than the weights do."""
    said = found.entry.preprocessing
    if (tuple(said.shape), said.support) != (data.shape, data.support):
        given = f"{tuple(said.shape)}, {said.support}"
        raise RegistryError(f"{found.name}: its examples are {data.shape}, {data.support}, not {given} as listed")
    if found.entry.classes and tuple(found.entry.classes) != data.classes:
        raise RegistryError(f"{found.name}: its classes are {', '.join(data.classes) or 'none'}, not those listed")


def check_status(found: RegistryEntry) -> None:
    """Warns of an entry that is deprecated.

    Raises:
        RegistryError: it was revoked.
    """
    entry = found.entry
    if entry.status == "revoked":
        raise RegistryError(f"{found.name} was revoked: {entry.reason}")
    if entry.status == "deprecated":
        reason = f": {entry.reason}" if entry.reason else ""
        successor = found.registry.prefixed(entry.successor or "")
        warnings.warn(f"{found.name} is deprecated{reason}; its successor is {successor}", stacklevel=4)


def check_requirements(found: RegistryEntry) -> None:
    """Raises PluginError, with the pip command, where packages are missing or too old."""
    missing = []
    for text in found.entry.requires:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            missing.append(text)
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            missing.append(text)
    if missing:
        raise PluginError(f"{found.name} needs {', '.join(missing)}; pip install {' '.join(map(repr, missing))}")


def spec_of(found: RegistryEntry) -> Spec:
    """The spec of an entry.

    Raises:
        RegistryError: it is not the one that the registry declares, or no spec to what is installed here.
    """
    source = found.entry.spec
    if source.inline is None:
        data = fetch(found, source.file)
    else:
        data = verified(bytearray(dump(source.inline).encode()), source.file, f"{found.name}, spec.inline")
    try:
        return load_spec(data.decode("utf-8", "replace"), text=True)
    except SpecError as error:
        raise RegistryError(f"{found.name}: {error}") from error


def table(found: RegistryEntry, file: File) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The verified tensors of an entry and their metadata; they share the memory that the file was read into.

    Raises:
        RegistryError: they are not those the registry declares.
    """
    tensors, about = header.tensors(fetch(found, file), found.name)
    declared = found.entry.tensors
    given = (len(tensors), sum(tensor.numel() for tensor in tensors.values()), header.fingerprint(tensors))
    if given != (declared.count, declared.parameters, declared.sha256):
        raise RegistryError(
            f"{found.name}: expected {declared.count} tensors of {declared.parameters:,} numbers with the table "
            f"{declared.sha256[:12]}, got {given[0]} of {given[1]:,} with {given[2][:12]}"
        )
    return tensors, about


def fetch(found: RegistryEntry, file: File) -> bytearray:
    """A file's bytes, read once and verified: from beside the registry, from the cache, or from the network.

    Raises:
        RegistryError: what was found is not what is declared, and no further source has it.
        UnavailableError: no source has it, or it is not here and ``VAEZOO_OFFLINE`` is set.
    """
    cache, failures, damaged = Cache(), [], False
    places: list[Path | str] = []
    for source in file.sources:
        try:
            places.append(found.registry.place(source))
        except RegistryError as error:
            failures.append(str(error))
            damaged = True
    for read_one in (*(partial(_beside, file, place) for place in places), partial(cache.get, file)):
        try:
            if (data := read_one()) is not None:
                return data
        except Mismatch as error:
            failures.append(str(error))
            damaged = True
        except OSError as error:
            failures.append(f"{error.filename}: {error.strerror or error}")
    for place in places:
        if isinstance(place, Path):
            failures += [] if place.is_file() else [f"no {place}"]
            continue
        try:
            return cache.add(file, place, partial(http.download, place))
        except Mismatch as error:
            failures.append(str(error))
            damaged = True
        except (UnavailableError, RegistryError) as error:
            failures.append(str(error))
    reasons = "; ".join(failures)
    if damaged:
        raise RegistryError(f"{found.name}: {reasons}")
    far = any(isinstance(place, str) for place in places)
    hint = f"; while online: vaezoo weights pull {found.name}" if far and http.offline() else ""
    raise UnavailableError(f"{found.name}: {file.name} cannot be had: {reasons}{hint}")


def _beside(file: File, place: Path | str) -> bytearray | None:
    """The bytes of a file beside the registry, if that is where it is."""
    return read(place, file, str(place)) if isinstance(place, Path) and place.is_file() else None

"""Loading of pretrained weights: find, fetch and verify an entry, then build its model."""

from __future__ import annotations

import shlex
import warnings
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from torch import Tensor

from vaezoo.data.dataspec import DataSpec
from vaezoo.model.model import Model
from vaezoo.model.task import Task
from vaezoo.nn.loading import check_finite, load_strict
from vaezoo.pretrained import safetensors_header
from vaezoo.pretrained.cache import verify_bytes
from vaezoo.pretrained.entry_parts import File, TensorTable
from vaezoo.pretrained.fetching import fetch
from vaezoo.pretrained.finding import find_entry
from vaezoo.pretrained.locations import text_of
from vaezoo.pretrained.model_header import read_model_header
from vaezoo.pretrained.registry import RegistryEntry, RegistryFeatures
from vaezoo.spec.composer import compose
from vaezoo.spec.dump import dump
from vaezoo.spec.load import load_spec
from vaezoo.spec.spec import Spec
from vaezoo.utils.devices import pick_device
from vaezoo.utils.errors import (
    IntegrityError,
    PluginError,
    RegistryError,
    SpecError,
    VaezooError,
    describe_error,
    printable,
    shorten,
)
from vaezoo.utils.tensor_limit import TensorLimit, TooManyNumbersError

WEIGHTS_FILE = "model.safetensors"
_SPARE_NUMBERS, _SPARE_TENSORS = 2**25, 4096
"""What composing may create beside the weights: critics, tables and two examples."""
_TENSORS_FOR_ONE = 64
"""How many more tensors it may create for each of the weights."""


def load(name: str, *, device: str = "cpu", registry: str | Path | None = None) -> Model:
    """Loads a pretrained model by name, in evaluation mode.

    Args:
        name: such as ``cvae/mnist@1`` or ``cvae-mnist``; ``prefix:name`` for another registry than
            vaezoo's own.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        registry: one more registry to search: ``[prefix=]path-or-url``.

    Returns:
        The model with the published weights.

    Raises:
        UsageError: no weights or several have this name; the message suggests similar names.
        PluginError: a required plugin is not installed; the message has the pip command.
        UnavailableError: the weights are not on this machine and cannot be downloaded.
        RegistryError: the weights are not what the registry declares, or were revoked.

    Example:
        >>> import vaezoo
        >>> model = vaezoo.load("vae-mnist-conv")
        >>> tuple(model.sample(2, seed=0).shape)
        (2, 1, 28, 28)
        >>> tuple(vaezoo.load("cvae-mnist").sample(2, condition=9, seed=0).shape)  # two nines
        (2, 1, 28, 28)
    """
    _, task = load_entry(
        find_entry(name, () if registry is None else (text_of(registry),)), device
    )
    return task.model


def load_entry(entry: RegistryEntry, device: str = "cpu") -> tuple[Spec, Task]:
    """The spec of an entry and its task with the published weights, in evaluation mode.

    Raises as ``load``.
    """
    check_status(entry)
    check_requirements(entry)
    spec = read_spec(entry)
    tensors, header = read_weights(entry, weights_file(entry))
    try:
        data, train_size = read_model_header(header, entry.name)
        _check_entry_data(entry, data)
        task = _compose_within_table(entry, spec, data, train_size)
        load_strict(task.model, tensors, entry.name, share=True)
        check_finite(task.model, entry.name)
    except SpecError as error:
        raise _in_spec(entry, error) from error
    except IntegrityError as error:  # its message already names the entry
        raise RegistryError(str(error)) from error
    return spec, task.to(pick_device(device)).eval()


def _compose_within_table(
    entry: RegistryEntry, spec: Spec, data: DataSpec, train_size: int
) -> Task:
    """``compose``, which may create few more numbers than the tensors of the entry have.

    Raises:
        SpecError: components do not fit together.
        RegistryError: they would create more, or fail in another way.
    """
    declared = entry.weights.tensors.parameters
    try:
        with limit_of(entry.weights.tensors):
            return compose(spec, data, train_size)
    except TooManyNumbersError:
        raise RegistryError(
            f"{entry.name}: its spec describes a model that is too large for its weights, "
            f"which are {declared:,} numbers"
        ) from None
    except VaezooError:
        raise
    except Exception as error:  # a stranger's spec and header may make any component fail
        raise RegistryError(f"{entry.name}: {describe_error(error)}") from error


def limit_of(table: TensorTable) -> TensorLimit:
    """What may be created for the sake of tensors that an entry declares."""
    return TensorLimit(
        _SPARE_NUMBERS + 4 * table.parameters, _SPARE_TENSORS + _TENSORS_FOR_ONE * table.count
    )


def weights_file(entry: RegistryEntry | RegistryFeatures) -> File:
    """The file of an entry that holds its weights.

    Raises:
        RegistryError: it lists none.
    """
    for file in entry.weights.files:
        if file.name == WEIGHTS_FILE:
            return file
    raise RegistryError(f"{entry.name}: lists no {WEIGHTS_FILE}")


def _check_entry_data(entry: RegistryEntry, data: DataSpec) -> None:
    """Raises RegistryError if the entry and the model file describe different data."""
    listed = entry.weights.preprocessing
    if (tuple(listed.shape), listed.support) != (data.shape, data.support):
        raise RegistryError(
            f"{entry.name}: its examples are {shorten(str(data.shape))}, {data.support}, "
            f"not {shorten(str(tuple(listed.shape)))}, {listed.support} as listed"
        )
    parts = {name: tuple(shape) for name, shape in listed.parts.items()}
    if parts != {name: part.shape for name, part in data.parts.items()}:
        raise RegistryError(f"{entry.name}: the parts of its examples are not those listed")
    if entry.weights.classes and tuple(entry.weights.classes) != data.classes:
        classes = shorten(", ".join(map(printable, data.classes))) or "none"
        raise RegistryError(f"{entry.name}: its classes are {classes}, not those listed")


def check_status(entry: RegistryEntry | RegistryFeatures) -> None:
    """Warns if an entry is deprecated.

    Raises:
        RegistryError: the entry was revoked.
    """
    weights = entry.weights
    if weights.status == "revoked":
        raise RegistryError(f"{entry.name} was revoked: {weights.reason}")
    if weights.status == "deprecated":
        reason = f": {weights.reason}" if weights.reason else ""
        successor = entry.registry.qualify(weights.successor or "")
        warnings.warn(
            f"{entry.name} is deprecated{reason}; its successor is {successor}", stacklevel=4
        )


def check_requirements(entry: RegistryEntry | RegistryFeatures) -> None:
    """Raises PluginError, with the pip command, if required packages are missing or too old."""
    missing = []
    for text in entry.weights.requires:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            missing.append(text)
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            missing.append(text)
    if missing:
        raise PluginError(
            f"{entry.name} needs {', '.join(missing)}; pip install {shlex.join(missing)}"
        )


def read_spec(entry: RegistryEntry) -> Spec:
    """The verified spec of an entry.

    Raises:
        RegistryError: the spec is not the declared one, or not valid with installed components.
    """
    source = entry.weights.spec
    if source.inline is None:
        data = fetch(entry.registry, source.file, entry.name)
    else:
        data = verify_bytes(
            bytearray(dump(source.inline).encode()), source.file, f"{entry.name}, spec.inline"
        )
    try:
        return load_spec(data.decode("utf-8", "replace"), text=True)
    except SpecError as error:
        raise _in_spec(entry, error) from error


def _in_spec(entry: RegistryEntry, error: SpecError) -> RegistryError:
    """The error about the spec of an entry, whose name stands in each line."""
    return RegistryError("\n".join(f"{entry.name}: {problem}" for problem in error.problems))


def read_weights(
    entry: RegistryEntry | RegistryFeatures, file: File
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The verified tensors of an entry and their metadata.

    The tensors share the memory that the file was read into.

    Raises:
        RegistryError: the tensors are not those that the registry declares.
    """
    tensors, header = safetensors_header.parse_tensors(
        fetch(entry.registry, file, entry.name), entry.name
    )
    declared = entry.weights.tensors
    count, size = len(tensors), sum(tensor.numel() for tensor in tensors.values())
    fingerprint = safetensors_header.fingerprint(tensors)
    if (count, size, fingerprint) != (declared.count, declared.parameters, declared.sha256):
        raise RegistryError(
            f"{entry.name}: expected {declared.count} tensors of {declared.parameters:,} numbers "
            f"with the fingerprint {declared.sha256[:12]}, "
            f"got {count} of {size:,} with {fingerprint[:12]}"
        )
    return tensors, header

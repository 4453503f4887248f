"""Loading of feature extractors: find, fetch and verify an entry, then build its component."""

from __future__ import annotations

from pathlib import Path

from vaezoo.evaluation.features import Features
from vaezoo.nn.loading import check_finite, load_strict
from vaezoo.pretrained.finding import find_features
from vaezoo.pretrained.loading import (
    check_requirements,
    check_status,
    limit_of,
    read_weights,
    weights_file,
)
from vaezoo.pretrained.locations import text_of
from vaezoo.pretrained.registry import RegistryFeatures
from vaezoo.spec.load import load_component_block
from vaezoo.utils.devices import pick_device
from vaezoo.utils.errors import IntegrityError, RegistryError, SpecError, describe_error
from vaezoo.utils.tensor_limit import TooManyNumbersError

_KIND = "features"


def load_features(
    name: str, *, device: str = "cpu", registry: str | Path | None = None
) -> Features:
    """Loads a feature extractor by name, in evaluation mode.

    Args:
        name: such as ``features/mnist@1`` or ``features-mnist``; ``prefix:name`` for another
            registry than vaezoo's own.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        registry: one more registry to search: ``[prefix=]path-or-url``.

    Returns:
        The component with the published weights. A call maps examples ``[N, *shape]`` in the
        range of the data to features ``[N, D]``.

    Raises:
        UsageError: no features or several have this name, or it is that of a model.
        PluginError: a required plugin is not installed; the message has the pip command.
        UnavailableError: the weights are not on this machine and cannot be downloaded.
        RegistryError: the weights are not what the registry declares, or were revoked.

    Example:
        >>> import torch, vaezoo
        >>> features = vaezoo.load_features("features-mnist")
        >>> features.name, features.shape, features.support
        ('features/mnist@1', (1, 28, 28), 'unit')
        >>> features.extract(torch.rand(3, 1, 28, 28)).shape
        torch.Size([3, 64])
    """
    entry = find_features(name, () if registry is None else (text_of(registry),))
    return load_features_entry(entry, device)


def load_features_entry(entry: RegistryFeatures, device: str = "cpu") -> Features:
    """The component of an entry with the published weights; raises as ``load_features``."""
    check_status(entry)
    check_requirements(entry)
    tensors, _ = read_weights(entry, weights_file(entry))
    features = _build_within_table(entry)
    try:
        load_strict(features, tensors, entry.name, share=True)
        check_finite(features, entry.name)
    except IntegrityError as error:  # its message already names the entry
        raise RegistryError(str(error)) from error
    features.name, features.tag = entry.name, entry.weights.tag
    features.shape = tuple(entry.weights.preprocessing.shape)
    features.support = entry.weights.preprocessing.support
    return features.to(pick_device(device)).eval().requires_grad_(False)


def _build_within_table(entry: RegistryFeatures) -> Features:
    """The component without its weights; it may create few more numbers than the entry lists.

    Raises:
        RegistryError: it creates more, does not exist, or fails in another way.
    """
    declared = entry.weights.tensors.parameters
    try:
        spec = load_component_block(_KIND, entry.weights.component, f"{entry.name}: component")
        with limit_of(entry.weights.tensors):
            built: Features = spec.build()
        return built
    except TooManyNumbersError:
        raise RegistryError(
            f"{entry.name}: its component describes a network that is too large for its weights, "
            f"which are {declared:,} numbers"
        ) from None
    except SpecError as error:
        raise RegistryError(str(error)) from error
    except Exception as error:  # a stranger's options may make any component fail
        raise RegistryError(f"{entry.name}: {describe_error(error)}") from error

"""Adds a finished run to a registry: its weights, spec, card and pictures, and its entry."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from torch import Tensor

from vaezoo.evaluation.evaluate import evaluate, require_all_finite
from vaezoo.nn.loading import check_finite
from vaezoo.pretrained import safetensors_header
from vaezoo.pretrained.entry import WeightsEntry
from vaezoo.pretrained.loading import WEIGHTS_FILE
from vaezoo.pretrained.registry import RegistryEntry
from vaezoo.runs import entry_fields
from vaezoo.runs.opening import open_entry
from vaezoo.runs.process_classes import check_public
from vaezoo.runs.registry_file import open_folder
from vaezoo.runs.registry_folder import add_entry, check_texts, new_entry_folder
from vaezoo.runs.run import Run
from vaezoo.utils.errors import RegistryError, UsageError
from vaezoo.utils.files import encode_tensors, write_bytes


@dataclass(frozen=True, kw_only=True)
class PublicationInfo:
    """Metadata of an entry that the run directory does not contain.

    Attributes:
        title: one line of text about the model.
        weights_licence: the licence of the weights.
        data_licence: the licence of the training data.
        citation: the publication that describes the method.
    """

    title: str
    weights_licence: str
    data_licence: str
    citation: str


def publish(
    run: Run, entry_id: str, folder: Path, info: PublicationInfo, *, half: bool = False
) -> RegistryEntry:
    """Adds a run to the registry in a folder; the existing entries do not change.

    Args:
        run: a finished and evaluated run.
        entry_id: ``architecture/tag@version``.
        folder: the folder of ``registry.yaml``, which is created if it does not exist.
        info: metadata of the entry.
        half: whether to store the weights in half precision; the metrics are then measured again
            with the stored weights.

    Returns:
        The new entry.

    Raises:
        UsageError: the run was not evaluated, a text or the name of a class is not one line, no
            metric is finite, a plugin that it needs is not a release, it uses classes or data that
            only the process had that trained it, or the registry already has an entry with this
            id.
        RegistryError: the registry file is not valid, or a symbolic link leads out of its folder.
    """
    check_public(run.directory)
    if not run.directory.evaluation.is_file():
        raise UsageError(f"{run.path}: it has no evaluation; vaezoo evaluate {run.path}")
    requires = entry_fields.requirements(run)
    names = enumerate(entry_fields.class_names(run))
    classes = {f"the name of class {number}": name for number, name in names}
    check_texts(entry_id, {**vars(info), **classes})
    registry = open_folder(folder, new_id=entry_id)
    with new_entry_folder(folder, entry_id) as entry_folder:
        entry = _write_entry_files(
            run, entry_id, folder, entry_folder, info=info, requires=requires, half=half
        )
        if half:
            entry = _remeasure(run, RegistryEntry(registry, entry))
        return add_entry(folder, entry_folder, entry, run.directory.pictures)


def _write_entry_files(
    run: Run,
    entry_id: str,
    folder: Path,
    entry_folder: str,
    *,
    info: PublicationInfo,
    requires: list[str],
    half: bool,
) -> WeightsEntry:
    """Writes the weights and the spec, and returns the entry that describes them."""
    check_finite(run.model, str(run.path))
    tensors, header = run.directory.read_tensors(run.directory.model)
    if half:
        tensors = {name: _to_half(name, tensor) for name, tensor in tensors.items()}
    weights = b"".join(encode_tensors(tensors, header))
    spec = entry_fields.public_spec(run)
    write_bytes(folder / entry_folder / WEIGHTS_FILE, weights)
    write_bytes(folder / entry_folder / "spec.yaml", spec)
    spec_hash = hashlib.sha256(spec).hexdigest()
    return WeightsEntry.model_validate(
        {
            "id": entry_id,
            "title": info.title,
            "published": datetime.now(UTC).date().isoformat(),
            "spec": {"path": f"{entry_folder}/spec.yaml", "sha256": spec_hash, "size": len(spec)},
            "requires": requires,
            "files": [
                {
                    "name": WEIGHTS_FILE,
                    "sha256": hashlib.sha256(weights).hexdigest(),
                    "size": len(weights),
                    "sources": [f"{entry_folder}/{WEIGHTS_FILE}"],
                }
            ],
            "tensors": {
                "count": len(tensors),
                "parameters": sum(tensor.numel() for tensor in tensors.values()),
                "sha256": safetensors_header.fingerprint(tensors),
            },
            "preprocessing": entry_fields.preprocessing(run),
            "classes": entry_fields.class_names(run),
            "metrics": entry_fields.metric_rows(run.evaluation, run, spec_hash),
            "training": entry_fields.training(run),
            "licence": {"weights": info.weights_licence, "data": info.data_licence},
            "citation": info.citation,
        }
    )


def _remeasure(run: Run, published: RegistryEntry) -> WeightsEntry:
    """Evaluates the published weights and returns their entry with the new metrics."""
    entry, stored = published.weights, open_entry(published)
    evaluation = evaluate(
        stored.model,
        stored.spec.evaluate,
        run.data("test"),
        "test",
        seed=stored.spec.seed,
        training=partial(run.data, "train"),
    )
    require_all_finite(evaluation, entry.id)
    metrics = entry_fields.metric_rows(evaluation, run, entry.spec.sha256)
    return WeightsEntry.model_validate(entry.model_dump() | {"metrics": metrics})


def _to_half(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    if not bool(half.isfinite().all()):
        raise RegistryError(
            f"{name} has values that half precision cannot represent; publish without --half"
        )
    return half

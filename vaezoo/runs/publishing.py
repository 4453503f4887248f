"""From a finished run to an entry of a registry: weights, spec, card and pictures in a folder beside it."""

from __future__ import annotations

import hashlib
import json
import math
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock
from packaging.version import InvalidVersion, Version
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import save
from torch import Tensor

from vaezoo.data.dataspec import DataSpec
from vaezoo.evaluation.evaluate import evaluate
from vaezoo.pretrained import safetensors_header as header
from vaezoo.pretrained.card import card
from vaezoo.pretrained.entry import FORMAT, Identity, Text, WeightsEntry, entries
from vaezoo.pretrained.loading import WEIGHTS
from vaezoo.pretrained.names import inside
from vaezoo.pretrained.registries import FILE, Registry, RegistryEntry, prefix_of
from vaezoo.runs.opening import open_entry
from vaezoo.runs.run import Run
from vaezoo.spec.dump import dump
from vaezoo.utils.errors import RegistryError, UsageError
from vaezoo.utils.files import read_json, read_tensors, write_bytes, write_text

FOLDER = "weights"
PICTURES = ("samples", "reconstructions", "traversals", "interpolations")
_HEAD = "# Pretrained weights by name. `vaezoo publish` adds entries; what an id stands for never changes.\n"
_OUTPUT = {
    "binary": "[0, 1]: the probability of a 1",
    "unit": "[0, 1]",
    "one-hot": "[0, 1]: the probability of each symbol",
    "real": "real numbers",
}


@dataclass(frozen=True)
class About:
    """What a run does not know of itself.

    Attributes:
        title: one line.
        weights, data: licences.
        citation: of the method.
    """

    title: str
    weights: str
    data: str
    citation: str


def publish(run: Run, identity: str, to: Path, about: About, *, half: bool = False) -> RegistryEntry:
    """Adds a run to the registry in a folder; what is there already stays as it is.

    Args:
        run: finished and evaluated.
        identity: ``architecture/tag@version``.
        to: the folder that holds ``registry.yaml``, or will.
        about: what people want to know.
        half: store numbers in half precision; metrics are then measured again with what was stored.

    Raises:
        UsageError: the run was not evaluated, no figure is finite, a plugin it needs is not a release, or the id is
            taken.
        RegistryError: the registry there is not valid, or a symbolic link leads out of its folder.
    """
    if not run.directory.evaluation.is_file():
        raise UsageError(f"{run.path}: it has no evaluation; vaezoo evaluate {run.path}")
    requires = _requirements(run)
    _check(identity, about)
    place = to / FILE
    _listed_without(place, identity)
    folder = f"{FOLDER}/{re.sub('[/@]', '-', identity)}"
    inside(to, f"{folder}/{WEIGHTS}")  # what a link leads elsewhere could not be loaded
    with _cleared(to / folder):
        entry = _write(run, identity, to, folder, about, requires, half)
        found = RegistryEntry(Registry("", str(place), to, (entry,)), entry)
        if half:
            again = open_entry(found)
            measured = evaluate(again.model, again.spec.evaluate, run.data("test"), "test", again.spec.seed)
            entry = WeightsEntry.model_validate(
                entry.model_dump() | {"metrics": _metrics(measured, run, entry.spec.sha256)}
            )
        prefix = Registry(prefix_of(place), str(place), to, ()).prefixed("")
        write_text(to / folder / "README.md", card(entry, _pictures(run, to / folder), prefix))
        return RegistryEntry(Registry("", str(place), to, _added(place, entry)), entry)


def _check(identity: str, about: About) -> None:
    """Raises UsageError where a registry cannot hold what is said."""
    try:
        TypeAdapter(Identity).validate_python(identity)
    except ValidationError as error:
        raise UsageError(f"--name {identity}: say {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
    for name, text in vars(about).items():
        try:
            TypeAdapter(Text).validate_python(text)
        except ValidationError:
            raise UsageError(f"{name}: say a line of 1 to 2,000 characters") from None


def _added(place: Path, entry: WeightsEntry) -> tuple[WeightsEntry, ...]:
    """What a registry file lists once an entry has joined it; of several who publish, one does so at a time."""
    lock = place.with_name(f".{place.name}.lock")
    with FileLock(lock):
        try:
            known = (*_listed_without(place, entry.id), entry)
            text = listed(known)
            entries(text.encode(), str(place))  # what cannot be read again, being too large say, is not written
            write_text(place, text)
            return known
        finally:
            lock.unlink()


def _listed_without(place: Path, identity: str) -> tuple[WeightsEntry, ...]:
    """What a registry file lists; raises UsageError where an id is among it."""
    known = entries(place.read_bytes(), str(place)) if place.is_file() else ()
    if any(entry.id == identity for entry in known):
        raise UsageError(f"{identity} is in {place} already, and an id never changes; give it another version")
    return known


def listed(known: tuple[WeightsEntry, ...]) -> str:
    """A registry file with these entries."""
    plain = [entry.model_dump(mode="json", exclude_defaults=True) for entry in known]
    return _HEAD + dump({"registry": FORMAT, "entries": plain})


@contextmanager
def _cleared(folder: Path) -> Any:
    """A folder that is new, and gone again where its contents do not come about."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise UsageError(f"{folder} exists already; remove it, or publish under another id") from None
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _write(
    run: Run, identity: str, to: Path, folder: str, about: About, requires: list[str], half: bool
) -> WeightsEntry:
    tensors, told = read_tensors(run.directory.model)
    if half:
        tensors = {name: _halved(name, tensor) for name, tensor in tensors.items()}
    data = save(tensors, told)
    spec = run.directory.spec.read_bytes()
    write_bytes(to / folder / WEIGHTS, data)
    write_bytes(to / folder / "spec.yaml", spec)
    spec_hash, described = hashlib.sha256(spec).hexdigest(), run.model.data
    return WeightsEntry.model_validate(
        {
            "id": identity,
            "title": about.title,
            "published": datetime.now(UTC).date().isoformat(),
            "spec": {"path": f"{folder}/spec.yaml", "sha256": spec_hash, "size": len(spec)},
            "requires": requires,
            "files": [
                {
                    "name": WEIGHTS,
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "size": len(data),
                    "sources": [f"{folder}/{WEIGHTS}"],
                }
            ],
            "tensors": {
                "count": len(tensors),
                "parameters": sum(tensor.numel() for tensor in tensors.values()),
                "sha256": header.fingerprint(tensors),
            },
            "preprocessing": _preprocessing(run, described),
            "classes": list(described.classes) if run.model.conditioner is not None else [],
            "metrics": _metrics(run.evaluation, run, spec_hash),
            "training": _training(run),
            "licence": {"weights": about.weights, "data": about.data},
            "citation": about.citation,
        }
    )


def _halved(name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    small = tensor.half()
    if not bool(small.isfinite().all()):
        raise RegistryError(f"{name} does not fit half precision; publish it as it is")
    return small


def _requirements(run: Run) -> list[str]:
    """The packages that the spec's components come from, in versions of at least those installed."""
    wanted = []
    for name in sorted({"vaezoo", *_plugins(run.spec.resolved())}):
        version = metadata.version(name)
        try:
            parsed = Version(version)
        except InvalidVersion:
            raise UsageError(f"{name} {version} is no release; publish with one") from None
        if parsed.is_devrelease or parsed.local:
            raise UsageError(f"{name} {version} is no release, so nobody else could install it; publish with one")
        wanted.append(f"{name}>={version}")
    return wanted


def _plugins(block: Any) -> Iterator[str]:
    """The plugin of every component that a resolved spec names: ``type: plugin:name``."""
    if isinstance(block, dict):
        plugin, colon, _ = str(block.get("type", "")).partition(":")
        if colon:
            yield plugin
        block = list(block.values())
    for part in block if isinstance(block, list) else ():
        yield from _plugins(part)


def _preprocessing(run: Run, data: DataSpec) -> dict[str, Any]:
    output = _OUTPUT[data.support] + (", standardised as its training split was" if data.scale else "")
    block = json.dumps(run.spec.data.resolved(), ensure_ascii=False)
    found = {"data": block, "shape": list(data.shape), "support": data.support, "output": output}
    asked = run.model.conditioner is not None and data.condition_shape
    return found | ({"condition": list(asked)} if asked else {})


def _metrics(evaluation: Mapping[str, Any], run: Run, spec_hash: str) -> list[dict[str, Any]]:
    rows = []
    for name, row in evaluation["metrics"].items():
        if not math.isfinite(row["value"]):
            continue
        found = {
            "name": name,
            "value": float(f"{row['value']:.6g}"),
            "unit": row["unit"] or "1",
            "data": run.spec.data.name,
            "split": evaluation["split"],
            "examples": row["examples"],
            "seed": evaluation["seed"],
            "spec_sha256": spec_hash,
        }
        if row["standard_error"] is not None:
            found["error"] = float(f"{row['standard_error']:.3g}")
        if "samples" in row:
            found["samples"] = int(row["samples"])
        rows.append(found)
    if not rows:
        raise UsageError(f"{run.path}: its evaluation has no finite figure; vaezoo evaluate {run.path} --metric elbo")
    return rows


def _training(run: Run) -> dict[str, Any]:
    told = read_json(run.directory.environment)
    begun = datetime.fromisoformat(told["created"])
    ended = max((datetime.fromisoformat(record["time"]) for record in run.records), default=begun)
    git = told.get("git") or {}
    found = {
        "command": _command(told["command"]),
        "hardware": f"{told['device']}, {told['threads']} threads, {told['platform']}",
        "seconds": round(max((ended - begun).total_seconds(), 0.0), 1),
        "versions": f"vaezoo {told['vaezoo']}, torch {told['torch']}, Python {told['python']}",
    }
    changed = " with changes" if git.get("changed") else ""
    return found | ({"commit": f"{git['commit']}{changed}"} if git.get("commit") else {})


def _command(words: list[str]) -> str:
    """What somebody else would type, without the folders of this machine."""
    program = Path(words[0])
    ours = program.name == "vaezoo" or program.parts[-2:] == ("vaezoo", "__main__.py")
    said = ["vaezoo"] if ours else ["python", *filter(None, [program.name])]
    rest = iter(words[1:])
    for word in rest:
        if word == "--out":
            next(rest, None)
        elif not word.startswith("--out="):
            said.append(Path(word).name if word.startswith("/") else word)
    return shlex.join(said)


def _pictures(run: Run, folder: Path) -> list[str]:
    """Copies the pictures that a card shows."""
    shown = [name for name in PICTURES if (run.directory.pictures / f"{name}.png").is_file()]
    for name in shown:
        write_bytes(folder / f"{name}.png", (run.directory.pictures / f"{name}.png").read_bytes())
    return shown

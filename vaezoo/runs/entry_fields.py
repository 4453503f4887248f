"""Computes the fields of a registry entry that describe a run."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from vaezoo.data.dataspec import DataSpec
from vaezoo.plugins.catalogue import BUILT_IN
from vaezoo.runs.entry_data import UNPUBLISHED
from vaezoo.runs.run import Run
from vaezoo.spec.dump import dump
from vaezoo.spec.spec import components
from vaezoo.utils.errors import IntegrityError, UsageError
from vaezoo.utils.json_text import json_text
from vaezoo.utils.paths import is_of_machine, last_part

_OUTPUT_RANGES = {
    "binary": "[0, 1]: the probability of a 1",
    "unit": "[0, 1]",
    "one-hot": "[0, 1]: the probability of each symbol",
    "real": "real numbers",
    "count": "expected counts",
    "mixed": "the columns of a table",
}
_PATH_WITHIN = re.compile(r"""(?<=[\[{,\s'"])(?:~?/|[A-Za-z]:[/\\])[^\]},'"]*""")
"""A path of one machine in a list or a mapping."""
_VERSIONS = {"vaezoo": "vaezoo", "torch": "torch", "Python": "python"}
"""The versions in an entry: their names, and their keys in ``environment.json``."""
_RECORDED = {"created", "command", "device", "threads", "platform", *_VERSIONS.values()}
"""The keys of ``environment.json`` that an entry needs."""


def class_names(run: Run) -> list[str]:
    """The names of the classes that the model is conditional on; empty for other conditions."""
    return list(run.model.data.classes) if run.model.conditioner is not None else []


def requirements(run: Run) -> list[str]:
    """The packages of the spec's components, with the installed versions as lower bounds.

    Raises:
        UsageError: an installed version is not a release.
    """
    lines = []
    plugins = {component.plugin for component in components(run.spec)}
    for name in sorted({BUILT_IN, *plugins}):
        version = metadata.version(name)
        try:
            parsed = Version(version)
        except InvalidVersion:
            parsed = None
        if parsed is None or parsed.is_devrelease or parsed.local:
            raise UsageError(
                f"{name} {version} is not a release, so other users cannot install it; "
                "install a release before you publish"
            )
        lines.append(f"{name}>={version}")
    return lines


def public_spec(run: Run) -> bytes:
    """The spec without paths of this machine, and without runs and files that nobody else has."""
    resolved = run.spec.resolved()
    public = _without_folders(resolved)
    if resolved.get("init"):
        loaded = run.directory.read_environment().get("init", [])
        private = {item["from"] for item in loaded if item.get("is_run") or item.get("is_file")}
        for item, before in zip(public["init"], resolved["init"], strict=True):
            if before["from"] in private:
                suffix = Path(before["from"]).suffix if Path(before["from"]).is_file() else ""
                item["from"] = f"{UNPUBLISHED}{suffix}"
    return run.directory.spec.read_bytes() if public == resolved else dump(public).encode()


def _without_folders(value: Any) -> Any:
    """A value of a spec, in which paths of this machine are the names of their files."""
    if isinstance(value, Mapping):
        return {key: _without_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_folders(item) for item in value]
    return last_part(value) if isinstance(value, str) and is_of_machine(value) else value


def preprocessing(run: Run) -> dict[str, Any]:
    """Describes the data that the model takes and the range of its outputs."""
    data = run.model.data
    fields: dict[str, Any] = {
        "data": json_text(_without_folders(run.spec.data.resolved())),
        "shape": list(data.shape),
        "support": data.support,
        "output": _describe_output(data),
    }
    if data.parts:
        fields["parts"] = {name: list(part.shape) for name, part in data.parts.items()}
    if run.model.conditioner is not None and data.condition_shape:
        fields["condition"] = list(data.condition_shape)
    return fields


def _describe_output(data: DataSpec) -> str:
    """The range of the values of the data, or of each of its parts."""
    if data.parts:
        outputs = [f"{name}: {_describe_output(part)}" for name, part in data.parts.items()]
        return "; ".join(outputs)
    output = _OUTPUT_RANGES.get(data.support, f"values of the support {data.support}")
    if any(field.offset or field.scale != 1 for field in data.fields):
        output += ", standardised as its training split was"
    return output


def metric_rows(evaluation: Mapping[str, Any], run: Run, spec_hash: str) -> list[dict[str, Any]]:
    """The metrics of an evaluation that have a finite value.

    Args:
        evaluation: in the format of ``evaluation.json``.
        run: the run that was evaluated.
        spec_hash: the SHA-256 of the spec file.

    Raises:
        UsageError: no value is finite.
    """
    rows = []
    for name, measured in evaluation["metrics"].items():
        if not math.isfinite(measured["value"]):
            continue
        row = {
            "name": name,
            "value": float(f"{measured['value']:.6g}"),
            "unit": measured["unit"] or "1",
            "data": run.spec.data.name,
            "split": evaluation["split"],
            "examples": measured["examples"],
            "seed": evaluation["seed"],
            "spec_sha256": spec_hash,
        }
        if measured["standard_error"] is not None:
            row["error"] = float(f"{measured['standard_error']:.3g}")
        if "samples" in measured:
            row["samples"] = int(measured["samples"])
        if measured.get("note"):
            row["note"] = measured["note"]
        rows.append(row)
    if not rows:
        raise UsageError(
            f"{run.path}: its evaluation has no finite value; "
            f"vaezoo evaluate {run.path} --metric elbo"
        )
    return rows


def training(run: Run) -> dict[str, Any]:
    """Describes how the run was trained: command, hardware, duration, versions and commit."""
    environment = run.directory.read_environment()
    if missing := _RECORDED - environment.keys():
        raise IntegrityError(
            f"{run.directory.environment}: does not say how the run was trained: it lacks "
            f"{', '.join(sorted(missing))}"
        )
    start = datetime.fromisoformat(environment["created"])
    end = max((datetime.fromisoformat(record["time"]) for record in run.records), default=start)
    versions = [f"{name} {environment[key]}" for name, key in _VERSIONS.items()]
    fields = {
        "command": _public_command(environment["command"]),
        "hardware": f"{environment['device']}, {environment['threads']} threads, "
        f"{environment['platform']}",
        "seconds": round(max((end - start).total_seconds(), 0.0), 1),
        "versions": ", ".join(versions),
    }
    git = environment.get("git") or {}
    if git.get("commit"):
        changed = " with changes" if git.get("changed") else ""
        fields["commit"] = f"{git['commit']}{changed}"
    return fields


def _public_command(arguments: list[str]) -> str:
    """The command line as another user would type it, without folders of this machine."""
    program = Path(arguments[0])
    is_vaezoo = program.name == "vaezoo" or program.parts[-2:] == ("vaezoo", "__main__.py")
    words = ["vaezoo"] if is_vaezoo else ["python", *filter(None, [program.name])]
    remaining = iter(arguments[1:])
    for argument in remaining:
        if argument == "--out":
            next(remaining, None)
        elif not argument.startswith("--out="):
            words.append(_public_argument(argument))
    return shlex.join(words)


def _public_argument(argument: str) -> str:
    """An argument of a command, in which paths of this machine are the names of their files."""
    if is_of_machine(argument):
        return last_part(argument)
    option, equals, value = argument.rpartition("=")
    if is_of_machine(value):
        return f"{option}{equals}{last_part(value)}"
    return _PATH_WITHIN.sub(lambda match: last_part(match[0]), argument)

"""Describes the environment of a run: versions, plugins, device and git state."""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from typing import Annotated, Any, Literal

import numpy
import torch
from pydantic import AfterValidator, BaseModel, Field

from vaezoo.plugins import discovery
from vaezoo.runs.file_types import STRICT, check_types


class _RegisteredClass(BaseModel):
    """A class that the process had registered, as ``package.module:Class``."""

    model_config = STRICT
    kind: str
    name: str
    cls: str = Field(alias="class")


class _GivenData(BaseModel):
    """Data that Python gave: its kind and fingerprint."""

    model_config = STRICT
    kind: str
    sha256: str
    examples: int


class _Fingerprint(BaseModel):
    """The fingerprint of a split."""

    model_config = STRICT
    sha256: str
    examples: int
    read: int = 0


def _check_time(text: str) -> str:
    if not datetime.fromisoformat(text).tzinfo:
        raise ValueError("a time needs its zone")
    return text


_Time = Annotated[str, AfterValidator(_check_time)]


class _Resumed(BaseModel):
    """What a process ran with that resumed the run, and the changes of the spec."""

    model_config = STRICT
    created: _Time
    changed: dict[str, Any] = {}


class _Environment(BaseModel):
    """The types of what is read back of ``environment.json``; any key may be missing."""

    model_config = STRICT
    created: _Time = ""
    command: list[str] = []
    vaezoo: str = ""
    python: str = ""
    torch: str = ""
    platform: str = ""
    device: str = ""
    precision: str = ""
    threads: int = 0
    git: dict[str, Any] | None = None
    examples: dict[str, Any] = {}
    data: _GivenData | None = None
    spec: str | None = None
    identity: str = ""
    digests: bool = False
    splits: dict[Literal["train", "validation"], _Fingerprint] = {}
    registered: list[_RegisteredClass] = []
    init: list[dict[str, Any]] = []
    evaluation_split: Literal["test", "validation"] = "test"
    resumed: list[_Resumed] = []


def check_environment(values: dict[str, Any]) -> dict[str, Any]:
    """The content of ``environment.json``, as it was read; ValueError if a type is wrong."""
    return check_types(_Environment, values)


def describe_environment(device: torch.device, precision: str) -> dict[str, Any]:
    """The content of ``environment.json``."""
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "vaezoo": metadata.version("vaezoo"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": precision,
        "threads": torch.get_num_threads(),
        "plugins": {
            info.name: f"{info.version} ({info.status})" for info in discovery.catalogue().plugins
        },
        "git": _git_state(),
    }


def _git_state() -> dict[str, Any] | None:
    """The commit of the working directory and whether it has changes; None outside a checkout."""

    def git(*arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=timeout)

    try:
        commit = git("rev-parse", "HEAD", timeout=5)
        if commit.returncode:
            return None
        status = git("status", "--porcelain", timeout=10)
        return {"commit": commit.stdout.strip(), "changed": bool(status.stdout.strip())}
    except (OSError, subprocess.SubprocessError):
        return None

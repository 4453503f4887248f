"""Describes the environment of a run: versions, plugins, device and git state."""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import numpy
import torch

from vaezoo.plugins import discovery


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

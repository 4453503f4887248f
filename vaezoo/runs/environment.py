"""What a run was made with: versions, plugins, device, source."""

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


def describe(device: torch.device, precision: str) -> dict[str, Any]:
    """The environment as ``environment.json`` holds it."""
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
        "plugins": {info.name: f"{info.version} ({info.status})" for info in discovery.catalogue().plugins},
        "git": _git(),
    }


def _git() -> dict[str, Any] | None:
    """The commit of the working directory and whether it was changed; None outside a checkout."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
        if commit.returncode:
            return None
        status = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, timeout=10)
        return {"commit": commit.stdout.strip(), "changed": bool(status.stdout.strip())}
    except (OSError, subprocess.SubprocessError):
        return None

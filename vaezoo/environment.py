"""What a run was made with: versions, plugins, device, source."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import numpy
import torch

from vaezoo import plugins
from vaezoo.errors import UnavailableError, UsageError


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
        "plugins": {info.name: f"{info.version} ({info.status})" for info in plugins.catalogue().plugins},
        "git": _git(),
    }


def pick_precision(wanted: str, device: torch.device) -> str:
    """``auto`` is bf16 where the device is sure to be faster in it: CUDA from Ampere on, CPUs with AMX.

    AVX-512's bf16 alone speeds up some CPUs and slows down others. ``auto`` does not time it, so its choice is steady.
    """
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    has_tiles = device.type == "cpu" and torch.cpu._is_amx_tile_supported()
    return "bf16" if has_tiles else "fp32"


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


def pick_device(wanted: str) -> torch.device:
    """``auto`` is the accelerator where there is one.

    Raises:
        UnavailableError: the device that is asked for is not there.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise UsageError(f"no device {wanted!r}; say auto, cpu, cuda or mps") from None
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))  # set where several processes train
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}.get(device.type, True)
    if not there or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise UnavailableError(f"device {wanted!r} is not available; use train.device=cpu or auto")
    return device

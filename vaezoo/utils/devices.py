"""Devices and precisions."""

from __future__ import annotations

import os

import torch

from vaezoo.utils.errors import UnavailableError, UsageError


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

"""Chooses the device and the precision of a computation."""

from __future__ import annotations

import os

import torch

from vaezoo.utils.errors import UnavailableError, UsageError


def pick_precision(name: str, device: torch.device) -> str:
    """Resolves ``auto`` to bf16 on devices that are reliably faster with it, otherwise to fp32.

    These are CUDA devices from Ampere on and CPUs with AMX. With AVX-512's bf16 alone, some CPUs
    are faster and others slower. ``auto`` measures nothing, so that it always resolves to the same
    precision on the same machine.

    Args:
        name: ``auto`` or a precision, which is returned unchanged.
        device: the device of the computation.
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    has_amx = device.type == "cpu" and torch.cpu._is_amx_tile_supported()
    return "bf16" if has_amx else "fp32"


def pick_device(name: str) -> torch.device:
    """Resolves ``auto`` to an accelerator if there is one, otherwise to the CPU.

    Args:
        name: ``auto`` or a device of torch. ``cuda`` without an index is the GPU with the index in
            the environment variable ``LOCAL_RANK``, 0 by default.

    Raises:
        UsageError: no device has this name.
        UnavailableError: the device is not available on this machine.
    """
    if name == "auto":
        fallback = "mps" if torch.backends.mps.is_available() else "cpu"
        name = "cuda" if torch.cuda.is_available() else fallback
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"no device {name!r}; use auto, cpu, cuda or mps") from None
    if device.type == "cuda" and device.index is None:
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))  # set if several processes train
        device = torch.device("cuda", local_rank)
    is_available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    is_missing = not is_available.get(device.type, True)
    if is_missing or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise UnavailableError(f"device {name!r} is not available; use train.device=cpu or auto")
    return device

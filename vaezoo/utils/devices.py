"""Chooses the device and the precision of a computation."""

from __future__ import annotations

import os

import torch

from vaezoo.utils.errors import UnavailableError, UsageError
from vaezoo.utils.launch import integer_variable


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
        UsageError: no device has this name, or ``LOCAL_RANK`` is no index.
        UnavailableError: the device is not available on this machine.
    """
    if name == "auto":
        fallback = "mps" if torch.backends.mps.is_available() else "cpu"
        name = "cuda" if torch.cuda.is_available() else fallback
    is_available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "xpu": torch.xpu.is_available(),
    }
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in is_available:
        raise UsageError(f"no device {name!r}; use auto, cpu, cuda, mps or xpu")
    if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
        # several processes train
        device = torch.device("cuda", integer_variable("LOCAL_RANK", 0, 2**15))
    is_missing = not is_available[device.type]
    if is_missing or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise UnavailableError(f"device {name!r} is not available; use train.device=cpu or auto")
    return device

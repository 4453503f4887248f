"""The precision that ``auto`` chooses, and devices that cannot be used."""

from __future__ import annotations

import pytest
import torch

from vaezoo.utils.devices import pick_device, pick_precision
from vaezoo.utils.errors import UnavailableError, UsageError


@pytest.mark.parametrize(
    ("tiles", "expected", "result"),
    [(True, "auto", "bf16"), (False, "auto", "fp32"), (False, "bf16", "bf16")],
)
def test_auto_precision_is_bf16_where_it_is_sure_to_pay(tiles, expected, result, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    assert pick_precision(expected, torch.device("cpu")) == result


@pytest.mark.parametrize("name", ["meta", "hpu", "vulkan", "cpu:x", "cudaa", ""])
def test_devices_that_vaezoo_cannot_use_are_refused(name):
    with pytest.raises(UsageError, match="use auto, cpu, cuda, mps or xpu"):
        pick_device(name)


@pytest.mark.parametrize("name", ["cuda", "mps", "xpu"])
def test_devices_that_are_not_here_are_unavailable(name, monkeypatch):
    for module in (torch.cuda, torch.backends.mps, torch.xpu):
        monkeypatch.setattr(module, "is_available", lambda: False)
    with pytest.raises(UnavailableError, match=f"device '{name}' is not available"):
        pick_device(name)


def test_a_local_rank_that_is_no_number_is_refused(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "x")
    with pytest.raises(UsageError, match="LOCAL_RANK='x': must be an integer"):
        pick_device("cuda")

"""The precision that ``auto`` chooses."""

from __future__ import annotations

import pytest
import torch

from vaezoo.utils.devices import pick_precision


@pytest.mark.parametrize(
    ("tiles", "expected", "result"),
    [(True, "auto", "bf16"), (False, "auto", "fp32"), (False, "bf16", "bf16")],
)
def test_auto_precision_is_bf16_where_it_is_sure_to_pay(tiles, expected, result, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    assert pick_precision(expected, torch.device("cpu")) == result

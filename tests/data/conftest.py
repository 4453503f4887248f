from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vaezoo.utils.errors import VaezooError


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch):
    monkeypatch.delenv("VAEZOO_DATA", raising=False)


@pytest.fixture
def refuses():
    """Calls a function that must fail with one line that holds every one of the words."""

    def check(kind: type[VaezooError], call, *words: str) -> None:
        with pytest.raises(kind) as caught:
            call()
        message = str(caught.value)
        assert "\n" not in message
        for word in words:
            assert word in message

    return check


@pytest.fixture
def draw():
    """Writes an image of random pixels and returns them."""

    def save(path, size=(6, 5), mode="RGB", seed=0) -> np.ndarray:
        shape = size if mode == "L" else (*size, 3)
        pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return pixels

    return save

"""A spec for a folder of photos."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaezoo.data.image_files import MAX_PIXELS, open_image
from vaezoo.data.proposal import Proposal, training_length

_LOOKED_AT = 300
"""How many images are opened, spread evenly over all."""
_GREY_MODES = ("1", "L", "LA", "I", "F", "I;16", "I;16B")
_SIDES = (64, 32, 16)
"""The sizes that images are scaled to: the greatest one that most of them have."""
_STEPS = 6000
_LEAST_PATIENCE = 5


def propose(path: Path, files: Sequence[Path], sizes: dict[str, int], classes: int) -> Proposal:
    """Looks at photos, and proposes a spec for them.

    Args:
        path: the folder.
        files: all images.
        sizes: the number of images of each split.
        classes: the number of folders of classes; 0 for none.

    Raises:
        DataError: an image cannot be read; names it.
    """
    widths, heights, modes = _headers(files[:: max(1, len(files) // _LOOKED_AT)])
    least = statistics.median(min(pair) for pair in zip(widths, heights, strict=True))
    side = next((side for side in _SIDES if side <= least), _SIDES[-1])
    channels = 1 if all(mode in _GREY_MODES for mode in modes) else 3
    layers = {64: [32, 64, 128], 32: [32, 64], 16: [32, 64]}[side]
    latent_dim = {64: 64, 32: 32, 16: 16}[side]
    batch_size, epochs, why = training_length(sizes["train"], _STEPS)
    spec: dict[str, Any] = {
        "data": {
            "type": "image-folder",
            "path": str(path),
            "size": side,
            "channels": channels,
            "unreadable": "skip",
            "batch_size": min(batch_size, 128),
        },
        "model": {
            "latent_dim": latent_dim,
            "encoder": {"type": "conv", "channels": layers, "hidden": 256},
            "decoder": {"type": "conv", "channels": layers[::-1], "hidden": 256},
            "likelihood": {"type": "normal", "scale": "learned"},
        },
        "train": {
            "epochs": epochs,
            "early_stopping": max(_LEAST_PATIENCE, epochs // 10),
            "optimizer": {"type": "adam", "lr": 1e-3},
            "ema": 0.999,
        },
        "evaluate": ["elbo", "rate", "active-units"],
    }
    reasons = {
        "data.size": f"the greatest of {', '.join(map(str, _SIDES))} that most images have",
        "data.channels": "all images are grey" if channels == 1 else "there is colour",
        "data.unreadable": "damaged files are left out and counted",
        "model.latent_dim": "more keeps finer details, and samples get harder",
        "model.encoder": f"{len(layers)} halvings of {side} pixels",
        "model.likelihood": "the noise of pixels is learned, which balances detail and the KL",
        "train.epochs": why,
        "train.early_stopping": "validations without improvement after which training ends",
    }
    found = [
        f"{len(files):,} images, {min(widths)} to {max(widths)} pixels wide and "
        f"{min(heights)} to {max(heights)} high (of {len(widths):,} that were opened)",
        ", ".join(f"{count:,} {name}" for name, count in sizes.items()),
    ]
    if classes:
        found.append(f"{classes} folders of classes; condition: {{type: label}} uses them")
    if any(width != height for width, height in zip(widths, heights, strict=True)):
        found.append(f"images that are not square are squeezed to {side} x {side}")
    return Proposal(found=found, spec=spec, reasons=reasons)


def _headers(files: Sequence[Path]) -> tuple[list[int], list[int], set[str]]:
    """The widths and heights of images, and their modes."""
    widths, heights, modes = [], [], set()
    for file in files:
        with open_image(file, MAX_PIXELS) as image:
            widths.append(image.width)
            heights.append(image.height)
            modes.add(image.mode)
    return widths, heights, modes

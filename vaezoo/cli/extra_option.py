"""The option ``--extra`` and the extras that it gives to generated examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from vaezoo.utils.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import torch

    from vaezoo.model.model import Model

extra_option = click.option(
    "--extra",
    "extras",
    multiple=True,
    metavar="NAME=NUMBER",
    help="An extra of the data, such as size=1000, for all samples. Without, the likelihood takes "
    "typical ones.",
)


def requested_extras(model: Model, texts: Sequence[str], n: int) -> dict[str, torch.Tensor]:
    """The extras ``[n, ...]`` of n generated examples: those that texts name, or typical ones.

    Raises:
        UsageError: a text is not NAME=NUMBER, or the data has no such extra.
    """
    import torch

    extras: dict[str, torch.Tensor] = {}
    for text in texts:
        name, _, number = text.partition("=")
        if model.data.extras.get(name) != ():
            known = [key for key, shape in model.data.extras.items() if shape == ()]
            hint = did_you_mean(name, known) or f"; it has {', '.join(known) or 'none'}"
            raise UsageError(f"--extra {text}: the data has no number {name!r}{hint}")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise UsageError(f"--extra {text}: write NAME=NUMBER, such as {name}=1000")
        extras[name] = torch.full((n,), value)
    return model.extras_for(n, extras)

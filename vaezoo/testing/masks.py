"""Promises about masks: what is hidden, and padding, have no influence."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.testing.case import Bench, Case
from vaezoo.testing.noise import steady
from vaezoo.testing.passes import LOSS_KINDS, PASS_KINDS, blame, differs, results
from vaezoo.testing.promise import Rule
from vaezoo.utils.errors import VaezooError

_WITH_MASK = {"binary": ("sequences",), "images": ("holes",), "real": ("cells",)}
"""For made-up data, the same with a mask."""


def masked_case(case: Case) -> Case | None:
    """The component with masked data, which is remembered; None if it takes none."""
    if "masked" not in case.memo:
        case.memo["masked"] = _find_masked(case)
    found: Case | None = case.memo["masked"]
    return found


def _find_masked(case: Case) -> Case | None:
    if case.probe.batch.mask is not None:
        return case
    names: tuple[str, ...] = _WITH_MASK.get(case.data or "", ())
    if case.kind in LOSS_KINDS and names and not case.changes:
        names = ("steps", *names)  # where the latent variables have masks, too
    for data in names:
        other = replace(case, data=data, memo={})
        with suppress(VaezooError, ValueError, TypeError, RuntimeError, NotImplementedError):
            other.probe.task(other.probe.batch)
            return other
    return None


def _all_results(bench: Bench, batch: Batch) -> Mapping[str, Tensor]:
    """What the component computes, and what comes of it: distortion, rate and loss."""
    bench.task.eval()
    with steady():
        own = results(bench, batch)
    with steady():
        loss, terms = bench.task(batch)
    everything = {**own, **terms, "loss": loss}
    return {name: value.detach() for name, value in everything.items()}


def _spoilt(batch: Batch) -> Batch:
    """The batch with other values where the mask hides them."""

    def spoil(x: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return x
        mask = mask.reshape(*mask.shape, *(1,) * (x.dim() - mask.dim()))
        return torch.where(mask, x, 1 - x)

    if isinstance(batch.x, Mapping):
        masks = batch.mask or {}
        return replace(batch, x={name: spoil(x, masks.get(name)) for name, x in batch.x.items()})
    return replace(batch, x=spoil(batch.x, batch.mask))


def check_hidden(case: Case) -> None:
    """What the mask hides has no influence."""
    masked = masked_case(case)
    assert masked is not None
    bench = masked.compose()
    first, second = (_all_results(bench, batch) for batch in (bench.batch, _spoilt(bench.batch)))
    for name, value in first.items():
        assert not differs(value, second[name]), blame(
            bench,
            f"forgets the mask: the {name} depends on values that the mask hides; use "
            "vaezoo.nn.masked(x, mask) before x is used, and leave hidden values out of sums",
        )


def _grows(case: Case) -> bool:
    """Whether its sequences may be shorter than those of the data."""
    masked = masked_case(case)
    if masked is None or not masked.probe.model.data.is_sequence:
        return False
    batch = masked.probe.batch
    shorter = replace(batch, x=batch.x[:, :-1], mask=batch.mask[:, :-1])
    try:
        _losses(masked.compose(), shorter)
    except (RuntimeError, ValueError, TypeError, IndexError):
        return False
    return True


def check_padding(case: Case) -> None:
    """More padding does not change distortion, rate or loss."""
    masked = masked_case(case)
    assert masked is not None
    bench = masked.compose()
    assert bench.batch.step_mask is not None, "the data has a mask"
    lengths = (bench.batch.step_mask * torch.arange(1, bench.batch.mask.shape[1] + 1)).amax(1)
    batch = bench.batch.select(lengths < bench.batch.mask.shape[1])
    longest = int(lengths[lengths < bench.batch.mask.shape[1]].amax())
    short = replace(batch, x=batch.x[:, :longest], mask=batch.mask[:, :longest])
    padded = _losses(bench, batch)
    for name, value in _losses(bench, short).items():
        assert not differs(value, padded[name]), (
            f"counts padding: the {name} of sequences changes when padded steps are appended; "
            "leave them out (sum_event_dims with the mask; Site(mask=batch.step_mask))"
        )


def _padded_features(case: Case) -> list[tuple[Tensor, Tensor]] | None:
    """Features of sequences with and without padding, where both exist; None if not defined."""
    if "padded features" not in case.memo:
        case.memo["padded features"] = _find_padded(case)
    found: list[tuple[Tensor, Tensor]] | None = case.memo["padded features"]
    return found


@torch.no_grad()
def _find_padded(case: Case) -> list[tuple[Tensor, Tensor]] | None:
    sequences = case if case.data is None else replace(case, data="sequences", memo={})
    try:
        bench = sequences.compose()
        assert bench.batch.step_mask is not None
        steps = bench.batch.step_mask.sum(1)  # [B]
        is_padded = steps < bench.batch.mask.shape[1]
        batch, longest = bench.batch.select(is_padded), int(steps[is_padded].max())
        short = replace(batch, x=batch.x[:, :longest], mask=batch.mask[:, :longest])
        bench.task.eval()
        with steady():
            found = [bench.model.features(each, None) for each in (short, batch)]
    except (VaezooError, AssertionError, ValueError, RuntimeError, TypeError, IndexError):
        return None  # such as an encoder of sequences of one length
    exists = short.step_mask
    assert exists is not None
    return [
        (first, second)
        if first.shape == second.shape
        else (first[exists], second[:, :longest][exists])
        for first, second in zip(*found, strict=True)
    ]


def check_features(case: Case) -> None:
    """More padding does not change the features of what exists."""
    for index, (short, padded) in enumerate(_padded_features(case) or ()):
        assert not differs(short, padded), (
            f"counts padding: the feature {index} of sequences changes when padded steps are "
            "appended; leave them out of means, sums and attention, by the mask"
        )


def _losses(bench: Bench, batch: Batch) -> Mapping[str, Tensor]:
    bench.task.eval()
    with steady():
        loss, terms = bench.task(batch)
    return {name: value.detach() for name, value in {**terms, "loss": loss}.items()}


RULES = (
    Rule(
        "hidden values do not matter",
        PASS_KINDS,
        check_hidden,
        applies=lambda case: masked_case(case) is not None,
    ),
    Rule("padding does not matter", PASS_KINDS, check_padding, applies=_grows),
    Rule(
        "padding does not change features",
        ("encoder",),
        check_features,
        applies=lambda case: bool(_padded_features(case)),
    ),
)
"""Promises about masks."""

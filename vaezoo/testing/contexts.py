"""Finds a tiny model that a component fits into."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

from vaezoo.plugins.catalogue import ComponentEntry
from vaezoo.plugins.discovery import catalogue
from vaezoo.plugins.registration import RegisteredEntry
from vaezoo.testing.case import Case
from vaezoo.testing.metrics import first_estimates
from vaezoo.testing.passes import PASS_KINDS
from vaezoo.testing.promise import Promise
from vaezoo.testing.setting import Setting
from vaezoo.utils.errors import one_line, shorten

NEEDS_MODEL = (*PASS_KINDS, "schedule", "metric", "dataset", "format", "callback")
"""The kinds that are tested in a model, or with its data."""
_DATA = {
    "likelihood": ("binary", "unit", "real", "counts", "symbols", "sequences", "parts"),
    "encoder": ("binary", "images", "sequences", "symbols", "parts"),
    "decoder": ("binary", "images", "sequences", "symbols", "parts"),
    "conditioner": ("binary", "attributes", "pictures"),
    "format": ("real", "grey", "sequences", "symbols", "parts"),
}
_SAMPLED = ("posterior", "prior", "latents")
_PARTNERS = {
    "posterior": ("prior",),
    "prior": ("posterior",),
    "latents": ("prior", "posterior"),
    "objective": ("latents",),
    "regularizer": ("latents", "posterior"),
}
"""The kinds of component of the same plugin that a component may need."""
_ANY_DATA = ("binary", "real", "images", "sequences", "symbols", "parts")


def fitting_case(entry: ComponentEntry, setting: Setting, label: str) -> Case | Promise:
    """The component in the first model that it fits into; without one, a promise that says so.

    Args:
        entry: the component.
        setting: what its author says.
        label: tells it from other settings of the component.

    Raises:
        AssertionError: by the promise, where it is checked: no model fits, and why.
    """
    reasons: list[str] = []
    for data, changes in _candidates(entry, setting):
        case = Case(entry, setting, label, data, changes)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _try(case)
        except Exception as error:
            reasons.append(shorten(one_line(error), 300))
            continue
        return case
    subject = str(Case(entry, setting, label))

    def fail() -> None:
        raise AssertionError(
            f"{subject} fits into no tiny model, so that little of it can be tested; say what it "
            f"needs by a vaezoo.testing.Setting(options=..., spec=..., data=...): {reasons[0]}"
        )

    return Promise(subject, "fits into a model", fail)


def _try(case: Case) -> None:
    """Composes the model and makes a pass or measures; of a format, makes one for the data."""
    if case.kind == "format":
        case.cls(case.dataset.spec)
    elif case.kind == "metric":
        first_estimates(case)
    elif case.kind == "dataset":
        _ = case.dataset
    elif case.kind == "callback":
        return
    else:
        case.probe.task(case.probe.batch)


def _candidates(
    entry: ComponentEntry, setting: Setting
) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """Made-up data and blocks of a spec to try, likely ones first."""
    has_own_data = "type" in setting.spec.get("data", {}) or not (
        setting.data is None or isinstance(setting.data, str)
    )
    names: tuple[str | None, ...] = _DATA.get(entry.kind, _ANY_DATA)
    if has_own_data:
        names = (None,)
    elif setting.data is not None or entry.kind == "dataset":
        names = (setting.data,)
    for changes in ({}, *_partners(entry)):
        for data in names:
            yield data, changes


def _partners(entry: ComponentEntry) -> list[dict[str, Any]]:
    """Blocks that a component may need: no KL, and other components of its plugin."""
    no_kl: list[dict[str, Any]] = [{"regularizers": []}] if entry.kind in _SAMPLED else []
    if isinstance(entry, RegisteredEntry):
        return no_kl
    own = [other for other in catalogue().all() if other.plugin == entry.plugin]
    found = [*no_kl]
    for other in own:
        name = f"{other.plugin}:{other.name}"
        if other.kind in _PARTNERS.get(entry.kind, ()):
            found.append({"model": {other.kind: name}})
        if entry.kind == "prior" and other.kind == "conditioner":
            found.append({"model": {"condition": {"type": name, "into": ["prior", "decoder"]}}})
    return found

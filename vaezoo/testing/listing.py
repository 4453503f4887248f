"""Lists the promises of components and of plugins, and checks them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from vaezoo.plugins.catalogue import BUILT_IN, ComponentEntry
from vaezoo.plugins.discovery import catalogue
from vaezoo.plugins.kinds import KINDS, kind_class
from vaezoo.plugins.registration import THIS_PROCESS, RegisteredEntry, class_name
from vaezoo.testing import (
    batches,
    conditions,
    datasets,
    declared,
    densities,
    dtypes,
    files,
    gradients,
    initial,
    latents,
    likelihoods,
    masks,
    metrics,
    moments,
    nats,
    options,
    plugins,
    processes,
    rates,
    schedules,
    seeds,
    state,
)
from vaezoo.testing.case import Case
from vaezoo.testing.contexts import NEEDS_MODEL, fitting_case
from vaezoo.testing.promise import Promise, Rule
from vaezoo.testing.setting import Setting
from vaezoo.utils.errors import did_you_mean

Settings = Mapping[str, Setting | Sequence[Setting] | None]
"""The settings of components by ``"kind name"``, such as ``"prior ring"``."""

RULES: tuple[Rule, ...] = (
    *options.RULES,
    *state.RULES,
    *batches.RULES,
    *masks.RULES,
    *seeds.RULES,
    *initial.RULES,
    *latents.RULES,
    *conditions.RULES,
    *gradients.RULES,
    *nats.RULES,
    *rates.RULES,
    *declared.RULES,
    *densities.RULES,
    *moments.RULES,
    *likelihoods.RULES,
    *dtypes.RULES,
    *processes.RULES,
    *schedules.RULES,
    *metrics.RULES,
    *datasets.RULES,
    *files.RULES,
)
"""All promises, in the order in which they are checked."""


def promises(plugin: str, settings: Settings | None = None) -> list[Promise]:
    """The promises of a plugin and of its components, for one test each.

    Args:
        plugin: the name of its distribution, such as ``vaezoo-cosine``.
        settings: for components that need options or another model than the default one: how they
            are tested, by ``"kind name"``; one setting or several. With None only what needs no
            model is tested, such as the options of a data set that is downloaded.

    Raises:
        ValueError: the settings name a component that the plugin does not have.

    Example:
        >>> from vaezoo import testing
        >>> tests = testing.promises("vaezoo")
        >>> [str(test) for test in tests if "'linear'" in str(test)][0]
        "schedule 'linear': has a summary"
    """
    entries = [entry for entry in catalogue().all() if entry.plugin == plugin]
    given = dict(settings or {})
    names = {f"{entry.kind} {entry.name}" for entry in entries}
    if unknown := given.keys() - names:
        known = ", ".join(sorted(names)) or "none"
        raise ValueError(f"{plugin} has no component {min(unknown)!r}; it has {known}")
    found = [] if plugin == BUILT_IN else plugins.promises(plugin)
    for entry in entries:
        default = None if entry.kind == "dataset" else Setting()
        found += _promises_of(entry, given.get(f"{entry.kind} {entry.name}", default))
    return found


def check_plugin(plugin: str, settings: Settings | None = None) -> None:
    """Checks all ``promises`` of a plugin at once.

    Args:
        plugin, settings: as for ``promises``.

    Raises:
        AssertionError: promises are broken; one line for each.
    """
    _check_all(promises(plugin, settings))


def check_component(
    cls: type,
    *,
    options: Mapping[str, Any] | None = None,
    spec: Mapping[str, Any] | None = None,
    data: Any = None,
) -> None:
    """Checks all promises of a class, which need not be registered.

    Args:
        cls: a subclass of the class of a kind, such as ``vaezoo.Encoder``.
        options, spec, data: as for ``Setting``.

    Raises:
        AssertionError: promises are broken; one line for each.

    Example:
        >>> from vaezoo import testing
        >>> from vaezoo.components.encoders import MLPEncoder
        >>> testing.check_component(MLPEncoder, options={"hidden": [8]})
    """
    setting = Setting(options=options or {}, spec=spec or {}, data=data)
    _check_all(_promises_of(_entry_of(cls), setting))


def _check_all(found: Sequence[Promise]) -> None:
    broken: list[str] = []
    for promise in found:
        try:
            promise.check()
        except AssertionError as error:
            broken.append(str(error))
    if broken:
        raise AssertionError("\n".join(dict.fromkeys(broken)))


def _entry_of(cls: type) -> ComponentEntry:
    """The entry of an installed component, or one for a class that no plugin provides."""
    target = class_name(cls)
    for entry in catalogue().all():
        if entry.target == target:
            return entry
    for kind in KINDS:
        if issubclass(cls, kind_class(kind)):
            return RegisteredEntry(
                kind=kind, name=cls.__name__, target=target, plugin=THIS_PROCESS, cls=cls
            )
    raise TypeError(f"{cls.__name__} is no component; subclass the class of a kind")


def _promises_of(
    entry: ComponentEntry, settings: Setting | Sequence[Setting] | None
) -> list[Promise]:
    """The promises of one component: those of its class, and those in each setting."""
    given = [settings] if isinstance(settings, Setting) else list(settings or [])
    found = [*_made(Case(entry, given[0] if given else Setting()), needs_model=False)]
    for index, setting in enumerate(given if entry.kind in NEEDS_MODEL else ()):
        label = f" (setting {index + 1})" if len(given) > 1 else ""
        case = fitting_case(entry, setting, label)
        if isinstance(case, Promise):
            found.append(case)
        else:
            found += _made(case, needs_model=True)
    return found


def _made(case: Case, *, needs_model: bool) -> Iterator[Promise]:
    titles = {rule.title for rule in RULES}
    for title in case.setting.waived:
        if title not in titles:
            raise ValueError(f"{case}: no promise {title!r}{did_you_mean(title, titles)}")
    for rule in RULES:
        fits = rule.needs_model == needs_model and case.kind in rule.kinds
        if fits and rule.title not in case.setting.waived and rule.applies(case):
            yield Promise(str(case), rule.title, partial(rule.check, case))

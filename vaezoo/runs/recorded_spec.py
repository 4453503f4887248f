"""The spec of a run on disk: that which it began with, and what ``resume`` may change of it."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vaezoo.runs.directory import RunDirectory
from vaezoo.spec.dump import dump, dump_inline
from vaezoo.spec.load import load_spec
from vaezoo.spec.resolve import read_tree
from vaezoo.spec.spec import Spec
from vaezoo.spec.stage import Stage
from vaezoo.spec.tree import parse
from vaezoo.utils.errors import IntegrityError, SpecError, UsageError
from vaezoo.utils.files import write_json, write_text
from vaezoo.utils.json_text import json_text
from vaezoo.utils.paths import shell_word

Differences = dict[str, dict[str, Any]]
"""The values of options before (``from``) and after a change (``to``), by their path."""
MAY_CHANGE = (
    "the length of training (epochs, steps, early_stopping), train.device, train.compile, "
    "train.log_every, train.checkpoint_every, train.keep, train.callbacks, evaluate, data.workers "
    "and paths of the data"
)
"""What ``resume`` may change: what no past training step depends on."""
_MAY_CHANGE = re.compile(
    r"(train|stages\.\d+)\.(epochs|steps|early_stopping)"
    r"|train\.(device|compile|log_every|checkpoint_every|keep|callbacks)(\..*)?"
    r"|evaluate(\..*)?"
    r"|data\.(workers|(.*\.)?(path|test|factors)(\.\d+)?)"
)
_IDENTITY_DIGITS = 16


@dataclass(frozen=True)
class Changes:
    """What ``resume`` changes of a spec.

    Attributes:
        options: the options.
        stages: the indices of the stages whose training changes.
    """

    options: Differences = field(default_factory=dict)
    stages: tuple[int, ...] = ()

    def check(self, stage: int) -> None:
        """Raises UsageError if they concern a stage before that of a checkpoint."""
        if any(index < stage for index in self.stages):
            raise UsageError(
                f"-s {', '.join(self.options)}: changes a stage that is over; the run is in its "
                f"stage {stage + 1}, and only that and later ones can change"
            )


NO_CHANGES = Changes()


def load_recorded_spec(directory: RunDirectory, overrides: Sequence[str] = ()) -> Spec:
    """Loads the spec of a run, if it is that which the run began with.

    Runs of earlier versions did not record it; what their file says is taken.

    Args:
        directory: the run.
        overrides: changes as ``key.path=value``.

    Raises:
        IntegrityError: ``spec.yaml`` was changed or damaged since, or what was recorded was.
        SpecError: an override is not valid.
    """
    recorded = directory.read_environment().get("spec")
    if recorded is not None:
        try:
            present = read_tree(directory.spec).plain()
        except SpecError as error:
            raise IntegrityError(
                f"{str(error).splitlines()[0]}; it was changed or damaged since the run began: "
                f"its text is in {directory.environment}, under spec"
            ) from error
        began_with = _parse_recorded(directory, recorded)
        # a kill between the writes of a changed spec leaves the new one in environment.json alone
        is_repeated = overrides and _resolved(load_spec(directory.spec, overrides)) == began_with
        if present != began_with and not is_repeated:
            changes = _differences(began_with, present)
            if changes or not _is_same(directory, began_with):
                raise IntegrityError(_describe_edit(directory, changes))
    return load_spec(directory.spec, overrides)


def _is_same(directory: RunDirectory, began_with: Mapping[str, Any]) -> bool:
    """Whether the file of a run's spec means what the run began with, as with an empty option."""
    try:
        first, second = (_resolved(load_spec(each)) for each in (began_with, directory.spec))
    except SpecError:
        return False
    return not _differences(first, second)


def _parse_recorded(directory: RunDirectory, text: str) -> dict[str, Any]:
    """The spec that a run began with; raises IntegrityError if the text is none."""
    try:
        value, reason = parse(text, str(directory.environment)).plain(), "it is no mapping"
    except SpecError as error:
        value, reason = None, str(error).splitlines()[0]
    if not isinstance(value, dict) or not value:
        raise IntegrityError(
            f"{directory.environment}: the spec in it was changed or damaged since the run began: "
            f"{reason}; without this file, {directory.spec.name} is taken as it is"
        )
    return value


def spec_changes(directory: RunDirectory, changed: Spec) -> Changes:
    """What differs between the file of a run's spec and a changed spec.

    Raises:
        UsageError: training depends on it.
    """
    before = load_spec(directory.spec)
    options = _differences(_resolved(before), _resolved(changed))
    for path, values in options.items():
        if not _MAY_CHANGE.fullmatch(path):
            place = f"init: [{{from: {directory.path}}}]"
            raise UsageError(
                f"-s {path}: the run was trained with {_value(values['from'])}, and resuming it "
                f"can only change {MAY_CHANGE}; a new run may begin with its weights: {place}"
            )
    stages = zip(before.stages, changed.stages, strict=True)
    return Changes(options, tuple(a.index for a, b in stages if _length(a) != _length(b)))


def _length(stage: Stage) -> tuple[int | None, ...]:
    """The options that decide how long a stage is."""
    return stage.train.epochs, stage.train.steps, stage.train.early_stopping


def write_environment(
    directory: RunDirectory, spec: Spec, environment: dict[str, Any], changes: Changes
) -> None:
    """Writes ``environment.json`` with the spec, then the file of the spec if it was changed.

    A resumed run adds to the list ``resumed``, and the changes of the spec there.

    Args:
        directory: the run.
        spec: its spec.
        environment: what this process runs with.
        changes: those of the spec.
    """
    text = dump(spec.resolved()) if changes.options else directory.spec.read_text("utf-8")
    if first := directory.read_environment():
        of_run = ("splits", "identity")  # the same whenever it is resumed
        same = {name: environment.pop(name) for name in of_run if name in environment}
        changed = {"changed": changes.options} if changes.options else {}
        later = [*first.get("resumed", []), {**environment, **changed}]
        environment = {**first, **same, "resumed": later}
    elif not (directory.checkpoint_files() or directory.model.exists()):
        environment = {**environment, "digests": True}  # of all files that follow
    write_json(directory.environment, {**environment, "spec": text})
    if changes.options:
        write_text(directory.spec, text)


def run_identity(spec: Spec, splits: Mapping[str, Any]) -> str:
    """A hash of what the weights of a run depend on: what ``resume`` cannot change.

    Args:
        spec: the spec.
        splits: the fingerprints of the data; empty if they are not known.
    """
    fixed = {
        path: value
        for path, value in spec_leaves(_resolved(spec))
        if not _MAY_CHANGE.fullmatch(path)
    }
    return hashlib.sha256(json_text([fixed, splits]).encode()).hexdigest()[:_IDENTITY_DIGITS]


def _resolved(spec: Spec) -> Any:
    """The resolved spec as its file is read."""
    return parse(dump(spec.resolved()), "<text>").plain()


def _differences(before: Any, after: Any) -> Differences:
    """The options that differ between two specs; one that is left out is None."""
    first, second = dict(spec_leaves(before)), dict(spec_leaves(after))
    return {
        path: {"from": first.get(path), "to": second.get(path)}
        for path in {**first, **second}
        if path and first.get(path) != second.get(path)
    }


def spec_leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The values in a spec that are no blocks, by their path."""
    items: Mapping[Any, Any] = {}
    if isinstance(value, dict):
        items = value
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        items = dict(enumerate(value))
    if not items:
        yield path, value
    for key, item in items.items():
        yield from spec_leaves(item, f"{path}.{key}" if path else str(key))


def _describe_edit(directory: RunDirectory, changes: Differences) -> str:
    """Says what differs between a run's spec and that which it began with, and what to do."""
    parts = [
        f"{path} is {_value(values['to'])}, and was {_value(values['from'])}"
        for path, values in changes.items()
    ]
    more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
    what = ", ".join(parts[:3]) or "an option without a value was added or removed"
    option = next((path for path in changes if _MAY_CHANGE.fullmatch(path)), None)
    advice = "start a new run with another spec"
    if option is not None:
        change = shlex.quote(f"{option}={dump_inline(changes[option]['to'])}")
        advice = f"change a run with: vaezoo resume {shell_word(directory.path)} -s {change}"
    return (
        f"{directory.spec}: was changed or damaged since the run began: {what}{more}; "
        f"undo that (its text is in {directory.environment.name}, under spec), and {advice}"
    )


def _value(value: Any) -> str:
    return "left out" if value is None else dump_inline(value)

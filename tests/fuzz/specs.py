"""Specs and overrides: files of YAML that ``vaezoo run`` reads, and ``-s key.path=value``."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import vaezoo
from tests.fuzz import odd
from tests.fuzz.damage import damage
from tests.fuzz.documents import Kind, attempt
from tests.fuzz.guard import Fault, guarded
from tests.fuzz.reference import check_kept, is_same, read_yaml
from tests.fuzz.spec_bases import bases, write_data
from vaezoo.plugins import discovery
from vaezoo.runs.dry_run import dry_run
from vaezoo.spec.options import load_component
from vaezoo.utils.errors import SpecError, VaezooError

_POSITION = re.compile(r".+:[0-9]+:[0-9]+: ")
_VARIABLE = re.compile(r"\$\{vars\.(.+)\}")
_MEMORY = 96 * 2**20
_ITSELF = ("epochs", "steps")
"""Keys of which an override of one takes the other away."""


@dataclass
class Case:
    """Files of a spec, overrides of it, and what the good spec says.

    Attributes:
        path: the spec.
        overrides: as behind ``-s``.
        base: the tree of the good spec.
        written: path and value of the only override; None if there are none or more.
    """

    path: Path
    base: dict[str, Any]
    overrides: list[str] = field(default_factory=list)
    written: tuple[odd.Path, Any] | None = None


@cache
def _words() -> tuple[list[str], list[str]]:
    """The names of all components, and the keys of their options."""
    catalogue, names, keys = discovery.catalogue(), [], set()
    for (_, name), entries in catalogue.entries.items():
        names.append(name)
        for entry in entries:
            keys |= set(load_component(entry)[1].model_fields)
    top = "spec name extends vars data model train stages type init samplers condition into fuse"
    return sorted(set(names)), sorted(keys | {*top.split(), "requires", "optimizer", "lr"})


class Specs(Kind):
    """The fuzzer of specs and of overrides."""

    name = "specs"
    mutators = ("tree", "tree", "override", "bytes", "tree", "override", "extends", "overrides")

    def make(self, rng: np.random.Generator, place: Path, mutator: str) -> Case:
        """Writes a case."""
        write_data(place)
        names, keys = _words()
        base = odd.pick(rng, bases(place))
        case = Case(place / "spec.yaml", base)
        tree, data = base, None
        if mutator in ("tree", "extends"):
            tree = odd.change_tree(base, rng, names, keys)
        if mutator == "extends" and isinstance(tree, dict):
            tree = self._extending(tree, rng, place)
        data = odd.write(tree, yaml=True).encode("utf-8", "surrogateescape")
        if mutator == "bytes":
            data = damage(vaezoo.spec.dump.dump(base).encode(), rng)
        case.path.write_bytes(data)
        for _ in range({"override": 1, "overrides": int(rng.integers(2, 5))}.get(mutator, 0)):
            path, value = self._override(base, rng, names, keys)
            text = odd.write(value, yaml=True)
            case.overrides.append(f"{'.'.join(map(str, path))}={text}")
            case.written = (path, text)
        if len(case.overrides) != 1:
            case.written = None
        return case

    @staticmethod
    def _extending(tree: dict[str, Any], rng: np.random.Generator, place: Path) -> dict[str, Any]:
        """The tree without half of its keys, which stand in a base."""
        below = [key for key in tree if rng.random() < 0.5]
        text = odd.write({key: tree[key] for key in below}, yaml=True)
        (place / "base.yaml").write_bytes(text.encode())
        reference = "base.yaml" if rng.random() < 0.7 else odd.odd_value(rng, odd.PATHS)
        return {"extends": reference} | {key: tree[key] for key in tree if key not in below}

    @staticmethod
    def _override(
        base: Any, rng: np.random.Generator, names: list[str], keys: list[str]
    ) -> tuple[odd.Path, Any]:
        """The path and the value of an override."""
        path = odd.pick(rng, odd.paths_of(base))
        if rng.random() < 0.2:
            path = (*path[: int(rng.integers(len(path) + 1))], odd.pick(rng, keys))
        if rng.random() < 0.1:
            path = (
                *path,
                odd.pick(rng, ("", "-1", "99999999999", "x", "0", "type", "\u00b2", "é")),
            )
        return path, odd.odd_value(rng, names)

    def judge(self, rng: np.random.Generator, place: Path, mutator: str) -> str:
        """Loads a case, compares it with what is written, and makes a dry run of it."""
        case = self.make(rng, place, mutator)
        load = lambda: vaezoo.load_spec(case.path, case.overrides)  # noqa: E731
        with guarded(place, memory=_MEMORY):
            spec, is_read = attempt(load, lambda line: _is_located(line, case))
        if not is_read:
            return "refused"
        check_spec(case, spec.resolved())
        with guarded(place, memory=None):
            _, is_run = attempt(lambda: _try(spec), lambda line: True)
        return "run" if is_run else "loaded"

    def command(self, rng: np.random.Generator, place: Path, mutator: str) -> list[str]:
        """``vaezoo run --dry-run``."""
        case = self.make(rng, place, mutator)
        words = [word for override in case.overrides for word in ("-s", override)]
        return ["run", case.path.name, "--dry-run", *words]


def _try(spec: vaezoo.Spec) -> None:
    """A dry run; errors in a spec must name its position, others are of the data or training."""
    try:
        dry_run(spec).as_text()
    except SpecError as error:
        if not all(_POSITION.match(str(problem)) for problem in error.problems):
            raise Fault(f"SpecError without a position: {error}") from error
        raise
    except VaezooError:
        raise


def _is_located(line: str, case: Case) -> bool:
    """Whether a line of an error in a spec names the file, or the override, and the position."""
    if any(line.startswith(f"{place}:") for place in (case.path, case.path.parent / "base.yaml")):
        return _POSITION.match(line) is not None or "needs " in line  # packages have a line only
    return line.startswith("-s ") and bool(case.overrides)


def check_spec(case: Case, kept: dict[str, Any]) -> None:
    """Checks that a spec that was loaded says what is written.

    Raises:
        Fault: a value was changed or lost.
    """
    if case.written is not None:
        _check_override(case, kept)
        return
    if case.overrides:
        return
    written = read_yaml(case.path.read_bytes().decode())
    variables = written.pop("vars", None) or {}
    if "extends" in written:
        below = read_yaml((case.path.parent / written.pop("extends")).read_text("utf-8"))
        variables = {**(below.get("vars") or {}), **variables}
    _compare(_with_variables(written, variables), kept, ())


def _check_override(case: Case, kept: dict[str, Any]) -> None:
    assert case.written is not None
    path, text = case.written
    value = read_yaml(text) if text.strip() else ""
    good = vaezoo.load_spec(case.base).resolved()
    steps = [step for key in map(str, path) for step in key.split(".")]
    if steps[0] == "vars":
        return
    found: Any = kept
    for step in steps:
        if isinstance(found, str | None) or step not in map(str, _keys(found)):
            if value is not None:
                raise Fault(f"{'.'.join(steps)}: {value!r:.80} is written, but nothing is kept")
            return
        found = found[int(step)] if isinstance(found, list) else found[step]
    _compare(value, found, tuple(steps))
    if isinstance(value, dict | list | str | None):  # may be a component
        return
    for tree in (kept, good):
        with contextlib.suppress(KeyError, IndexError):
            parent = odd.get(tree, tuple(_typed(steps[:-1])))
            for key in (steps[-1], *(_ITSELF if steps[-1] in _ITSELF else ())):
                if isinstance(parent, dict):
                    parent.pop(key, None)
                elif isinstance(parent, list):
                    parent[int(key)] = None
    if repr(good) != repr(kept) and steps[0] not in ("train", "spec"):  # stages have a copy of it
        raise Fault(f"{'.'.join(steps)} changes something else: {good} {kept}")


def _typed(steps: list[str]) -> list[str | int]:
    return [int(step) if step.isdecimal() else step for step in steps]


def _keys(value: Any) -> Any:
    return range(len(value)) if isinstance(value, list) else value


def _with_variables(tree: Any, variables: dict[str, Any]) -> Any:
    if isinstance(tree, dict):
        return {key: _with_variables(value, variables) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_with_variables(value, variables) for value in tree]
    match = _VARIABLE.fullmatch(tree) if isinstance(tree, str) else None
    return variables[match[1]] if match else tree


def _is_kept(written: Any, kept: Any, path: odd.Path) -> bool:
    """Whether a scalar of a spec is kept; the name of a component stands for its block."""
    if isinstance(written, str):
        name = kept.get("type") if isinstance(kept, dict) else kept
        bare = written.removeprefix("vaezoo:")
        return name in (bare, written) or (isinstance(name, str) and name.endswith(f":{written}"))
    return is_same(written, kept)


def _may_lose(path: odd.Path) -> bool:
    """Whether a resolved spec leaves out what is at a path: a default of weights to begin with."""
    return path[0] == "init" and path[-1] == "strict"


def _compare(written: Any, kept: Any, path: odd.Path) -> None:
    for tree in (written, kept):
        model = tree.get("model") if isinstance(tree, dict) and not path else None
        condition = model.get("condition") if isinstance(model, dict) else None
        if isinstance(condition, dict) and "into" in condition:
            condition["into"] = sorted(condition["into"])
    if path[-1:] == ("into",):
        written = sorted(written)
    check_kept(written, kept, path, same=_is_kept, may_lose=_may_lose)

"""Reads and validates a spec from a file, a mapping or text."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from vaezoo.plugins import discovery
from vaezoo.spec import messages
from vaezoo.spec.block_defaults import BlockDefaults
from vaezoo.spec.checker import SpecChecker
from vaezoo.spec.dump import dump
from vaezoo.spec.options import ComponentSpec
from vaezoo.spec.resolve import read_tree, resolve
from vaezoo.spec.spec import Spec
from vaezoo.spec.tree import Mark, Node, parse
from vaezoo.utils.errors import PluginError, SpecError
from vaezoo.utils.requirements import parse_requirement

MEMORY = "memory"
"""The name of the data set whose examples Python gives."""


def load_spec(
    source: str | Path | Mapping[str, Any], overrides: Sequence[str] = (), *, text: bool = False
) -> Spec:
    """Reads and validates a spec.

    Args:
        source: the path of a YAML file, or a mapping; with ``text``, the YAML itself.
        overrides: ``key.path=value``, as with ``-s`` on the command line.
        text: whether ``source`` is YAML and not a path.

    Raises:
        SpecError: the spec is not valid; contains every problem.
        PluginError: a package that ``requires`` names is missing or too old.
        UsageError: an override does not have the form ``key.path=value``.

    Example:
        >>> import vaezoo
        >>> source = '''
        ... spec: vaezoo/v2
        ... name: tiny
        ... data: digits
        ... model: {latent_dim: 2, encoder: mlp, decoder: mlp, likelihood: bernoulli}
        ... '''
        >>> spec = vaezoo.load_spec(source, ["model.encoder.hidden=[32]", "seed=7"], text=True)
        >>> spec.name, spec.seed, spec.model.encoder.options["hidden"]
        ('tiny', 7, [32])
        >>> vaezoo.load_spec(source, ["seed=-1"], text=True)
        Traceback (most recent call last):
        ...
        vaezoo.utils.errors.SpecError: -s seed=-1:1:1: seed: must be >= 0, not -1
    """
    return _check(_read(source, overrides, text=text))


def load_spec_for_data(
    source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()
) -> Spec:
    """``load_spec`` for data that Python gives: without ``data`` or its type it is ``memory``."""
    tree = _read(source, overrides)
    data = tree.value.get("data") or Node(None, tree.mark, {})
    if data.value is None:
        data = Node({}, data.mark, {})
    if isinstance(data.value, dict) and "type" not in data.value:
        block = {"type": Node(MEMORY, data.mark, {}), **data.value}
        data = Node(block, data.mark, {"type": data.mark, **data.keys})
    keys = {"data": data.mark, **tree.keys}
    return _check(Node({**tree.value, "data": data}, tree.mark, keys))


def load_component_block(kind: str, block: Mapping[str, Any], origin: str) -> ComponentSpec:
    """A component by the block that would name it in a spec.

    Args:
        kind: its kind, such as ``features``.
        block: ``type`` and the options.
        origin: where the block comes from, for messages.

    Raises:
        SpecError: there is no such component, or an option is not valid.
    """
    checker = SpecChecker(discovery.catalogue())
    component = checker.component(kind, parse(dump(dict(block)), origin), kind)
    if checker.problems or component is None:
        raise SpecError(checker.problems)
    return component


def _read(
    source: str | Path | Mapping[str, Any], overrides: Sequence[str], *, text: bool = False
) -> Node:
    """The tree of a spec with ``extends``, overrides and variables applied."""
    if isinstance(source, Mapping):
        source, text = dump(dict(source)), True
    file = None if text else Path(source)
    tree = parse(str(source), "<text>") if file is None else read_tree(file)
    return resolve(tree, file, overrides, BlockDefaults(discovery.catalogue()).find)


def _check(tree: Node) -> Spec:
    """The spec of a tree."""
    _check_requirements(tree)
    return SpecChecker(discovery.catalogue()).check_spec(tree)


def _check_requirements(tree: Node) -> None:
    """Checks ``requires`` first, because a missing plugin may cause all other errors.

    Raises:
        SpecError: a requirement is not valid.
        PluginError: a required package is missing or too old.
    """
    for mark, requirement in _requirements(tree):
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            message = (
                f"{mark.file}:{mark.line}: needs {requirement}; "
                f"pip install {shlex.quote(str(requirement))}"
            )
            raise PluginError(message) from None
        if not requirement.specifier.contains(version, prereleases=True):
            raise PluginError(
                f"{mark.file}:{mark.line}: needs {requirement}, but {version} is installed; "
                f"pip install --upgrade {shlex.quote(str(requirement))}"
            )


def _requirements(tree: Node) -> list[tuple[Mark, Requirement]]:
    """The parsed entries of ``requires`` with their positions.

    Raises:
        SpecError: an entry is not a package name with versions.
    """
    entries = tree.value.get("requires")
    nodes = entries.value if entries is not None and isinstance(entries.value, list) else []
    problems, requirements = [], []
    for index, node in enumerate(nodes):
        if not isinstance(node.value, str):
            continue  # the checker reports it
        try:
            requirement = parse_requirement(node.value)
            if requirement.url or requirement.marker:
                raise InvalidRequirement("more than a name and versions")
            requirements.append((node.mark, requirement))
        except InvalidRequirement:
            value = messages.quote_value(node.value)
            message = f"{value} is not a package and its versions, such as 'vaezoo-mnist>=0.1'"
            problems.append(node.mark.problem(f"requires.{index}", message))
    if problems:
        raise SpecError(problems)
    return requirements

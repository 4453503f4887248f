"""From a tree to a checked Spec: every fault found, each at its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from vaezoo.plugins import discovery
from vaezoo.spec import messages
from vaezoo.spec.checker import _Checker
from vaezoo.spec.dump import dump
from vaezoo.spec.resolve import read, resolve
from vaezoo.spec.spec import Spec
from vaezoo.spec.tree import Node, parse
from vaezoo.utils.errors import PluginError, SpecError


def load(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = (), *, text: bool = False) -> Spec:
    """Reads and checks a spec.

    Args:
        source: a path; a mapping; or, with ``text``, YAML itself.
        overrides: ``key.path=value``, as on the command line.

    Raises:
        SpecError: with every fault found.
        PluginError: a plugin that ``requires`` names is missing or too old.
        UsageError: an override is not of that form.
    """
    if isinstance(source, Mapping):
        source, text = dump(dict(source)), True
    if text:
        tree, base = parse(str(source), "<text>"), None
    else:
        base = Path(source)
        tree = read(base)
    tree = resolve(tree, base, overrides)
    _check_requirements(tree)
    return _Checker(discovery.catalogue()).spec(tree)


def _check_requirements(tree: Node) -> None:
    """``requires`` comes first: what it names may be why the rest does not make sense yet."""
    listed = tree.value.get("requires")
    nodes = listed.value if listed is not None and isinstance(listed.value, list) else []
    problems, wanted = [], []
    for index, node in enumerate(nodes):
        if not isinstance(node.value, str):
            continue  # the schema says so
        try:
            requirement = Requirement(node.value)
            if requirement.url or requirement.marker:
                raise InvalidRequirement("more than a name and versions")
            wanted.append((node.mark, requirement))
        except InvalidRequirement:
            what = f"{messages.shown(node.value)} is not a package and its versions, such as 'vaezoo-mnist>=0.1'"
            problems.append(node.mark.problem(f"requires.{index}", what))
    if problems:
        raise SpecError(problems)
    for mark, requirement in wanted:
        try:
            found = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            missing = f"{mark.file}:{mark.line}: needs {requirement}; pip install {str(requirement)!r}"
            raise PluginError(missing) from None
        if not requirement.specifier.contains(found, prereleases=True):
            raise PluginError(
                f"{mark.file}:{mark.line}: needs {requirement}, but {found} is installed; "
                f"pip install --upgrade {str(requirement)!r}"
            )

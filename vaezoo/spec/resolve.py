"""Resolves a spec file into one tree: applies ``extends``, overrides and ``${vars.x}``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from vaezoo.spec.changes import FindDefault, change_value, merge, parse_override, set_value
from vaezoo.spec.messages import quote_value
from vaezoo.spec.tree import SPEC_LIMITS, Mark, Node, mark_after, parse
from vaezoo.utils.errors import Problem, SpecError, did_you_mean
from vaezoo.utils.files import read_limited
from vaezoo.utils.paths import is_file

MAX_EXTENDS = 8
_FIRST_LINE = "spec: vaezoo/v2"
_VARIABLE = re.compile(r"\$\{vars\.([A-Za-z_][\w-]*)\}")


def read_tree(path: Path, first_line: str = _FIRST_LINE) -> Node:
    """Parses a spec file, or another mapping.

    Args:
        path: the file.
        first_line: how such a file begins, for messages.

    Raises:
        SpecError: the file cannot be read or is not a valid YAML mapping.
    """
    try:
        data = read_limited(path, SPEC_LIMITS.bytes)
        # one that is too large, which may end within a character, is refused as such
        text = data.decode("utf-8", "strict" if len(data) <= SPEC_LIMITS.bytes else "replace")
    except UnicodeDecodeError as error:
        mark = mark_after(str(path), error.object[: error.start].decode("utf-8"))
        message = (
            f"byte 0x{error.object[error.start]:02x} is not UTF-8 text; save the file as UTF-8"
        )
        raise SpecError([mark.problem("", message)]) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SpecError([Mark(str(path), 1, 1).problem("", f"cannot be read: {reason}")]) from None
    return _check_mapping(parse(text, str(path)), first_line)


def resolve(
    root: Node, file: Path | None, overrides: Sequence[str], find_default: FindDefault
) -> Node:
    """The complete tree of a spec, with ``extends``, overrides and variables applied.

    An override of a key in a block that the spec leaves out changes the default of that block.

    Args:
        root: the parsed spec.
        file: the file it was read from; None for text, which cannot extend a file.
        overrides: ``key.path=value`` as on the command line, the value in YAML.
        find_default: finds the default of a block.

    Raises:
        SpecError: a base, an override or a variable is not valid.
        UsageError: an override does not have the form ``key.path=value``.
    """
    tree = extend(root, file)
    changes = [parse_override(override) for override in overrides]
    for steps, value in changes:
        if steps[0] == "vars":
            tree = set_value(tree, steps, value)
    variables = tree.value.get("vars")
    if variables is not None and not isinstance(variables.value, dict):
        message = f"must be a mapping of names to values, not {quote_value(variables.plain())}"
        raise SpecError([variables.mark.problem("vars", message)])
    known = variables.value if variables else {}
    values = {key: node for key, node in tree.value.items() if key != "vars"}
    # an override may reach into the value of a variable; or replace a faulty one
    tree = _interpolate(Node(values, tree.mark, tree.keys), known, "", [])
    for steps, value in changes:
        if steps[0] != "vars":
            tree = change_value(tree, steps, value, find_default)
    problems: list[Problem] = []
    result = _interpolate(tree, known, "", problems)
    if problems:
        raise SpecError(problems)
    return result


def extend(root: Node, file: Path | None) -> Node:
    """A spec or a suite merged over what it extends.

    Args:
        root: the parsed file.
        file: the file; None for text, which cannot extend a file.

    Raises:
        SpecError: a base is not valid.
    """
    return _extend(_check_mapping(root), file, (), file.parent.resolve() if file else None)


def _check_mapping(node: Node, first_line: str = _FIRST_LINE) -> Node:
    """The node itself, if it is a mapping."""
    if not isinstance(node.value, dict):
        message = f"must be a mapping that begins with {first_line!r}"
        raise SpecError([node.mark.problem("", message)])
    return node


def _extend(
    tree: Node, file: Path | None, derived_files: tuple[Path, ...], root_folder: Path | None
) -> Node:
    """Merges a tree over its base, recursively.

    Args:
        tree: the parsed file.
        file: the file.
        derived_files: the files that extend this one, directly or through others.
        root_folder: the folder of the first file, which must contain all bases.
    """
    if "extends" not in tree.value:
        return tree
    reference = tree.value["extends"]
    own = Node(
        {key: node for key, node in tree.value.items() if key != "extends"}, tree.mark, tree.keys
    )
    chain = derived_files if file is None else (*derived_files, file.resolve())
    base = _base_file(reference, file, chain, root_folder)
    return merge(_extend(read_tree(base), base.resolve(), chain, root_folder), own)


def _base_file(
    reference: Node, file: Path | None, chain: tuple[Path, ...], root_folder: Path | None
) -> Path:
    """The checked path of a base.

    Raises:
        SpecError: the path is not valid, or leads outside the folder or into a circle.
    """
    path = reference.value

    def error(message: str) -> SpecError:
        return SpecError([reference.mark.problem("extends", message)])

    if not isinstance(path, str):
        raise error(f"must be a path, such as ./base.yaml, not {quote_value(reference.plain())}")
    if file is None or root_folder is None:
        raise error("a spec that is not in a file cannot extend another")
    try:
        target = (file.parent / path).resolve()
    except (OSError, ValueError, RuntimeError) as failure:
        raise error(f"{path!r} is not a path: {failure}") from None
    if Path(path).is_absolute():
        raise error(f"{path!r} is absolute; write it relative to this file")
    if not target.is_relative_to(root_folder):
        raise error(f"{path!r} is outside the folder of the spec; copy it into that folder")
    if target in chain:
        circle = " -> ".join(link.name for link in (*chain, target))
        raise error(f"files extend each other in a circle: {circle}; remove one extends")
    if len(chain) > MAX_EXTENDS:
        raise error(f"more than {MAX_EXTENDS} files deep; merge some of them")
    if not is_file(target):
        raise error(f"no file {path!r} relative to {file.name}")
    return file.parent / path


def _interpolate(
    node: Node, variables: dict[str, Node], path: str, problems: list[Problem]
) -> Node:
    """Replaces each ``${vars.x}`` by the variable's value; adds errors to ``problems``."""
    if isinstance(node.value, dict):
        items = {
            key: _interpolate(child, variables, f"{path}.{key}" if path else key, problems)
            for key, child in node.value.items()
        }
        return Node(items, node.mark, node.keys)
    if isinstance(node.value, list):
        children = [
            _interpolate(child, variables, f"{path}.{i}", problems)
            for i, child in enumerate(node.value)
        ]
        return Node(children, node.mark, {})
    if not isinstance(node.value, str) or "${" not in node.value:
        return node
    match = _VARIABLE.fullmatch(node.value)
    if match is None:
        message = (
            f"{quote_value(node.value)} is not a variable; the whole value must be ${{vars.name}}"
        )
        problems.append(node.mark.problem(path, message))
    elif match[1] not in variables:
        hint = (
            did_you_mean(match[1], variables)
            or f"; define it under vars, such as vars: {{{match[1]}: 1}}"
        )
        problems.append(node.mark.problem(path, f"no variable {match[1]!r}{hint}"))
    else:
        variable = variables[match[1]]
        if "${" in str(variable.plain()):
            message = "a variable cannot refer to another; write the value out"
            problems.append(variable.mark.problem(f"vars.{match[1]}", message))
            return node
        return Node(variable.value, node.mark, variable.keys)
    return node

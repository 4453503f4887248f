"""From a file to one tree: ``extends``, command-line overrides, and ``${vars.x}``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from vaezoo.spec.messages import shown
from vaezoo.spec.tree import MAX_DEPTH, Mark, Node, parse, place
from vaezoo.utils.errors import Problem, SpecError, UsageError, did_you_mean

MAX_EXTENDS = 8
_VARIABLE = re.compile(r"\$\{vars\.([A-Za-z_][\w-]*)\}")


def read(path: Path) -> Node:
    """Parses a file.

    Raises:
        SpecError: it cannot be read or is not valid.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        at = place(str(path), error.object[: error.start].decode("utf-8"))
        found = f"byte 0x{error.object[error.start]:02x} is not UTF-8 text; save the file as UTF-8"
        raise SpecError([at.problem("", found)]) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SpecError([Mark(str(path), 1, 1).problem("", f"cannot be read: {reason}")]) from None
    return _mapping(parse(text, str(path)))


def resolve(root: Node, base: Path | None, overrides: Sequence[str]) -> Node:
    """The tree that a spec means, without ``extends`` and ``vars``.

    Args:
        root: the parsed spec.
        base: its file; None for text that is in no file, which cannot extend another.
        overrides: ``key.path=value`` as on the command line, the value in YAML.

    Raises:
        SpecError: all that is wrong.
        UsageError: an override is not of that form.
    """
    tree = _extend(_mapping(root), base, (), base.parent.resolve() if base else None)
    for override in overrides:
        tree = _override(tree, override)
    variables = tree.value.get("vars")
    if variables is not None and not isinstance(variables.value, dict):
        what = f"must be a mapping of names to values, not {shown(variables.plain())}"
        raise SpecError([variables.mark.problem("vars", what)])
    kept = {key: node for key, node in tree.value.items() if key != "vars"}
    problems: list[Problem] = []
    known = variables.value if variables else {}
    result = _interpolate(Node(kept, tree.mark, tree.keys), known, "", problems)
    if problems:
        raise SpecError(problems)
    return result


def _mapping(node: Node) -> Node:
    if not isinstance(node.value, dict):
        raise SpecError([node.mark.problem("", "a spec is a mapping that begins with 'spec: vaezoo/v1'")])
    return node


def _extend(tree: Node, file: Path | None, seen: tuple[Path, ...], folder: Path | None) -> Node:
    """Merges a tree over the one it extends, all of it inside the folder of the first file."""
    if "extends" not in tree.value:
        return tree
    mark, wanted = tree.value["extends"].mark, tree.value["extends"].value
    own = Node({key: node for key, node in tree.value.items() if key != "extends"}, tree.mark, tree.keys)
    if not isinstance(wanted, str):
        what = f"must be a path, such as ./base.yaml, not {shown(tree.value['extends'].plain())}"
        raise SpecError([mark.problem("extends", what)])
    if file is None or folder is None:
        raise SpecError([mark.problem("extends", "a spec that is not in a file cannot extend another")])
    try:
        target = (file.parent / wanted).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise SpecError([mark.problem("extends", f"{wanted!r} is not a path: {error}")]) from None
    if Path(wanted).is_absolute():
        raise SpecError([mark.problem("extends", f"{wanted!r} is absolute; write it relative to this file")])
    if not target.is_relative_to(folder):
        raise SpecError([mark.problem("extends", f"{wanted!r} leaves the folder of the spec; copy it there")])
    chain = (*seen, file.resolve())
    if target in chain:
        loop = " -> ".join(path.name for path in (*chain, target))
        raise SpecError([mark.problem("extends", f"goes in a circle: {loop}; break it")])
    if len(chain) > MAX_EXTENDS:
        raise SpecError([mark.problem("extends", f"more than {MAX_EXTENDS} files deep; merge some of them")])
    if not target.is_file():
        raise SpecError([mark.problem("extends", f"no file {wanted!r} beside {file.name}")])
    return merge(_extend(read(file.parent / wanted), target, chain, folder), own)


def merge(base: Node, over: Node) -> Node:
    """Mappings merge, everything else is replaced; a changed ``type`` replaces the whole block."""
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    if "type" in over.value and _type_of(base) != _type_of(over):
        return over
    values, keys = dict(base.value), dict(base.keys)
    for key, node in over.value.items():
        values[key] = merge(values[key], node) if key in values else node
        keys[key] = over.keys[key]
    return Node(values, over.mark, keys)


def _type_of(node: Node) -> object:
    kind = node.value.get("type")
    return kind.value if kind is not None else None


def _override(tree: Node, override: str) -> Node:
    path, equals, text = override.partition("=")
    steps = path.strip().split(".")
    if not equals or not all(steps):
        raise UsageError(f"-s {override}: write key.path=value, such as -s train.epochs=3")
    if len(steps) > MAX_DEPTH:
        raise UsageError(f"-s {override[:60]}...: deeper than {MAX_DEPTH} levels; no spec is")
    value = parse(text if text.strip() else "''", f"-s {override}")
    return _set(tree, steps, value, path)


def _set(node: Node, steps: Sequence[str], value: Node, path: str) -> Node:
    """A copy of the tree with one place changed; a bare component name grows into a block."""
    step, rest = steps[0], steps[1:]
    if isinstance(node.value, list):
        if not step.isdecimal() or int(step) >= len(node.value):
            count = f"the list has {len(node.value)}, counted from 0"
            raise SpecError([value.mark.problem(path, f"no item {step!r}; {count}")])
        items = list(node.value)
        items[int(step)] = _set(items[int(step)], rest, value, path) if rest else value
        return Node(items, node.mark, {})
    if isinstance(node.value, str) and step != "type":
        node = Node({"type": node}, node.mark, {"type": node.mark})
    if not isinstance(node.value, dict):
        node = Node({}, value.mark, {})
    values, keys = dict(node.value), {**node.keys, step: value.mark}
    below = values.get(step, Node({}, value.mark, {}))
    new = _set(below, rest, value, path) if rest else value
    values[step] = merge(values[step], new) if step in values and not rest else new
    return Node(values, node.mark, keys)


def _interpolate(node: Node, variables: dict[str, Node], path: str, problems: list[Problem]) -> Node:
    """Replaces each scalar that is ``${vars.x}`` by the variable's value."""
    if isinstance(node.value, dict):
        items = {
            key: _interpolate(child, variables, f"{path}.{key}" if path else key, problems)
            for key, child in node.value.items()
        }
        return Node(items, node.mark, node.keys)
    if isinstance(node.value, list):
        children = [_interpolate(child, variables, f"{path}.{i}", problems) for i, child in enumerate(node.value)]
        return Node(children, node.mark, {})
    if not isinstance(node.value, str) or "${" not in node.value:
        return node
    match = _VARIABLE.fullmatch(node.value)
    if match is None:
        what = f"{shown(node.value)} is no variable; write ${{vars.name}} and nothing else"
        problems.append(node.mark.problem(path, what))
    elif match[1] not in variables:
        hint = did_you_mean(match[1], variables) or f"; give it under vars, such as vars: {{{match[1]}: 1}}"
        problems.append(node.mark.problem(path, f"no variable {match[1]!r}{hint}"))
    else:
        found = variables[match[1]]
        if "${" in str(found.plain()):
            what = "a variable cannot refer to another; write the value out"
            problems.append(found.mark.problem(f"vars.{match[1]}", what))
        return Node(found.value, node.mark, found.keys)
    return node

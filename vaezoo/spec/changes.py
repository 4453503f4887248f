"""Changes of the tree of a spec: merging it over its base, and overrides of single values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from vaezoo.spec.tree import MAX_DEPTH, Mark, Node, parse
from vaezoo.utils.errors import SpecError, UsageError, shorten

_ALTERNATIVES = {"steps": "epochs", "epochs": "steps"}
"""Keys of ``train`` and of a stage, of which one replaces the other."""

FindDefault: TypeAlias = Callable[[Node, Sequence[str]], Any]
"""Returns the plain default of a path that a tree leaves out or has null at; None for none."""


def merge(base: Node, changes: Node) -> Node:
    """Merges mappings; replaces everything else and blocks with another ``type``."""
    if not (isinstance(base.value, dict) and isinstance(changes.value, dict)):
        return changes
    if "type" in changes.value and _type_of(base) != _type_of(changes):
        return changes
    values, keys = dict(base.value), dict(base.keys)
    for key, node in changes.value.items():
        values[key] = merge(values[key], node) if key in values else node
        keys[key] = changes.keys[key]
    return Node(values, changes.mark, keys)


def _type_of(node: Node) -> object:
    """The name of a component, also of a bare one; None of other nodes."""
    block_type = node.value.get("type") if isinstance(node.value, dict) else node
    return block_type.value if block_type is not None else None


def parse_override(override: str) -> tuple[list[str], Node]:
    """The steps and the value of an override of the form ``key.path=value``.

    Raises:
        UsageError: it has another form.
        SpecError: the value is not valid YAML.
    """
    path, equals, text = override.partition("=")
    steps, name = path.strip().split("."), f"-s {shorten(override)}"
    if not equals or not all(steps):
        raise UsageError(f"{name}: write key.path=value, such as -s train.epochs=3")
    if len(steps) > MAX_DEPTH:
        raise UsageError(f"{name}: nested deeper than {MAX_DEPTH} levels; use fewer")
    return steps, parse(text if text.strip() else "''", name)


def change_value(tree: Node, steps: Sequence[str], value: Node, find_default: FindDefault) -> Node:
    """The tree with one value changed, in the default of a block that is left out.

    Args:
        tree: the spec.
        steps: the keys and indices that lead to the value.
        value: the new value; a mapping without ``type`` is merged with what is there.
        find_default: finds the default of a block.

    Raises:
        SpecError: a list on the way has no such item.
    """
    is_part = isinstance(value.value, dict) and "type" not in value.value
    for depth in range(1, len(steps) + is_part):
        if steps[0] == "stages" and depth == 3 and steps[2] == "objective":
            # a stage with an objective has the regularizers of the spec only if it lists them
            tree = _write_default(tree, [*steps[:2], "regularizers"], value.mark, find_default)
        tree = _write_default(tree, steps[:depth], value.mark, find_default)
    tree = set_value(tree, steps, value)
    block, changes = (steps, value.value) if is_part else (steps[:-1], {steps[-1]: value})
    if tuple(block) == ("train",) or (steps[0] == "stages" and len(block) == 2):
        for key, other in _ALTERNATIVES.items():
            is_given = key in changes and changes[key].value is not None
            if is_given and other not in changes and tree.get_at([*block, other]) is not None:
                tree = set_value(tree, [*block, other], Node(None, value.mark, {}))
    return tree


def _write_default(
    tree: Node, steps: Sequence[str], mark: Mark, find_default: FindDefault
) -> Node:
    """The tree with the default of a block, if it is left out or null and has one."""
    node = tree.get_at(steps)
    is_written = node is not None and node.value is not None
    default = None if is_written else find_default(tree, steps)
    return tree if default is None else set_value(tree, steps, _to_node(default, mark))


def _to_node(value: Any, mark: Mark) -> Node:
    """Plain data as a tree, all of it at one position."""
    if isinstance(value, dict):
        items = {key: _to_node(item, mark) for key, item in value.items()}
        return Node(items, mark, dict.fromkeys(items, mark))
    if isinstance(value, list):
        return Node([_to_node(item, mark) for item in value], mark, {})
    return Node(value, mark, {})


def set_value(node: Node, steps: Sequence[str], value: Node, path: str = "") -> Node:
    """A copy of the tree with one value changed; a bare component name becomes a block.

    Args:
        node: the tree to change.
        steps: the keys and indices that lead from ``node`` to the value.
        value: the new value.
        path: the full path as written, for messages; by default that of the steps.

    Raises:
        SpecError: a list has no such item.
    """
    path = path or ".".join(steps)
    step, remaining = steps[0], steps[1:]
    if isinstance(node.value, list):
        if node.get_at([step]) is None:
            message = (
                f"no item {step!r}; the list has length {len(node.value)} and indices start at 0"
            )
            names = [_type_of(item) for item in node.value]
            if step in names:
                message += f"; {step!r} is item {names.index(step)}"
            raise SpecError([value.mark.problem(path, message)])
        items = list(node.value)
        items[int(step)] = (
            set_value(items[int(step)], remaining, value, path) if remaining else value
        )
        return Node(items, node.mark, {})
    if step != "type":
        node = _as_block(node)
    if not isinstance(node.value, dict):
        node = Node({}, value.mark, {})
    values, keys = dict(node.value), {**node.keys, step: value.mark}
    child = values.get(step, Node({}, value.mark, {}))
    if remaining:
        values[step] = set_value(child, remaining, value, path)
    else:
        values[step] = merge(_as_block(child), value) if step in values else value
    return Node(values, node.mark, keys)


def _as_block(node: Node) -> Node:
    """The block of a component of which only the name is written; any other node itself."""
    is_name = isinstance(node.value, str)
    return Node({"type": node}, node.mark, {"type": node.mark}) if is_name else node

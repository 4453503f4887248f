"""Turns the tree of a spec into a validated ``Spec``, or reports every error in it."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from vaezoo.model.fusion import FusionMode
from vaezoo.plugins.catalogue import Catalogue
from vaezoo.spec import messages, torch_names
from vaezoo.spec.options import ComponentSpec, LoaderOptions, component_kind, load_component
from vaezoo.spec.schema import ConditionTarget, SpecModel, TorchBlock
from vaezoo.spec.spec import Spec
from vaezoo.spec.tree import Mark, Node, resolve_scalar
from vaezoo.utils.errors import PluginError, Problem, SpecError, did_you_mean

_EXTRA_KEYS = {"dataset": tuple(LoaderOptions.model_fields), "conditioner": ("into", "fuse")}
"""For each kind, keys of its block that are not options of the component."""


class SpecChecker:
    """Walks over a tree once, replaces blocks by components, and collects all problems."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.problems: list[Problem] = []

    def check_spec(self, tree: Node) -> Spec:
        """The spec of a tree.

        Raises:
            SpecError: with every problem.
        """
        into, fuse = self.parse_into(tree), self.parse_fuse(tree)
        self.check_torch_blocks(tree)
        checked = self.validate(SpecModel, tree, "")
        if self.problems or checked is None:
            raise SpecError(self.problems)
        regularizers = checked.regularizers
        if regularizers is None:
            names = [] if checked.objective.cls.loss_includes_rate else ["kl"]
            regularizers = [
                self.component("regularizer", Node(name, tree.mark, {}), "regularizers")
                for name in names
            ]
        spec = Spec(
            name=checked.name,
            seed=checked.seed,
            requires=tuple(checked.requires),
            data=checked.data,
            model=checked.model,
            objective=checked.objective,
            regularizers=tuple(regularizers),
            train=checked.train,
            evaluate=tuple(checked.evaluate),
            into=into,
            fuse=fuse,
            tree=tree,
        )
        self.check_combinations(spec)
        if self.problems:
            raise SpecError(self.problems)
        return spec

    def check_torch_blocks(self, tree: Node) -> None:
        """Checks the names and options of optimizer and scheduler against torch.

        A block that is not a valid ``TorchBlock`` is skipped; ``validate`` reports it later.
        """
        train = tree.value.get("train")
        for role in ("optimizer", "scheduler"):
            node = train.value.get(role) if train and isinstance(train.value, dict) else None
            try:
                block = TorchBlock.model_validate(node.plain()) if node else None
            except ValidationError:
                continue
            for key, message in torch_names.find_errors(role, block) if block else ():
                steps = ("train", role, key) if key else ("train", role)
                self.problems.append(tree.locate(steps).problem(".".join(steps), message))

    def parse_fuse(self, tree: Node) -> FusionMode:
        """``model.condition.fuse``, an option of the composer and not of the conditioner."""
        node = _condition_value(tree, "fuse")
        if node is None:
            return "concat"
        if node.value not in get_args(FusionMode):
            message = f"must be concat or film, not {messages.quote_value(node.plain())}"
            self.problems.append(node.mark.problem("model.condition.fuse", message))
        return node.value

    def parse_into(self, tree: Node) -> frozenset[str]:
        """``model.condition.into``, an option of the composer and not of the conditioner."""
        into, path, targets = (
            _condition_value(tree, "into"),
            "model.condition.into",
            get_args(ConditionTarget),
        )
        if into is None:
            return frozenset(("encoder", "decoder"))
        if not isinstance(into.value, list) or not into.value:
            value = messages.quote_value(into.plain())
            message = f"must be a list such as [encoder, decoder], not {value}"
            self.problems.append(into.mark.problem(path, message))
            return frozenset()
        for index, node in enumerate(into.value):
            if node.value not in targets:
                hint = did_you_mean(node.value if isinstance(node.value, str) else "", targets)
                message = f"no part named {messages.quote_value(node.plain())}{hint}"
                self.problems.append(node.mark.problem(f"{path}.{index}", message))
        return frozenset(str(node.value) for node in into.value)

    def validate(
        self, model: type[BaseModel], node: Node, path: str, extra_keys: Sequence[str] = ()
    ) -> Any:
        """Validates a mapping against a pydantic model after replacing its component blocks.

        Args:
            model: the pydantic model.
            node: the mapping.
            path: its path in the spec.
            extra_keys: further keys of the same block, which were validated elsewhere; for hints.

        Returns:
            The validated model, or None if there were problems.
        """
        try:
            return model.model_validate(self.field_values(model, node, path))
        except ValidationError as error:
            self.problems += messages.translate(
                error, node, path, (*model.model_fields, *extra_keys)
            )
            return None

    def field_values(self, model: type[BaseModel], node: Node, path: str) -> dict[str, Any]:
        """The plain values of a mapping, with components' blocks replaced by ``ComponentSpec``."""
        values: dict[str, Any] = {key: child.plain() for key, child in node.value.items()}
        for key, info in model.model_fields.items():
            annotation = _annotation(model, key)
            child, child_path = node.value.get(key), f"{path}.{key}" if path else key
            kind = component_kind(annotation)
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                if child is not None and isinstance(child.value, dict):
                    values[key] = self.field_values(annotation, child, child_path)
            elif (
                kind
                and child is None
                and not info.is_required()
                and info.default not in (None, [])
            ):
                values[key] = self.default_value(kind, info.default, node.mark, child_path)
            elif kind and child is not None:
                values[key] = self.field_value(kind, annotation, child, child_path)
        return values

    def default_value(self, kind: str, value: Any, mark: Mark, path: str) -> Any:
        """The default of a field with components: names are replaced by components."""
        if isinstance(value, list):
            return [self.component(kind, Node(item, mark, {}), path) for item in value]
        return (
            self.component(kind, Node(value, mark, {}), path) if isinstance(value, str) else value
        )

    def field_value(self, kind: str, annotation: Any, node: Node, path: str) -> Any:
        """The component or components of a field; the plain value if it cannot be one."""
        if isinstance(node.value, dict) and _is_mapping(annotation):
            return {
                key: self.field_value(kind, ComponentSpec, child, f"{path}.{key}")
                for key, child in node.value.items()
            }
        if isinstance(node.value, list) and _is_list(annotation):
            return [
                self.field_value(kind, ComponentSpec, child, f"{path}.{i}")
                for i, child in enumerate(node.value)
            ]
        is_name = isinstance(node.value, str) and isinstance(
            resolve_scalar(node.value), str
        )  # not a quoted number
        is_many = _is_list(annotation) or _is_mapping(annotation)
        is_component = (is_name or isinstance(node.value, dict)) and not is_many
        return self.component(kind, node, path) if is_component else node.plain()

    def component(self, kind: str, node: Node, path: str) -> ComponentSpec | None:
        """Looks up a component and checks its options; after an error, returns a placeholder."""
        block = (
            node
            if isinstance(node.value, dict)
            else Node({"type": node}, node.mark, {"type": node.mark})
        )
        name = block.value.get("type")
        if name is None or not isinstance(name.value, str):
            hint = did_you_mean("", self.catalogue.names(kind))
            actual = "" if name is None else f", not {messages.quote_value(name.plain())}"
            mark = (name or node).mark
            self.problems.append(
                mark.problem(path, f"needs a `type` that names the {kind}{actual}{hint}")
            )
            return _placeholder(kind, node.mark, path)
        try:
            entry = self.catalogue.find(kind, name.value)
            cls, model = load_component(entry)
        except PluginError as error:
            self.problems.append(name.mark.problem(path, str(error)))
            return _placeholder(kind, name.mark, path)
        values = {key: child for key, child in block.value.items() if key != "type"}
        extra_keys = _EXTRA_KEYS.get(kind, ())
        extra_values = {key: values.pop(key) for key in extra_keys if key in values}
        loader = None
        if kind == "dataset":
            loader = self.validate(LoaderOptions, Node(extra_values, block.mark, block.keys), path)
        validated = self.validate(model, Node(values, block.mark, block.keys), path, extra_keys)
        if validated is None:
            return _placeholder(kind, node.mark, path)
        options = {key: getattr(validated, key) for key in model.model_fields}
        return ComponentSpec(
            kind=kind,
            name=entry.name,
            plugin=entry.plugin,
            cls=cls,
            options=options,
            mark=name.mark,
            path=path,
            loader=loader,
        )

    def check_combinations(self, spec: Spec) -> None:
        """Checks that involve more than one block."""
        train = spec.train
        if (train.epochs is None) == (train.steps is None):
            message = (
                "give `epochs` or `steps`, not both"
                if train.epochs
                else "give `epochs` or `steps`"
            )
            self.problems.append(spec.tree.locate(("train",)).problem("train", message))
        for component in spec.regularizers:
            objective: Any = spec.objective.cls
            regularizer: Any = component.cls
            if objective.loss_includes_rate and regularizer.penalizes_rate:
                message = (
                    f"objective {spec.objective.name!r} already includes the rate; "
                    f"remove regularizer {component.name!r}"
                )
                self.problems.append(component.mark.problem(component.path, message))


def _condition_value(tree: Node, key: str) -> Node | None:
    """The value of a key of ``model.condition``; None if it is not in the spec."""
    model = tree.value.get("model")
    condition = model.value.get("condition") if model and isinstance(model.value, dict) else None
    return condition.value.get(key) if condition and isinstance(condition.value, dict) else None


def _annotation(model: type[BaseModel], key: str) -> Any:
    """A field's annotation, with the ``Annotated`` metadata that pydantic stores separately."""
    info = model.model_fields[key]
    return (
        typing.Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
    )


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list or any(_is_list(arg) for arg in get_args(annotation))


def _is_mapping(annotation: Any) -> bool:
    return get_origin(annotation) is dict or any(_is_mapping(arg) for arg in get_args(annotation))


def _placeholder(kind: str, mark: Mark, path: str) -> ComponentSpec:
    """A stand-in for a component with errors, so that the remaining spec is still checked."""
    return ComponentSpec(
        kind=kind, name="", plugin="", cls=object, options={}, mark=mark, path=path
    )

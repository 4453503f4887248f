"""Turns the tree of a spec into a validated ``Spec``, or reports every error in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from vaezoo.model.fusion import FusionMode
from vaezoo.model.optimization import Optimization, TorchBlock
from vaezoo.plugins.catalogue import Catalogue
from vaezoo.spec import messages, torch_names
from vaezoo.spec.block_defaults import (
    annotation_of,
    block_of,
    default_of,
    default_regularizers,
)
from vaezoo.spec.conflicts import find_conflicts
from vaezoo.spec.options import ComponentSpec, LoaderOptions, component_kind, load_component
from vaezoo.spec.schema import ConditionTarget, SpecModel, StageSpec
from vaezoo.spec.spec import Spec
from vaezoo.spec.stage import Stage, merge_stage, only_stage
from vaezoo.spec.tree import Mark, Node, resolve_scalar
from vaezoo.utils.errors import PluginError, Problem, SpecError, did_you_mean

_EXTRA_KEYS = {"dataset": tuple(LoaderOptions.model_fields), "conditioner": ("into", "fuse")}
"""For each kind, keys of its block that are not options of the component."""
_NO_COMPONENTS: tuple[Any, ...] = (None, [], PydanticUndefined)
"""The defaults of an option for components that stand for none; a required one has no default."""


class SpecChecker:
    """Walks over a tree once, replaces blocks by components, and collects all problems."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.problems: list[Problem] = []
        self.version: object = None

    def check_spec(self, tree: Node) -> Spec:
        """The spec of a tree.

        Raises:
            SpecError: with every problem.
        """
        version = tree.value.get("spec")
        self.version = None if version is None else version.value
        into, fuse = self.parse_into(tree), self.parse_fuse(tree)
        self.check_torch_blocks(tree.value.get("train"), "train")
        stages = tree.value.get("stages")
        for index, stage in enumerate(stages.value if stages and _is_sequence(stages) else ()):
            self.check_torch_blocks(stage, f"stages.{index}")
        checked = self.validate(SpecModel, tree, "")
        if self.problems or checked is None:
            raise SpecError(self.problems)
        regularizers = self.default_regularizers(checked, tree, "")
        spec = Spec(
            version=checked.spec,
            name=checked.name,
            seed=checked.seed,
            requires=tuple(checked.requires),
            data=checked.data,
            model=checked.model,
            samplers=checked.samplers,
            init=tuple(checked.init),
            objective=checked.objective,
            regularizers=tuple(regularizers),
            train=checked.train,
            stages=self.stages(checked, regularizers, tree),
            evaluate=tuple(checked.evaluate),
            into=into,
            fuse=fuse,
            tree=tree,
        )
        self.problems += find_conflicts(spec)
        if self.problems:
            raise SpecError(self.problems)
        return spec

    def default_regularizers(self, block: Any, node: Node, path: str) -> list[ComponentSpec]:
        """The regularizers of a spec or a stage that has an objective; by default ``kl``."""
        if block.regularizers is not None:
            return list(block.regularizers)
        names = default_regularizers(block.objective.cls)
        path = f"{path}.regularizers".lstrip(".")
        components = [self.component("regularizer", Node(n, node.mark, {}), path) for n in names]
        return [component for component in components if component is not None]

    def stages(
        self, checked: Any, regularizers: Sequence[ComponentSpec], tree: Node
    ) -> tuple[Stage, ...]:
        """The stages of a spec, each with the options of the spec where it has none."""
        if not checked.stages:
            return (only_stage(checked.seed, checked.train, checked.objective, regularizers),)
        stages: list[Stage] = []
        for index, block in enumerate(checked.stages):
            path, node = f"stages.{index}", tree.find(("stages", index))
            own: Sequence[ComponentSpec] = block.regularizers
            if block.objective is not None:
                own = self.default_regularizers(block, node, path)
            stage = merge_stage(
                block,
                index,
                seed=checked.seed,
                train=checked.train,
                objective=block.objective or checked.objective,
                regularizers=regularizers if own is None else own,
            )
            stages.append(stage)
        return tuple(stages)

    def check_torch_blocks(self, node: Node | None, path: str) -> None:
        """Checks the names and options of optimizer and scheduler against torch.

        A block that is not a valid ``TorchBlock`` is skipped; ``validate`` reports it later.

        Args:
            node: a block with the keys of ``Optimization``.
            path: its path in the spec.
        """
        if node is None or not isinstance(node.value, dict):
            return
        for role in ("optimizer", "scheduler"):
            child = node.value.get(role)
            try:
                block = TorchBlock.model_validate(child.plain()) if child else None
            except ValidationError:
                continue
            for key, message in torch_names.find_errors(role, block) if block else ():
                steps = (role, key) if key else (role,)
                mark = node.locate(steps)
                self.problems.append(mark.problem(".".join((path, *steps)), message))

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
            elif node.value in [earlier.value for earlier in into.value[:index]]:
                message = f"names {node.value} a second time; remove it"
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
                error, node, path, model, extra_keys=tuple(extra_keys)
            )
            return None

    def field_values(self, model: type[BaseModel], node: Node, path: str) -> dict[str, Any]:
        """The plain values of a mapping, with components' blocks replaced by ``ComponentSpec``."""
        values: dict[str, Any] = {key: child.plain() for key, child in node.value.items()}
        for key, info in model.model_fields.items():
            child, child_path = node.value.get(key), f"{path}.{key}" if path else key
            annotation, default = annotation_of(info), default_of(info, self.version)
            if child is not None:
                values[key] = self.field_value(annotation, child, child_path)
            elif (kind := component_kind(annotation)) and default not in _NO_COMPONENTS:
                values[key] = self.default_value(kind, default, node.mark, child_path)
            # a stage gets what it leaves out from the block `train`
            elif default is not info.default and not issubclass(model, StageSpec):
                values[key] = default
        return values

    def default_value(self, kind: str, value: Any, mark: Mark, path: str) -> Any:
        """The default of a field with components: names are replaced by components."""
        if isinstance(value, list):
            return [self.component(kind, Node(item, mark, {}), path) for item in value]
        return (
            self.component(kind, Node(value, mark, {}), path) if isinstance(value, str) else value
        )

    def field_value(self, annotation: Any, node: Node, path: str) -> Any:
        """The components or blocks of a field; the plain value if it cannot be one."""
        kind, block = component_kind(annotation), block_of(annotation)
        if kind is None and block is None:
            return node.plain()
        if isinstance(node.value, dict) and _is_mapping(annotation):
            return {
                key: self.item_value(kind, block, child, f"{path}.{key}")
                for key, child in node.value.items()
            }
        if isinstance(node.value, list) and _is_list(annotation):
            return [
                self.item_value(kind, block, child, f"{path}.{i}")
                for i, child in enumerate(node.value)
            ]
        is_many = _is_list(annotation) or _is_mapping(annotation)
        return node.plain() if is_many else self.item_value(kind, block, node, path)

    def item_value(
        self, kind: str | None, block: type[BaseModel] | None, node: Node, path: str
    ) -> Any:
        """A block, or else a component of a kind; the plain value if it cannot be one."""
        is_block = isinstance(node.value, dict)
        if block is not None:
            return self.field_values(block, node, path) if is_block else node.plain()
        # a quoted number is no name
        is_name = isinstance(node.value, str) and isinstance(resolve_scalar(node.value), str)
        if kind is not None and (is_name or is_block):
            return self.component(kind, node, path)
        return node.plain()

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
        # a data set may define one of these options itself
        extra_keys = [key for key in _EXTRA_KEYS.get(kind, ()) if key not in model.model_fields]
        extra_values = {key: values.pop(key) for key in extra_keys if key in values}
        loader = None
        if kind == "dataset":
            loader = self.validate(LoaderOptions, Node(extra_values, block.mark, block.keys), path)
        validated = self.validate(model, Node(values, block.mark, block.keys), path, extra_keys)
        if validated is None:
            return _placeholder(kind, node.mark, path)
        options = {key: getattr(validated, key) for key in model.model_fields}
        for key, value in options.items():
            if isinstance(value, Optimization):
                child, child_path = values.get(key), f"{path}.{key}"
                self.check_torch_blocks(child, child_path)
                if message := torch_names.warmup_error(value):
                    mark = (child or node).mark
                    self.problems.append(mark.problem(child_path, message))
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


def _condition_value(tree: Node, key: str) -> Node | None:
    """The value of a key of ``model.condition``; None if it is not in the spec."""
    model = tree.value.get("model")
    condition = model.value.get("condition") if model and isinstance(model.value, dict) else None
    return condition.value.get(key) if condition and isinstance(condition.value, dict) else None


def _is_sequence(node: Node) -> bool:
    return isinstance(node.value, list)


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list or any(_is_list(arg) for arg in get_args(annotation))


def _is_mapping(annotation: Any) -> bool:
    return get_origin(annotation) is dict or any(_is_mapping(arg) for arg in get_args(annotation))


def _placeholder(kind: str, mark: Mark, path: str) -> ComponentSpec:
    """A stand-in for a component with errors, so that the remaining spec is still checked."""
    return ComponentSpec(
        kind=kind, name="", plugin="", cls=object, options={}, mark=mark, path=path
    )

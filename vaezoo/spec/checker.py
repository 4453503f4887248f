"""One walk over a spec that binds components and gathers problems."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from vaezoo.model.fusion import How
from vaezoo.plugins.catalogue import Catalogue
from vaezoo.spec import messages
from vaezoo.spec import torch_names as torch_names
from vaezoo.spec.options import ComponentSpec, Loading, load_component, references
from vaezoo.spec.schema import Into, SpecModel, TorchBlock
from vaezoo.spec.spec import Spec
from vaezoo.spec.tree import Mark, Node, resolve_scalar
from vaezoo.utils.errors import PluginError, Problem, SpecError, did_you_mean

_ALSO = {"dataset": tuple(Loading.model_fields), "conditioner": ("into", "fuse")}
"""Keys of a block that are not options of its component."""


class _Checker:
    """One walk over a tree that binds components and gathers problems."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.problems: list[Problem] = []

    def spec(self, tree: Node) -> Spec:
        into, fuse = self.into(tree), self.fuse(tree)
        self.torch_blocks(tree)
        checked = self.check(SpecModel, tree, "")
        if self.problems or checked is None:
            raise SpecError(self.problems)
        regularizers = checked.regularizers
        if regularizers is None:
            default = Node(
                [] if checked.objective.cls.loss_includes_rate else [Node("kl", tree.mark, {})], tree.mark, {}
            )
            regularizers = [self.bind("regularizer", node, "regularizers") for node in default.value]
        spec = Spec(
            checked.name,
            checked.seed,
            tuple(checked.requires),
            checked.data,
            checked.model,
            checked.objective,
            tuple(regularizers),
            checked.train,
            tuple(checked.evaluate),
            into,
            fuse,
            tree,
        )
        self.check_together(spec)
        if self.problems:
            raise SpecError(self.problems)
        return spec

    def torch_blocks(self, tree: Node) -> None:
        """The optimizer and the scheduler, whose names and options are torch's; their form is checked with the rest."""
        train = tree.value.get("train")
        for what in ("optimizer", "scheduler"):
            node = train.value.get(what) if train and isinstance(train.value, dict) else None
            try:
                block = TorchBlock.model_validate(node.plain()) if node else None
            except ValidationError:
                continue
            for key, message in torch_names.faults(what, block) if block else ():
                steps = ("train", what, key) if key else ("train", what)
                self.problems.append(tree.locate(steps).problem(".".join(steps), message))

    def fuse(self, tree: Node) -> How:
        """``model.condition.fuse``, which belongs to the composer and not to the conditioner."""
        node = _of_condition(tree, "fuse")
        if node is None:
            return "concat"
        if node.value not in get_args(How):
            what = f"must be concat or film, not {messages.shown(node.plain())}"
            self.problems.append(node.mark.problem("model.condition.fuse", what))
        return node.value

    def into(self, tree: Node) -> frozenset[str]:
        """``model.condition.into``, likewise."""
        into, path, known = _of_condition(tree, "into"), "model.condition.into", get_args(Into)
        if into is None:
            return frozenset(("encoder", "decoder"))
        if not isinstance(into.value, list) or not into.value:
            what = f"must be a list such as [encoder, decoder], not {messages.shown(into.plain())}"
            self.problems.append(into.mark.problem(path, what))
            return frozenset()
        for index, node in enumerate(into.value):
            if node.value not in known:
                hint = did_you_mean(node.value if isinstance(node.value, str) else "", known)
                what = f"no part named {messages.shown(node.plain())}{hint}"
                self.problems.append(node.mark.problem(f"{path}.{index}", what))
        return frozenset(str(node.value) for node in into.value)

    def check(self, model: type[BaseModel], node: Node, path: str, also: Sequence[str] = ()) -> Any:
        """Validates a mapping against a model, its components bound first. ``also``: keys that others take."""
        try:
            return model.model_validate(self.fields(model, node, path))
        except ValidationError as error:
            self.problems += messages.translate(error, node, path, (*model.model_fields, *also))
            return None

    def fields(self, model: type[BaseModel], node: Node, path: str) -> dict[str, Any]:
        """The plain values of a mapping, with every block that names a component replaced by what it names."""
        data: dict[str, Any] = {key: child.plain() for key, child in node.value.items()}
        for key, info in model.model_fields.items():
            annotation = _annotation(model, key)
            child, where = node.value.get(key), f"{path}.{key}" if path else key
            kind = references(annotation)
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                if child is not None and isinstance(child.value, dict):
                    data[key] = self.fields(annotation, child, where)
            elif kind and child is None and not info.is_required() and info.default not in (None, []):
                data[key] = self.default(kind, info.default, node.mark, where)
            elif kind and child is not None:
                data[key] = self.component(kind, annotation, child, where)
        return data

    def default(self, kind: str, value: Any, mark: Mark, path: str) -> Any:
        if isinstance(value, list):
            return [self.bind(kind, Node(item, mark, {}), path) for item in value]
        return self.bind(kind, Node(value, mark, {}), path) if isinstance(value, str) else value

    def component(self, kind: str, annotation: Any, node: Node, path: str) -> Any:
        if isinstance(node.value, list) and _is_list(annotation):
            return [self.component(kind, ComponentSpec, child, f"{path}.{i}") for i, child in enumerate(node.value)]
        name = isinstance(node.value, str) and isinstance(resolve_scalar(node.value), str)  # a quoted number is none
        fits = (name or isinstance(node.value, dict)) and not _is_list(annotation)
        return self.bind(kind, node, path) if fits else node.plain()

    def bind(self, kind: str, node: Node, path: str) -> ComponentSpec | None:
        """Looks a component up and checks its options. Where that fails, a stand-in keeps the walk going."""
        block = node if isinstance(node.value, dict) else Node({"type": node}, node.mark, {"type": node.mark})
        name = block.value.get("type")
        if name is None or not isinstance(name.value, str):
            hint = did_you_mean("", self.catalogue.names(kind))
            given = "" if name is None else f", not {messages.shown(name.plain())}"
            where = (name or node).mark
            self.problems.append(where.problem(path, f"needs a `type` that names the {kind}{given}{hint}"))
            return _stand_in(kind, node.mark, path)
        try:
            entry = self.catalogue.find(kind, name.value)
            cls, model = load_component(entry)
        except PluginError as error:
            self.problems.append(name.mark.problem(path, str(error)))
            return _stand_in(kind, name.mark, path)
        values = {key: child for key, child in block.value.items() if key != "type"}
        also = _ALSO.get(kind, ())
        own = {key: values.pop(key) for key in also if key in values}
        loader = self.check(Loading, Node(own, block.mark, block.keys), path) if kind == "dataset" else None
        options = self.check(model, Node(values, block.mark, block.keys), path, also)
        if options is None:
            return _stand_in(kind, node.mark, path)
        chosen = {key: getattr(options, key) for key in model.model_fields}
        return ComponentSpec(kind, entry.name, entry.plugin, cls, chosen, name.mark, path, loader)

    def check_together(self, spec: Spec) -> None:
        """What no part can see alone."""
        train = spec.train
        if (train.epochs is None) == (train.steps is None):
            what = "give `epochs` or `steps`, not both" if train.epochs else "give `epochs` or `steps`"
            self.problems.append(spec.tree.locate(("train",)).problem("train", what))
        for bound in spec.regularizers:
            if spec.objective.cls.loss_includes_rate and bound.cls.penalizes_rate:  # type: ignore[attr-defined]
                reason = f"objective {spec.objective.name!r} counts the rate already; remove this {bound.name!r}"
                self.problems.append(bound.mark.problem(bound.path, reason))


def _of_condition(tree: Node, key: str) -> Node | None:
    """The value of a key of ``model.condition``, where it is written."""
    model = tree.value.get("model")
    condition = model.value.get("condition") if model and isinstance(model.value, dict) else None
    return condition.value.get(key) if condition and isinstance(condition.value, dict) else None


def _annotation(model: type[BaseModel], key: str) -> Any:
    """A field's annotation with the ``Annotated`` part that pydantic stores elsewhere."""
    info = model.model_fields[key]
    return typing.Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list or any(_is_list(arg) for arg in get_args(annotation))


def _stand_in(kind: str, mark: Mark, path: str) -> ComponentSpec:
    return ComponentSpec(kind, "", "", object, {}, mark, path)

"""What a spec has where it leaves a key out; an override can change one key of such a block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from vaezoo.model.defaults import FIRST_VERSION, BeforeV2
from vaezoo.model.optimization import Optimization
from vaezoo.plugins.catalogue import Catalogue
from vaezoo.spec.options import component_kind, load_component
from vaezoo.spec.schema import SpecModel, StageOptions, StageSpec
from vaezoo.spec.tree import Node
from vaezoo.utils.errors import PluginError


def default_regularizers(objective: Any) -> list[str]:
    """The regularizers of a spec or a stage that lists none, by the class of its objective."""
    return [] if objective.loss_includes_rate else ["kl"]


def annotation_of(info: FieldInfo) -> Any:
    """A field's annotation, with the ``Annotated`` metadata that pydantic stores separately."""
    return Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation


def block_of(annotation: Any) -> type[BaseModel] | None:
    """The first pydantic model in an annotation, also in unions, lists and mappings; or None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    blocks = map(block_of, get_args(annotation))
    return next((block for block in blocks if block is not None), None)


def default_of(info: FieldInfo, version: object) -> Any:
    """The default of a field in specs of a version of the format.

    Args:
        info: the field.
        version: as the spec gives it, maybe a faulty one.

    Returns:
        ``info.default`` itself if no other one holds in that version; ``PydanticUndefined`` if
        the field is required.
    """
    if version != FIRST_VERSION:
        return info.default
    for item in info.metadata:
        if isinstance(item, BeforeV2):
            return item.value
    block = info.default
    if not isinstance(block, BaseModel):
        return block
    fields = type(block).model_fields
    unset = fields.keys() - block.model_fields_set
    changes = {
        key: default
        for key in unset
        if (default := default_of(fields[key], version)) is not fields[key].default
    }
    if not changes:
        return block
    # they stay unset, so that a block is written without them
    return type(block).model_construct(block.model_fields_set, **{**dict(block), **changes})


class BlockDefaults:
    """Finds the default of any key of a spec, down to the options of components.

    Args:
        catalogue: the components that the spec may name.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def find(self, tree: Node, path: Sequence[str]) -> Any:
        """The value that a key has where a spec leaves it out.

        Args:
            tree: the spec.
            path: leads to the key, which is not in the spec, or null. What null stands for is
                the default of regularizers, and of the options of a phase those of the model's.

        Returns:
            Plain data; None if there is no default, or the spec is faulty on the way to the key.
        """
        annotation: Any = SpecModel
        node: Node | None = tree
        for step in path[:-1]:
            model = None if node is None else self._model(annotation, node)
            if model is not None:  # else an item of a list, or of a mapping by name
                info = model.model_fields.get(step)
                annotation = None if info is None else annotation_of(info)
            node = None if node is None else node.get_at([step])
        if node is None or not isinstance(node.value, dict | str):
            return None
        model = self._model(annotation, node)
        return None if model is None else self._default(tree, node, model, path)

    def _default(self, tree: Node, node: Node, model: type[BaseModel], path: Sequence[str]) -> Any:
        """The default of a key of the block ``node``, which ``model`` describes."""
        key, is_null = path[-1], node.get_at(path[-1:]) is not None
        if key == "regularizers" and model in (SpecModel, StageSpec):
            if model is StageSpec and node.get_at(["objective"]) is None:
                return self._value(tree, (key,))
            cls, _ = self._component("objective", self._value(node, ("objective",)))
            return None if cls is None else default_regularizers(cls)
        if model is StageSpec and not is_null and key in StageOptions.model_fields:
            return self._value(tree, ("train", key))
        if model is StageSpec and not is_null and key == "objective":
            return self._value(tree, (key,))
        info = model.model_fields.get(key)
        if info is None:
            return None
        version = tree.get_at(["spec"])
        default = None if is_null else default_of(info, version and version.value)
        if default is None and block_of(annotation_of(info)) is Optimization:
            return self._optimization(tree, path)
        return _plain(default)

    def _optimization(self, tree: Node, path: Sequence[str]) -> dict[str, Any]:
        """How the phase of a component at ``path`` is optimised that has no options for it."""
        block = path[:2] if path[0] == "stages" else ("train",)
        values = {key: self._value(tree, (*block, key)) for key in Optimization.model_fields}
        return {key: value for key, value in values.items() if value is not None}

    def _value(self, tree: Node, path: Sequence[str]) -> Any:
        """The plain value at a path, or its default."""
        node = tree.get_at(path)
        return self.find(tree, path) if node is None else node.plain()

    def _model(self, annotation: Any, node: Node) -> type[BaseModel] | None:
        """The pydantic model of the block ``node``; None for a list, or a mapping by name."""
        if isinstance(node.value, list):
            return None
        kind = component_kind(annotation)
        return block_of(annotation) if kind is None else self._component(kind, node.plain())[1]

    def _component(self, kind: str, block: Any) -> tuple[Any, type[BaseModel] | None]:
        """The class of a component and the model of its options; None where there is no such."""
        name = block.get("type") if isinstance(block, dict) else block
        if not isinstance(name, str):
            return None, None
        try:
            return load_component(self.catalogue.find(kind, name))
        except PluginError:  # which the checker reports
            return None, None


def _plain(value: Any) -> Any:
    """A default as it would be written in a spec; None if there is none."""
    if value is PydanticUndefined:
        return None
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_unset=True)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value

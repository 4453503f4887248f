"""The signature is the schema: from a component's constructor to a pydantic model of its options."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, create_model
from torch import nn

from vaezoo.plugins.catalogue import ComponentEntry
from vaezoo.plugins.kinds import KINDS, kind_class
from vaezoo.spec.tree import Mark
from vaezoo.utils.errors import PluginError

CONFIG = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid", frozen=True, arbitrary_types_allowed=True)


@dataclass(frozen=True)
class ComponentSpec:
    """A component that a spec names: its class, and options that fit its signature.

    Attributes:
        kind, name: as registered.
        plugin: the distribution it comes from.
        cls: the class.
        options: every option, defaults included; nested components are ``Bound`` too.
        mark, path: where the spec says so, for messages.
        loader: how batches are made, for data sets alone.
    """

    kind: str
    name: str
    plugin: str
    cls: type
    options: Mapping[str, Any]
    mark: Mark
    path: str
    loader: Loading | None = None

    def build(self, *wiring: Any) -> Any:
        """Constructs the component, and first the ones it holds."""
        return self.cls(*wiring, **{key: _unbound(value, ComponentSpec.build) for key, value in self.options.items()})

    def resolved(self) -> dict[str, Any]:
        """The block of a spec that names exactly this."""
        name = self.name if self.plugin == "vaezoo" else f"{self.plugin}:{self.name}"
        block: dict[str, Any] = {"type": name}
        for key, value in self.options.items():
            block[key] = _unbound(value, ComponentSpec.resolved)
        return block | (self.loader.model_dump() if self.loader else {})


def _unbound(value: Any, act: Callable[[ComponentSpec], Any]) -> Any:
    """A value whose components, alone or in a list, are replaced by what ``act`` makes of them."""
    if isinstance(value, list | tuple):
        return [_unbound(item, act) for item in value]
    return act(value) if isinstance(value, ComponentSpec) else value


class Loading(BaseModel):
    """How batches are made from any data set; written beside the data set's own options."""

    model_config = CONFIG

    batch_size: int = Field(default=128, gt=0, description="examples per optimizer step")
    workers: int = Field(default=0, ge=0, description="processes that read lazy data; 0 reads in this one")


COMPONENT = "x-component"
"""In a JSON Schema, stands for the ``$ref`` to the schema of a kind."""


@dataclass(frozen=True)
class Reference:
    """Marks an option that is itself a component of this kind."""

    kind: str


def reference(kind: str) -> Any:
    """The annotation of a component of a kind. Pydantic refuses a ``$ref`` not its own; ``json_schema`` puts it in."""
    return Annotated[ComponentSpec, Reference(kind), WithJsonSchema({COMPONENT: kind})]


_KIND_OF = {kind_class(kind): kind for kind in KINDS}


def _substitute(annotation: Any) -> Any:
    """Replaces each abstract kind inside an annotation by a reference to a component of it."""
    if isinstance(annotation, type) and annotation in _KIND_OF:
        return reference(_KIND_OF[annotation])
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return Annotated[(_substitute(args[0]), *args[1:])]
    if origin in (Union, types.UnionType):
        return Union[tuple(_substitute(arg) for arg in args)]  # noqa: UP007 - built at run time
    if origin is list and args:
        return list[_substitute(args[0])]  # type: ignore[misc]
    return annotation


def references(annotation: Any) -> str | None:
    """The kind of component that an annotation admits, if any, looking into unions and lists."""
    if get_origin(annotation) is Annotated:
        for item in get_args(annotation)[1:]:
            if isinstance(item, Reference):
                return item.kind
    for arg in get_args(annotation):
        if kind := references(arg):
            return kind
    return None


def load_component(entry: ComponentEntry) -> tuple[type, type[BaseModel]]:
    """The class of an entry and the model of its options.

    Raises:
        PluginError: one of them cannot be had; names the plugin.
    """
    cls = entry.load()
    try:
        return cls, options_model(cls)
    except PluginError as error:
        raise PluginError(f"{entry}: {error}") from error


@cache
def options_model(cls: type) -> type[BaseModel]:
    """The pydantic model of a component's keyword-only parameters.

    Raises:
        PluginError: a parameter has no annotation, or takes ``**kwargs``.
    """
    init: Any = cls.__init__  # type: ignore[misc]
    if init in (object.__init__, nn.Module.__init__):  # a class without a constructor has no options
        return create_model(f"{cls.__name__}Options", __config__=CONFIG)
    try:
        hints = typing.get_type_hints(init, include_extras=True)
    except Exception as error:
        raise PluginError(f"{cls.__qualname__}: its constructor's annotations cannot be read: {error}") from error
    described = argument_docs(cls)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(init).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            raise PluginError(f"{cls.__qualname__} takes **{parameter.name}; name its options instead")
        if parameter.kind is not parameter.KEYWORD_ONLY:
            continue
        if parameter.name not in hints:
            raise PluginError(f"{cls.__qualname__}: option {parameter.name!r} has no annotation")
        default = ... if parameter.default is parameter.empty else parameter.default
        info = Field(default=default, description=described.get(parameter.name))
        fields[parameter.name] = (_substitute(hints[parameter.name]), info)
    return create_model(f"{cls.__name__}Options", __config__=CONFIG, **fields)


def argument_docs(cls: type) -> dict[str, str]:
    """What the ``Args:`` section of a class docstring says of each option."""
    lines = (inspect.getdoc(cls) or "").splitlines()
    found: dict[str, str] = {}
    if "Args:" not in lines:
        return found
    names: list[str] = []
    for line in lines[lines.index("Args:") + 1 :]:
        if line and not line.startswith(" "):
            break
        if line.startswith("    ") and not line.startswith("     "):
            listed, _, text = line.strip().partition(":")
            names = listed.split(", ")
            found |= dict.fromkeys(names, text.strip())
        elif line.strip():
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def summary(cls: type) -> str:
    """The first paragraph of a class docstring on one line."""
    return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())

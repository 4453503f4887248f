"""Derives the options that a component takes in a spec from the signature of its constructor.

The keyword-only parameters of a component's constructor become the fields of a pydantic model,
which validates the component's block in a spec. ``ComponentSpec`` is the result: a component's
class with validated options.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from annotated_types import Ge
from pydantic import BaseModel, Field, WithJsonSchema, create_model
from torch import nn

from vaezoo.model.objectives import Schedule
from vaezoo.model.optimization import CONFIG
from vaezoo.model.wiring import Factory
from vaezoo.plugins.catalogue import BUILT_IN, ComponentEntry
from vaezoo.plugins.kinds import KINDS, KINDS_WITH_WIRING, kind_class
from vaezoo.plugins.registration import THIS_PROCESS
from vaezoo.spec.tree import Mark
from vaezoo.utils.errors import PluginError, SpecError, VaezooError, one_line, shorten

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ComponentSpec:
    """A component in a spec: its class, and validated options for its constructor.

    Attributes:
        kind, name: as registered.
        plugin: the distribution that provides it, or ``this process``.
        cls: the class.
        options: the values of all options, including defaults; nested components are
            ``ComponentSpec`` too.
        mark, path: the position in the spec, for messages.
        loader: the batching options; only for data sets.
    """

    kind: str
    name: str
    plugin: str
    cls: type
    options: Mapping[str, Any]
    mark: Mark
    path: str
    loader: LoaderOptions | None = None

    def build(self, *wiring: Any) -> Any:
        """Constructs the component, after those of its nested components that have no wiring.

        The others are passed as factories, which the component calls with their wiring.

        Args:
            wiring: the positional argument of the component's kind, if it has one.

        Raises:
            SpecError: the constructor of a nested component fails; at its position.
        """
        nested: list[tuple[ComponentSpec, Any]] = []
        options = {
            key: _map_components(value, partial(_built_or_factory, nested))
            for key, value in self.options.items()
        }
        component = self.cls(*wiring, **options)
        if isinstance(component, Schedule):  # of use before the first step
            component.set_step(0)
        if nested and isinstance(component, nn.Module):
            modules = {id(module) for module in component.modules()}
            for spec, part in nested:
                if isinstance(part, nn.Module) and id(part) not in modules:
                    raise SpecError([spec.mark.problem(spec.path, spec._not_registered(self))])
        return component

    def _not_registered(self, owner: ComponentSpec) -> str:
        return (
            f"{self.kind} {self.name!r} is no submodule of {owner.kind} {owner.name!r}, so it "
            "would never be updated; the author must keep it in an attribute, an nn.ModuleList or "
            "an nn.ModuleDict"
        )

    def build_nested(self, *wiring: Any) -> Any:
        """``build`` for a component within another; errors are reported at its own position."""
        return self.locate_errors(
            lambda: self.build(*wiring),
            lambda message: SpecError([self.mark.problem(self.path, message)]),
        )

    def locate_errors(self, action: Callable[[], T], problem: Callable[[str], SpecError]) -> T:
        """The result of ``action``; other errors than vaezoo's own become ``problem(message)``.

        Errors that components do not raise on purpose, such as an IndexError, are named.
        """
        try:
            return action()
        except VaezooError:
            raise
        except (ValueError, TypeError, RuntimeError) as error:
            reason = shorten(one_line(error), 2000) or type(error).__name__
            raise problem(f"{self.kind} {self.name!r}: {reason}") from error
        except Exception as error:
            reason = f"{type(error).__name__}: {shorten(one_line(error), 2000)}"
            raise problem(f"{self.kind} {self.name!r}: {reason}") from error

    def resolved(self) -> dict[str, Any]:
        """The component's block in a resolved spec: its name and all options."""
        is_bare = self.plugin in (BUILT_IN, THIS_PROCESS)  # no plugin provides such a name
        name = self.name if is_bare else f"{self.plugin}:{self.name}"
        block: dict[str, Any] = {"type": name}
        for key, value in self.options.items():
            block[key] = _map_components(value, ComponentSpec.resolved)
            if isinstance(value, BaseModel):
                block[key] = value.model_dump(exclude_none=True)
        return block | (self.loader.model_dump(exclude_none=True) if self.loader else {})


def _built_or_factory(nested: list[tuple[ComponentSpec, Any]], component: ComponentSpec) -> Any:
    """A nested component, or the factory of one whose kind has wiring.

    Args:
        nested: receives each component that is built, with its spec.
        component: the spec of the nested component.
    """

    def build(*wiring: Any) -> Any:
        part = component.build_nested(*wiring)
        nested.append((component, part))
        return part

    return build if component.kind in KINDS_WITH_WIRING else build()


def _map_components(value: Any, function: Callable[[ComponentSpec], Any]) -> Any:
    """Replaces each component in a value, a list or a mapping by ``function(component)``."""
    if isinstance(value, list | tuple):
        return [_map_components(item, function) for item in value]
    if isinstance(value, Mapping):
        return {key: _map_components(item, function) for key, item in value.items()}
    return function(value) if isinstance(value, ComponentSpec) else value


class LoaderOptions(BaseModel):
    """The batching options that every data set has in addition to its own options."""

    model_config = CONFIG

    batch_size: int = Field(default=128, gt=0, description="examples per training step")
    workers: int = Field(
        default=0,
        ge=0,
        description="worker processes that read a lazy data set; 0 reads in the main process",
    )
    class_sampling: Literal["balanced"] | dict[str, float] | None = Field(
        default=None,
        description=(
            "how often training examples are drawn by their class: `balanced` draws each class "
            "equally often; a mapping such as `{cat: 3}` draws a cat three times as often as an "
            "example of another class. An epoch has as many examples as ever"
        ),
    )
    class_weights: Literal["balanced"] | dict[str, float] | None = Field(
        default=None,
        description=(
            "how much training examples count in the loss by their class, as for "
            "`class_sampling`; the mean weight of an epoch is 1"
        ),
    )
    omit: list[str] | None = Field(
        default=None,
        description=(
            "classes whose examples are left out of training and validation; the test split "
            "contains them"
        ),
    )
    hide_labels: float | list[str] | None = Field(
        default=None,
        description=(
            "labels of training examples that are hidden, as if they were not known: a share of "
            "those of each class, such as 0.9, or the names of classes"
        ),
    )


KIND_KEY = "x-component"
"""A key in a pydantic JSON Schema that stands for the ``$ref`` to the schema of a kind."""


@dataclass(frozen=True)
class KindMarker:
    """Marks, in an annotation, an option that is itself a component of this kind."""

    kind: str


def component_annotation(kind: str) -> Any:
    """The annotation of an option that is a component.

    Pydantic accepts only its own ``$ref``, so the JSON Schema is a placeholder that
    ``schema.json_schema`` replaces.
    """
    return Annotated[ComponentSpec, KindMarker(kind), WithJsonSchema({KIND_KEY: kind})]


_CLASS_TO_KIND = {kind_class(kind): kind for kind in KINDS}


def _replace_kind_classes(annotation: Any) -> Any:
    """Replaces each component in an annotation by ``component_annotation``.

    A component is the abstract class of a kind without wiring, or a ``Factory`` of a kind with.

    Raises:
        PluginError: a kind with wiring is not in a ``Factory``, or a ``Factory`` is in something
            else than a union, a list or a dict by name, or not of a kind.
    """
    if isinstance(annotation, type) and annotation in _CLASS_TO_KIND:
        if _CLASS_TO_KIND[annotation] in KINDS_WITH_WIRING:
            name = annotation.__name__
            raise PluginError(f"an option that is a {name} is annotated vaezoo.Factory[{name}]")
        return component_annotation(_CLASS_TO_KIND[annotation])
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Factory and args[0] in _CLASS_TO_KIND:
        return component_annotation(_CLASS_TO_KIND[args[0]])
    if origin is Annotated:
        return Annotated[(_replace_kind_classes(args[0]), *args[1:])]
    if origin in (Union, types.UnionType):
        members = tuple(_replace_kind_classes(arg) for arg in args)
        return Union[members]  # noqa: UP007 - built at run time
    if origin is list and args:
        return list[_replace_kind_classes(args[0])]  # type: ignore[misc]
    if origin is dict and args:
        values = _replace_kind_classes(args[1])
        return dict[str, values]  # type: ignore[valid-type]
    if origin is Factory or any(get_origin(arg) is Factory for arg in args):
        raise PluginError(
            f"{annotation} is not an option: write vaezoo.Factory of the class of a kind, alone, "
            "in a list or in a dict by name"
        )
    return annotation


def component_kind(annotation: Any) -> str | None:
    """The kind of component that an annotation accepts, also in unions and lists; or None."""
    if get_origin(annotation) is Annotated:
        for item in get_args(annotation)[1:]:
            if isinstance(item, KindMarker):
                return item.kind
    for arg in get_args(annotation):
        if kind := component_kind(arg):
            return kind
    return None


def load_component(entry: ComponentEntry) -> tuple[type, type[BaseModel]]:
    """The class of an entry and the pydantic model of its options.

    Raises:
        PluginError: the class cannot be imported or its signature is not valid; names the plugin.
    """
    cls = entry.load()
    try:
        _check_wiring(entry.kind, cls)
        return cls, options_model(cls)
    except PluginError as error:
        raise PluginError(f"{entry}: {error}") from error


def _check_wiring(kind: str, cls: type) -> None:
    """Checks the positional parameters of a component's constructor.

    Raises:
        PluginError: a kind with wiring does not take exactly one, or an option is positional.
    """
    init: Any = cls.__init__  # type: ignore[misc]
    _, *parameters = inspect.signature(init).parameters.values()
    positional = [
        parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    for parameter in positional:
        if parameter.default is not parameter.empty:
            raise PluginError(
                f"{cls.__qualname__}: option {parameter.name!r} is positional; put it after *"
            )
    kinds = {parameter.kind for parameter in parameters}
    takes_any = inspect.Parameter.VAR_POSITIONAL in kinds and init is not nn.Module.__init__
    if kind in KINDS_WITH_WIRING and len(positional) != 1 and not takes_any:
        names = ", ".join(parameter.name for parameter in positional) or "none"
        raise PluginError(
            f"{cls.__qualname__}: the constructor takes one positional argument, its wiring, as "
            f"in __init__(self, wiring, /, *, ...); it has {names}"
        )


@cache
def options_model(cls: type) -> type[BaseModel]:
    """The pydantic model of the keyword-only parameters of a component's constructor.

    Raises:
        PluginError: a parameter has no annotation, or the constructor takes ``**kwargs``.
    """
    init: Any = cls.__init__  # type: ignore[misc]
    if init in (
        object.__init__,
        nn.Module.__init__,
    ):  # a class without a constructor has no options
        return create_model(f"{cls.__name__}Options", __config__=CONFIG)
    try:
        hints = typing.get_type_hints(init, include_extras=True)
    except Exception as error:
        raise PluginError(
            f"{cls.__qualname__}: its constructor's annotations cannot be read: {error}"
        ) from error
    descriptions = argument_docs(cls)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(init).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            raise PluginError(
                f"{cls.__qualname__} takes **{parameter.name}; name its options instead"
            )
        if parameter.kind is not parameter.KEYWORD_ONLY:
            continue
        if parameter.name not in hints:
            raise PluginError(f"{cls.__qualname__}: option {parameter.name!r} has no annotation")
        default = ... if parameter.default is parameter.empty else parameter.default
        info = Field(default=default, description=descriptions.get(parameter.name))
        annotation = hints[parameter.name]
        if annotation is int and parameter.name.endswith("seed"):
            annotation = Annotated[int, Ge(0)]  # generators of numpy take no other
        try:
            fields[parameter.name] = (_replace_kind_classes(annotation), info)
        except PluginError as error:
            raise PluginError(f"{cls.__qualname__}: {parameter.name}: {error}") from error
    return create_model(f"{cls.__name__}Options", __config__=CONFIG, **fields)


def argument_docs(cls: type) -> dict[str, str]:
    """The description of each option, from the ``Args:`` section of a class docstring."""
    lines = (inspect.getdoc(cls) or "").splitlines()
    descriptions: dict[str, str] = {}
    if "Args:" not in lines:
        return descriptions
    names: list[str] = []
    for line in lines[lines.index("Args:") + 1 :]:
        if line and not line.startswith(" "):
            break
        if line.startswith("    ") and not line.startswith("     "):
            listed_names, _, text = line.strip().partition(":")
            names = listed_names.split(", ")
            descriptions |= dict.fromkeys(names, text.strip())
        elif line.strip():
            descriptions |= {name: f"{descriptions[name]} {line.strip()}" for name in names}
    return descriptions


def summary(cls: type) -> str:
    """The first paragraph of a class docstring on one line."""
    return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())

"""The options of a spec that name a file or a folder, which exists on one machine only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from vaezoo.spec.load import load_spec
from vaezoo.spec.options import ComponentSpec, options_model
from vaezoo.spec.spec import Spec
from vaezoo.utils.paths import PlaceMarker, is_of_machine


def locate_places(spec: Spec, locate: Callable[[str], str]) -> Spec:
    """A spec whose data and metrics are read from other places.

    Args:
        spec: the spec.
        locate: returns the place of a path: of every option of the type ``vaezoo.DataPath``, and
            of any other text that is a path of one machine.
    """
    resolved = spec.resolved()
    components, blocks = (spec.data, *spec.evaluate), [resolved["data"], *resolved["evaluate"]]
    changes = [_locate(*pair, locate) for pair in zip(components, blocks, strict=True)]
    if changes == blocks:
        return spec
    return load_spec({**resolved, "data": changes[0], "evaluate": changes[1:]})


def _locate(component: ComponentSpec, block: dict[str, Any], locate: Callable[[str], str]) -> Any:
    """The block of a component with other places."""
    fields = options_model(component.cls).model_fields
    result = dict(block)
    for key, value in component.options.items():
        is_place = _is_place((*fields[key].metadata, fields[key].annotation))
        result[key] = _located(value, block[key], locate, is_place=is_place)
    return result


def _located(
    value: Any, plain: Any, locate: Callable[[str], str], *, is_place: bool = False
) -> Any:
    """The value of an option with other places; ``plain`` is how a resolved spec states it."""
    if isinstance(value, ComponentSpec):
        return _locate(value, plain, locate)
    if isinstance(plain, list | tuple):
        pairs = zip(value, plain, strict=True)
        return [_located(*pair, locate, is_place=is_place) for pair in pairs]
    if isinstance(plain, dict):
        items = value if isinstance(value, dict) else plain
        return {key: _located(items[key], plain[key], locate) for key in plain}
    names_place = isinstance(plain, str) and (is_place or is_of_machine(plain))
    return locate(plain) if names_place else plain


def _is_place(annotation: Any) -> bool:
    """Whether an annotation is, or contains, ``DataPath``."""
    parts = annotation if isinstance(annotation, tuple) else get_args(annotation)
    return any(isinstance(part, PlaceMarker) or _is_place(part) for part in parts)

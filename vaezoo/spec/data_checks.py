"""Checks that the description of the data is valid and that the encoder takes such data."""

from __future__ import annotations

from vaezoo.data.dataspec import DataSpec
from vaezoo.data.description import check_storable
from vaezoo.spec.spec import Spec


def check_data(spec: Spec, data: DataSpec) -> None:
    """Checks that the description of the data survives being stored with weights.

    Raises:
        SpecError: it does not: the weights could not be loaded again.
    """
    try:
        check_storable(data)
    except ValueError as error:
        message = f"data set {spec.data.name!r}: its description is not valid: {error}"
        raise spec.problem("data", message) from error


def check_parts(spec: Spec, data: DataSpec) -> None:
    """Checks that the encoder is made for the parts of the data.

    Raises:
        SpecError: it is not, or should be fused with a condition although there are several.
    """
    component = spec.model.encoder
    if bool(data.parts) == component.cls.takes_parts:
        if data.parts and spec.model.condition is not None and "encoder" in spec.into:
            message = (
                "a condition cannot be fused with data of several parts; "
                "remove encoder from model.condition.into"
            )
            raise spec.problem(spec.model.condition.path, message)
        return
    message = (
        f"encoder {component.name!r} takes data of several parts, but examples are one tensor"
    )
    if data.parts:
        names = ", ".join(data.parts)
        message = (
            f"encoder {component.name!r} takes one tensor, but examples have the parts {names}; "
            "use joint, with an encoder for each part"
        )
    raise spec.problem(component.path, message)

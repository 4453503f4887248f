"""Requirements of packages that strangers wrote, in specs and registries."""

from __future__ import annotations

from packaging.requirements import InvalidRequirement, Requirement

MAX_LENGTH = 500
"""Longer texts are refused: Python converts no number of more than 4,300 digits."""


def parse_requirement(text: str) -> Requirement:
    """A package and its versions, whose versions and marker can be compared without an error.

    Raises:
        InvalidRequirement: the text is none, is too long, or is not printable.
        packaging.markers.UndefinedComparison, packaging.markers.UndefinedEnvironmentName: its
            marker cannot be evaluated.
    """
    if len(text) > MAX_LENGTH or not text.isprintable():
        raise InvalidRequirement(f"more than {MAX_LENGTH} characters, or control characters")
    requirement = Requirement(text)
    _ = requirement.marker and requirement.marker.evaluate()
    return requirement

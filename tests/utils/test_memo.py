"""A property that is computed once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from vaezoo.utils.memo import memoised


@dataclass(frozen=True)
class Square:
    side: float
    calls: list[int] = field(default_factory=list)

    @memoised
    def area(self):
        """The area."""
        self.calls.append(1)
        return self.side**2


def test_the_value_is_computed_once_for_each_object():
    square = Square(3.0)
    assert square.area == 9.0 and square.area == 9.0 and len(square.calls) == 1
    assert replace(square, side=2.0).area == 4.0
    assert Square.area.__doc__ == "The area."

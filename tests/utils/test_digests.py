"""Digests of JSON texts."""

from __future__ import annotations

import json

import pytest

from vaezoo.utils.digests import add_digest, parse_with_digest

OBJECTS = [{}, {"a": 1}, {"a": [1, {"digest": "x"}], "b": ' , "digest": "0123456789abcdef"}'}]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("value", OBJECTS, ids=range(3))
def test_what_was_written_is_read_and_a_change_is_noticed(value, indent):
    text = add_digest(json.dumps(value, indent=indent))
    assert parse_with_digest(text) == (value, True)
    for place in range(len(text)):
        for other in (text[:place] + text[place + 1 :], text[:place] + " " + text[place:]):
            try:
                read, has_digest = parse_with_digest(other)
            except ValueError:
                continue
            assert read == value or not has_digest, other


def test_many_spaces_are_not_searched_again_and_again():
    """A search that begins at each of them would take hours."""
    for before, after in (("", '"a": 1'), ('"a": 1,', "")):
        with pytest.raises(ValueError, match="its digest is of other content"):
            parse_with_digest(
                f'{{{before} "digest": "x"{"," if after else ""}{" " * 10**6}{after}}}'
            )

"""Names of columns."""

from __future__ import annotations

from vaezoo.utils.columns import free_names


def test_a_name_that_is_taken_gets_another_that_is_free():
    columns = {"score": 1, "score (source)": 2, "id": 3}
    assert free_names(columns, ["score", "label"]) == {
        "score (source) (source)": 1,
        "score (source)": 2,
        "id": 3,
    }
    assert free_names(columns, []) == columns

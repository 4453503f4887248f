"""The environment variables of a launcher."""

from __future__ import annotations

import pytest

from vaezoo.utils.errors import UsageError
from vaezoo.utils.launch import Launch

VARIABLES = {
    "RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_RANK": "0",
    "MASTER_ADDR": "machine",
    "MASTER_PORT": "29500",
}


@pytest.fixture
def environment(monkeypatch):
    """Sets the variables of a launcher, with changes; None removes one."""

    def change(**changes):
        for name, value in {**VARIABLES, **changes}.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    return change


def test_a_launcher_names_the_place_of_this_process(environment):
    environment()
    expected = Launch(rank=1, size=2, local_rank=0, host="machine", port=29500)
    assert Launch.read() == expected
    environment(LOCAL_RANK=None)
    assert Launch.read() == expected


@pytest.mark.parametrize(
    "changes",
    [{"RANK": None}, {"WORLD_SIZE": None}, {"WORLD_SIZE": "1", "MASTER_ADDR": None}],
    ids=["no rank", "no size", "a single process"],
)
def test_other_processes_were_started_alone(environment, changes):
    environment(**changes)
    assert Launch.read() is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RANK", "first"),
        ("RANK", "2"),
        ("RANK", "-1"),
        ("WORLD_SIZE", "two"),
        ("WORLD_SIZE", "0"),
        ("LOCAL_RANK", "x"),
        ("MASTER_ADDR", None),
        ("MASTER_ADDR", ""),
        ("MASTER_PORT", None),
        ("MASTER_PORT", "65536"),
    ],
)
def test_variables_that_are_not_valid_are_named(environment, name, value):
    environment(**{name: value})
    with pytest.raises(UsageError) as raised:
        Launch.read()
    assert name in str(raised.value) and "\n" not in str(raised.value)

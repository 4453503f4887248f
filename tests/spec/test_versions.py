"""Specs of an earlier version of the format keep the defaults that they were written with."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import BaseModel, Field

import vaezoo
from vaezoo.model.defaults import FIRST_VERSION, VERSIONS
from vaezoo.spec import checker, reference
from vaezoo.spec.dump import dump
from vaezoo.spec.load import load_spec
from vaezoo.spec.options import options_model


class Inner(BaseModel):
    """A block whose default differs."""

    decay: Annotated[str, vaezoo.BeforeV2("all")] = Field(default="networks")


class Bounded(vaezoo.Callback):
    """A component with three kinds of such options.

    Args:
        limit: a number.
        inner: a block that may be empty.
        other: a block with a default.
    """

    def __init__(
        self,
        *,
        limit: Annotated[float | None, vaezoo.BeforeV2(None)] = 10.0,
        inner: Inner | None = None,
        other: Inner = Inner(),
    ) -> None:
        self.limit, self.inner, self.other = limit, inner, other

    def log(self, record):
        pass


@pytest.fixture
def options(spec):
    """The options of the component in a spec of a version, with changes of its block."""
    vaezoo.register("callback", "bounded", Bounded)

    def load(version, **block):
        tree = spec(train={"epochs": 1, "callbacks": [{"type": "bounded", **block}]})
        loaded = load_spec(tree | {"spec": version})
        assert loaded.resolved()["spec"] == version
        again = load_spec(dump(loaded.resolved()), text=True)  # every default is written out
        assert again.resolved() == loaded.resolved()
        return loaded.train.callbacks[0].options

    return load


@pytest.mark.parametrize(
    ("version", "limit", "decay"), [("v1", None, "all"), ("v2", 10, "networks")]
)
def test_an_option_has_the_default_of_the_version(options, version, limit, decay):
    version = f"vaezoo/{version}"
    assert options(version)["limit"] == limit
    assert options(version)["other"].decay == decay
    assert options(version, inner={})["inner"].decay == decay
    given = options(version, limit=3.0, inner={"decay": "all"}, other={"decay": "networks"})
    assert (given["limit"], given["inner"].decay, given["other"].decay) == (3.0, "all", "networks")


def test_both_defaults_are_shown():
    (row, *_) = reference._describe_options(options_model(Bounded))
    assert row["default"] == "10.0 (in vaezoo/v1: none)"


def test_the_first_version_is_one_of_them():
    assert VERSIONS[0] == FIRST_VERSION
    assert checker._block(Inner | None) is Inner
    assert checker._block(list[Inner]) is None

"""Specs of an earlier version of the format keep the defaults that they were written with."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import BaseModel, Field

import vaezoo
from vaezoo.spec import reference
from vaezoo.spec.dump import dump
from vaezoo.spec.load import load_spec
from vaezoo.spec.options import options_model


class Inner(BaseModel):
    """A block whose default differs."""

    decay: Annotated[str, vaezoo.BeforeV2("all")] = Field(default="networks")


class Bounded(vaezoo.Callback):
    """A component with each kind of such options.

    Args:
        limit: a number.
        inner: a block that may be empty.
        other: a block with a default.
        part: a component.
    """

    def __init__(
        self,
        *,
        limit: Annotated[float | None, vaezoo.BeforeV2(None)] = 10.0,
        inner: Inner | None = None,
        other: Inner = Inner(),
        part: Annotated[vaezoo.Factory[vaezoo.Encoder], vaezoo.BeforeV2("conv")] = "mlp",
    ) -> None:
        pass

    def log(self, record):
        pass


class Critic(vaezoo.Regularizer):
    """A penalty with a phase of its own.

    Args:
        optimization: of the phase.
    """

    def __init__(
        self,
        wiring: vaezoo.TaskWiring,
        /,
        *,
        optimization: Annotated[
            vaezoo.Optimization | None, vaezoo.BeforeV2(None)
        ] = vaezoo.Optimization(warmup=7),
    ) -> None:
        super().__init__()

    def forward(self, trace):
        return trace.mean_rate


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
    assert options(version)["part"].name == {"all": "conv", "networks": "mlp"}[decay]
    assert options(version, inner={})["inner"].decay == decay
    given = options(version, limit=3.0, inner={"decay": "all"}, other={"decay": "networks"})
    assert (given["limit"], given["inner"].decay, given["other"].decay) == (3.0, "all", "networks")


def test_both_defaults_are_shown():
    (row, *_) = reference._describe_options(options_model(Bounded))
    assert row["default"] == "10.0 (in vaezoo/v1: none)"


@pytest.mark.parametrize(
    ("block", "own", "v1", "v2"),
    [
        ("", {}, (0.5, 3), (1e-3, 7)),
        ("", {"optimization": None}, (0.5, 3), (0.5, 3)),
        ("stages.0.", {}, (0.25, 3), (1e-3, 7)),
        ("stages.0.", {"optimization": None}, (0.25, 3), (0.25, 3)),
    ],
)
def test_an_override_changes_the_default_of_the_version(block, own, v1, v2, spec):
    vaezoo.register("regularizer", "critic", Critic)
    critic = {"regularizers": [{"type": "critic", **own}]}
    stage = {"name": "a", "optimizer": {"type": "sgd", "lr": 0.25}, **critic}
    tree = spec(train={"optimizer": {"type": "sgd", "lr": 0.5}, "warmup": 3}, **critic)
    tree |= {"stages": [stage]} if block else {}
    for version, (rate, warmup) in (("v1", v1), ("v2", v2)):
        loaded = load_spec(
            tree | {"spec": f"vaezoo/{version}"}, [f"{block}regularizers.0.optimization.clip=2"]
        )
        (regularizer,) = loaded.stages[0].regularizers
        optimization = regularizer.options["optimization"]
        assert optimization.optimizer.model_extra["lr"] == rate
        assert (optimization.warmup, optimization.clip) == (warmup, 2)
        assert optimization.decay == {"v1": "all", "v2": "networks"}[version]

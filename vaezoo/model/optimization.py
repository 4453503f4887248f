"""How a training phase changes its weights: optimizer, schedulers and clipping of gradients."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vaezoo.model.defaults import BeforeV2

CONFIG = ConfigDict(
    strict=True, allow_inf_nan=False, extra="forbid", frozen=True, arbitrary_types_allowed=True
)
"""The configuration of every pydantic model of a block in a spec."""


class TorchBlock(BaseModel):
    """An optimizer or scheduler: the name of a class of ``torch.optim``, and its options."""

    model_config = CONFIG | {"extra": "allow"}
    type: str

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"type": value} if isinstance(value, str) else value


class Optimization(BaseModel):
    """The optimizer of a phase, its learning-rate schedule, and the clipping of its gradients.

    The block ``train`` of a spec has these keys. A component whose phase needs others takes an
    option annotated ``vaezoo.Optimization | None`` and passes it on in ``Phase.optimization``.
    """

    model_config = CONFIG
    optimizer: TorchBlock = Field(
        default=TorchBlock(type="adam", lr=1e-3),  # type: ignore[call-arg]
        description="a torch.optim class by name, with its own options",
    )
    decay: Annotated[Literal["networks", "all"], BeforeV2("all")] = Field(
        default="networks",
        description="what the weight decay of the optimizer acts on. networks: the weights and "
        "biases of layers, but not what a prior, posterior, likelihood or latents hold "
        "themselves, such as a learned log-scale or the means of a mixture. all, the default of "
        "v1 specs: every weight",
    )
    scheduler: TorchBlock | None = Field(
        default=None,
        description="a torch.optim.lr_scheduler class by name, stepped once per optimizer step; "
        "T_max and total_steps default to the number of optimizer steps",
    )
    warmup: Annotated[int, Field(ge=0)] = Field(
        default=0, description="steps over which the learning rate rises linearly from near 0"
    )
    clip: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="largest gradient norm; larger ones are clipped"
    )

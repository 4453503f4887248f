"""Defines the keys of a spec as pydantic models, and builds the JSON Schema of specs.

The options of components are not defined here; ``vaezoo.spec.options`` derives them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field

from vaezoo.model.defaults import Version
from vaezoo.model.fusion import FusionMode
from vaezoo.model.optimization import CONFIG, Optimization
from vaezoo.plugins.catalogue import Catalogue
from vaezoo.plugins.kinds import KINDS
from vaezoo.spec.options import (
    KIND_KEY,
    LoaderOptions,
    component_annotation,
    options_model,
    summary,
)
from vaezoo.utils.errors import PluginError

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
DEVICE = r"^(auto|cpu|mps|cuda(:[0-9]+)?)$"
PATTERNS = {
    NAME: "at most 100 letters, digits, '.', '_' or '-', the first a letter or digit",
    DEVICE: "auto, cpu, mps, cuda or cuda:N",
}
"""What each pattern allows, for error messages."""
ConditionTarget = Literal["encoder", "prior", "decoder"]
"""The parts of a model that can take the condition as input (``model.condition.into``)."""


class ModelSpec(BaseModel):
    """The block ``model``: the generative model and its posterior."""

    model_config = CONFIG
    latent_dim: Annotated[int, Field(gt=0, le=1_000_000)]
    encoder: component_annotation("encoder")  # type: ignore[valid-type]
    posterior: component_annotation("posterior") = "diagonal-normal"  # type: ignore[valid-type]
    prior: component_annotation("prior") = "standard-normal"  # type: ignore[valid-type]
    latents: component_annotation("latents") = "single"  # type: ignore[valid-type]
    decoder: component_annotation("decoder")  # type: ignore[valid-type]
    likelihood: component_annotation("likelihood")  # type: ignore[valid-type]
    condition: component_annotation("conditioner") | None = None  # type: ignore[valid-type]


class StageOptions(Optimization):
    """The training options that each stage may have for itself."""

    epochs: Annotated[int, Field(gt=0)] | None = Field(
        default=None, description="passes over the training split"
    )
    steps: Annotated[int, Field(gt=0)] | None = Field(
        default=None, description="training steps, instead of epochs"
    )
    accumulate: Annotated[int, Field(gt=0)] = Field(
        default=1, description="number of parts each batch is split into"
    )
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="decay of an exponential moving average of the weights, "
        "which is then evaluated and saved",
    )
    early_stopping: Annotated[int, Field(gt=0)] | None = Field(
        default=None,
        description="number of validations without improvement after which training stops",
    )
    select: Literal["bound", "elbo", "distortion", "last"] = Field(
        default="bound",
        description="the metric on the validation split by which the saved model is selected; "
        "bound is the objective's own bound, last saves the model of the last step",
    )
    validate_every: Annotated[int, Field(gt=0)] = Field(
        default=1, description="epochs between validations"
    )


class TrainSpec(StageOptions):
    """The block ``train``: the duration and the settings of training."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="fp32",
        description="precision of the networks in training; auto: bf16 on CUDA and CPUs with AMX",
    )
    device: Annotated[str, Field(pattern=DEVICE)] = "auto"
    compile: bool | Literal["auto"] = Field(
        default="auto", description="torch.compile; auto compiles on CUDA only"
    )
    log_every: Annotated[int, Field(gt=0)] = Field(
        default=50, description="steps between records of metrics.jsonl"
    )
    checkpoint_every: Annotated[float, Field(ge=0)] = Field(
        default=60.0, description="seconds between checkpoints"
    )
    keep: Annotated[int, Field(gt=0)] = Field(
        default=2, description="number of most recent checkpoints to keep"
    )
    callbacks: list[component_annotation("callback")] = []  # type: ignore[valid-type]


class StageSpec(StageOptions):
    """One stage of training. Options that are left out are those of ``train``."""

    name: Annotated[str, Field(pattern=NAME)]
    parts: list[str] | None = Field(
        default=None,
        min_length=1,
        description="the parts of the model that are trained, such as encoder, prior, "
        "latents.codebook or samplers.NAME; all by default",
    )
    sampler: str | None = Field(
        default=None, description="the sampler that replaces the prior in this stage"
    )
    objective: component_annotation("objective") | None = None  # type: ignore[valid-type]
    regularizers: (  # None: see ``Spec.stages``
        list[component_annotation("regularizer")] | None  # type: ignore[valid-type]
    ) = None
    begin_from: Literal["best", "last"] = Field(
        default="best",
        alias="from",
        description="the weights of the stage before: those that its select selects, or the last",
    )


class InitSpec(BaseModel):
    """Weights to begin training with."""

    model_config = CONFIG
    source: Annotated[str, Field(min_length=1)] = Field(
        alias="from",
        description=(
            "the directory of a run, a file .safetensors of a run's weights, or the name of "
            "pretrained weights"
        ),
    )
    parts: list[str] | None = Field(
        default=None, min_length=1, description="the parts of the model to load; all by default"
    )
    strict: bool = Field(
        default=True,
        description=(
            "whether weights with other names or shapes are refused; otherwise they keep their "
            "initial values, and are named"
        ),
    )


class SpecModel(BaseModel):
    """The top level of a spec."""

    model_config = CONFIG
    spec: Version
    name: Annotated[str, Field(pattern=NAME)]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    requires: list[str] = []
    data: component_annotation("dataset")  # type: ignore[valid-type]
    model: ModelSpec
    samplers: dict[
        Annotated[str, Field(pattern=NAME)],
        component_annotation("prior"),  # type: ignore[valid-type]
    ] = {}
    init: list[InitSpec] = []
    objective: component_annotation("objective") = "reconstruction"  # type: ignore[valid-type]
    regularizers: (  # None: see ``Spec.regularizers``
        list[component_annotation("regularizer")] | None  # type: ignore[valid-type]
    ) = None
    train: TrainSpec = TrainSpec(epochs=20)
    stages: list[StageSpec] = []
    evaluate: list[component_annotation("metric")] = ["elbo"]  # type: ignore[valid-type]


def json_schema(catalogue: Catalogue) -> dict[str, Any]:
    """The JSON Schema of specs with the installed components, for editors."""
    schema = SpecModel.model_json_schema(ref_template="#/$defs/{model}")
    definitions = schema.setdefault("$defs", {})
    for kind in KINDS:
        definitions[kind] = _kind_schema(catalogue, kind, definitions)
    properties = schema["properties"]
    properties["extends"] = {
        "type": "string",
        "description": "path of a base spec, relative to this file",
    }
    properties["vars"] = {"type": "object", "description": "values for ${vars.name}"}
    for name in ("ModelSpec", "TrainSpec", "StageSpec", "InitSpec"):
        _allow_variables(definitions[name])
    _allow_variables(schema)
    definitions["TorchBlock"] = {"anyOf": [{"type": "string"}, definitions["TorchBlock"]]}
    required = schema.pop("required")
    definitions["ModelSpec"].pop("required")
    schema["anyOf"] = [{"required": required}, {"required": ["extends"]}]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "vaezoo spec",
        **_insert_refs(schema),
    }


def _insert_refs(schema: Any) -> Any:
    """Replaces each placeholder of a component by a ``$ref`` to the schema of its kind."""
    if isinstance(schema, list):
        return [_insert_refs(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    linked = {key: _insert_refs(value) for key, value in schema.items()}
    kind = linked.get(KIND_KEY)
    if isinstance(kind, str):
        del linked[KIND_KEY]
        linked["$ref"] = f"#/$defs/{kind}"
    return linked


def _kind_schema(catalogue: Catalogue, kind: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """The JSON Schema of a kind: a component's block, or its name if no option is required."""
    bare_names, blocks = [], []
    for name in catalogue.names(kind):
        entries = catalogue.entries[kind, name]
        for entry in entries:
            qualified_name = f"{entry.plugin}:{entry.name}"
            type_names = sorted({name if len(entries) == 1 else qualified_name, qualified_name})
            try:
                block = _block_schema(entry.load(), kind, type_names, definitions)
            except PluginError:
                continue  # `vaezoo plugins doctor` reports the error
            blocks.append(block)
            if block["required"] == ["type"]:
                bare_names.extend(type_names)
    return {"anyOf": [{"enum": bare_names}, *blocks]} if blocks else {"not": {}}


def _block_schema(
    cls: type, kind: str, type_names: list[str], definitions: dict[str, Any]
) -> dict[str, Any]:
    """The JSON Schema of a component's block; adds schemas that it uses to ``definitions``."""
    options = options_model(cls).model_json_schema(ref_template="#/$defs/{model}")
    definitions.update(options.pop("$defs", {}))
    properties = {"type": {"enum": type_names}, **options.get("properties", {})}
    if kind == "dataset":
        properties = LoaderOptions.model_json_schema()["properties"] | properties
    if kind == "conditioner":
        properties["into"] = {"type": "array", "items": {"enum": list(get_args(ConditionTarget))}}
        properties["fuse"] = {"enum": list(get_args(FusionMode))}
    block = {
        "type": "object",
        "description": summary(cls),
        "properties": properties,
        "required": ["type", *options.get("required", [])],
        "additionalProperties": False,
    }
    _allow_variables(block)
    return block


def _allow_variables(schema: dict[str, Any]) -> None:
    """Allows ``${vars.name}`` in place of any value except ``type``, ``extends`` and ``vars``."""
    variable = {"type": "string", "pattern": r"^\$\{vars\."}
    for key, value in schema["properties"].items():
        if key not in ("type", "extends", "vars"):
            schema["properties"][key] = {"anyOf": [value, variable]}

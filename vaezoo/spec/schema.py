"""The fixed parts of a spec, and the JSON Schema of the whole."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, model_validator

from vaezoo.model.fusion import How
from vaezoo.plugins.catalogue import Catalogue
from vaezoo.plugins.kinds import KINDS
from vaezoo.spec.options import COMPONENT, CONFIG, Loading, options_model, reference, summary
from vaezoo.utils.errors import PluginError

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
DEVICE = r"^(auto|cpu|mps|cuda(:[0-9]+)?)$"
PATTERNS = {
    NAME: "at most 100 letters, digits, '.', '_' or '-', the first a letter or digit",
    DEVICE: "auto, cpu, mps, cuda or cuda:N",
}
"""What the patterns ask for, in words."""
Into = Literal["encoder", "prior", "decoder"]


class ModelSpec(BaseModel):
    """The generative model and its posterior."""

    model_config = CONFIG
    latent_dim: Annotated[int, Field(gt=0, le=1_000_000)]
    encoder: reference("encoder")  # type: ignore[valid-type]
    posterior: reference("posterior") = "diagonal-normal"  # type: ignore[valid-type]
    prior: reference("prior") = "standard-normal"  # type: ignore[valid-type]
    latents: reference("latents") = "single"  # type: ignore[valid-type]
    decoder: reference("decoder")  # type: ignore[valid-type]
    likelihood: reference("likelihood")  # type: ignore[valid-type]
    condition: reference("conditioner") | None = None  # type: ignore[valid-type]


class TorchBlock(BaseModel):
    """A class of ``torch.optim`` by name, with its own options."""

    model_config = CONFIG | {"extra": "allow"}
    type: str

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"type": value} if isinstance(value, str) else value


class TrainSpec(BaseModel):
    """How long and by what means the model is trained."""

    model_config = CONFIG
    epochs: Annotated[int, Field(gt=0)] | None = Field(default=None, description="passes over the training split")
    steps: Annotated[int, Field(gt=0)] | None = Field(default=None, description="optimizer steps, instead of epochs")
    optimizer: TorchBlock = Field(
        default=TorchBlock(type="adam", lr=1e-3),  # type: ignore[call-arg]
        description="a torch.optim class by name, with its own options",
    )
    scheduler: TorchBlock | None = Field(
        default=None,
        description="a torch.optim.lr_scheduler class by name, stepped once per optimizer step; "
        "a total length (T_max, total_steps) defaults to the run's",
    )
    warmup: Annotated[int, Field(ge=0)] = Field(default=0, description="steps in which the learning rate rises from 0")
    clip: Annotated[float, Field(gt=0)] | None = Field(default=None, description="largest gradient norm")
    accumulate: Annotated[int, Field(gt=0)] = Field(default=1, description="parts each batch is split into")
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="decay of averaged weights, which are then the ones evaluated and kept"
    )
    early_stopping: Annotated[int, Field(gt=0)] | None = Field(
        default=None, description="validations without improvement after which training ends"
    )
    select: Literal["bound", "elbo", "distortion", "last"] = Field(
        default="bound",
        description="what the model that is kept is best at, on validation: the objective's own bound, or another "
        "figure; last keeps the last",
    )
    validate_every: Annotated[int, Field(gt=0)] = Field(default=1, description="epochs between validations")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="fp32", description="what networks compute in while training; auto: bf16 on CUDA and CPUs with AMX"
    )
    device: Annotated[str, Field(pattern=DEVICE)] = "auto"
    compile: bool | Literal["auto"] = Field(default="auto", description="torch.compile; auto compiles on cuda alone")
    log_every: Annotated[int, Field(gt=0)] = Field(default=50, description="steps between records of metrics.jsonl")
    checkpoint_every: Annotated[float, Field(ge=0)] = Field(default=60.0, description="seconds between checkpoints")
    keep: Annotated[int, Field(gt=0)] = Field(default=2, description="checkpoints kept")
    callbacks: list[reference("callback")] = []  # type: ignore[valid-type]


class SpecModel(BaseModel):
    """A whole spec."""

    model_config = CONFIG
    spec: Literal["vaezoo/v1"]
    name: Annotated[str, Field(pattern=NAME)]
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    requires: list[str] = []
    data: reference("dataset")  # type: ignore[valid-type]
    model: ModelSpec
    objective: reference("objective") = "reconstruction"  # type: ignore[valid-type]
    regularizers: list[reference("regularizer")] | None = None  # type: ignore[valid-type]
    train: TrainSpec = TrainSpec(epochs=20)
    evaluate: list[reference("metric")] = ["elbo"]  # type: ignore[valid-type]


def json_schema(catalogue: Catalogue) -> dict[str, Any]:
    """The JSON Schema of every spec that the installed components allow, for editors."""
    schema = SpecModel.model_json_schema(ref_template="#/$defs/{model}")
    definitions = schema.setdefault("$defs", {})
    for kind in KINDS:
        definitions[kind] = _kind_schema(catalogue, kind, definitions)
    properties = schema["properties"]
    properties["extends"] = {"type": "string", "description": "a spec to start from, beside this one"}
    properties["vars"] = {"type": "object", "description": "values for ${vars.name}"}
    for definition in (schema, definitions["ModelSpec"], definitions["TrainSpec"]):
        _allow_variables(definition)
    definitions["TorchBlock"] = {"anyOf": [{"type": "string"}, definitions["TorchBlock"]]}
    required = schema.pop("required")
    definitions["ModelSpec"].pop("required")
    schema["anyOf"] = [{"required": required}, {"required": ["extends"]}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "vaezoo spec", **_linked(schema)}


def _linked(schema: Any) -> Any:
    """The schema with a ``$ref`` wherever a component is meant."""
    if isinstance(schema, list):
        return [_linked(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    linked = {key: _linked(value) for key, value in schema.items()}
    kind = linked.get(COMPONENT)
    if isinstance(kind, str):
        del linked[COMPONENT]
        linked["$ref"] = f"#/$defs/{kind}"
    return linked


def _kind_schema(catalogue: Catalogue, kind: str, definitions: dict[str, Any]) -> dict[str, Any]:
    bare, blocks = [], []
    for name in catalogue.names(kind):
        entries = catalogue.entries[kind, name]
        references_ = [name] if len(entries) == 1 else [f"{entry.plugin}:{entry.name}" for entry in entries]
        for entry, word in zip(entries, references_, strict=True):
            words = sorted({word, f"{entry.plugin}:{entry.name}"})
            try:
                block = _block_schema(entry.load(), kind, words, definitions)
            except PluginError:
                continue  # `vaezoo plugins doctor` says what is wrong with it
            blocks.append(block)
            if block["required"] == ["type"]:
                bare.extend(words)
    return {"anyOf": [{"enum": bare}, *blocks]} if blocks else {"not": {}}


def _block_schema(cls: type, kind: str, words: list[str], definitions: dict[str, Any]) -> dict[str, Any]:
    options = options_model(cls).model_json_schema(ref_template="#/$defs/{model}")
    definitions.update(options.pop("$defs", {}))
    properties = {"type": {"enum": words}, **options.get("properties", {})}
    if kind == "dataset":
        properties |= Loading.model_json_schema()["properties"]
    if kind == "conditioner":
        properties["into"] = {"type": "array", "items": {"enum": ["encoder", "prior", "decoder"]}}
        properties["fuse"] = {"enum": list(get_args(How))}
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
    """Lets ``${vars.name}`` stand for any value but the names that choose a schema."""
    variable = {"type": "string", "pattern": r"^\$\{vars\."}
    for key, value in schema["properties"].items():
        if key not in ("type", "extends", "vars"):
            schema["properties"][key] = {"anyOf": [value, variable]}

"""Draws the pictures of a run and writes the HTML page that contains them.

Shapes in the comments: B examples, T steps, C channels, H x W pixels, D latent dimensions.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.conditions import ALL, parse_conditions
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.format import Format
from vaezoo.data.loader import Loader
from vaezoo.data.sizes import describe_examples
from vaezoo.evaluation.evaluate import metric_rows
from vaezoo.evaluation.latent_space import dimension_rates
from vaezoo.model.model import Model
from vaezoo.runs.file_formats import format_for
from vaezoo.runs.report import pictures, sequences
from vaezoo.runs.report.parts import captions as part_captions
from vaezoo.runs.report.parts import draw_parts
from vaezoo.utils.errors import UsageError
from vaezoo.utils.files import write_bytes, write_text
from vaezoo.utils.seeds import seeded

_MAX_LATENT_POINTS = 5000
"""The number of examples in the map of the latent space."""
_MAX_VALUES = 2**26
"""The number of values of examples in memory at once: 256 MiB in fp32."""
_TRAVERSED_DIMENSIONS = 10
_SEQUENCES = 8
"""The number of sequences in a picture."""
_MAX_CLASS_ROWS = 20
"""Samples have one row per class up to this number of classes."""

_CAPTIONS = {
    "samples": "Samples: the mean of p(x|z) for z drawn from the prior",
    "reconstructions": "{split} examples, each above its reconstruction",
    "interpolations": "Interpolations between two {split} examples, along a path in the latent "
    "space between their posterior means",
    "traversals": "Latent traversals of one {split} example: each row varies one latent dimension "
    "from -3 to 3; the dimensions with the highest rate come first",
    "rates": "The rate of each latent variable at each step, in nats, averaged over {split} "
    "examples",
    "curves": "Metrics on the training split (thin lines) and on the validation split (thick "
    "lines), in nats per example",
    "latents": "The latent space: posterior means of {split} examples",
}
_SEQUENCE_CAPTIONS = {"reconstructions": "{split} examples and their reconstructions"}
_STEPWISE_CAPTIONS = {
    "samples": "Samples: z from the prior, and each step sampled conditional on the previous steps"
}


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """The data from which a report is drawn.

    Attributes:
        name: the name of the spec.
        time: the name of the run's directory.
        data_name: the name of the data set.
        seed: the seed of the run, which also seeds the pictures.
        spec: the resolved spec as YAML.
        records: the records of ``metrics.jsonl``.
        environment: the content of ``environment.json``.
        evaluation: the content of ``evaluation.json``, or that of the validation split.
        model: the trained model.
        examples: the split of the evaluation.
        pictures: the folder to which the pictures are written.
        page: the HTML file that is written.
    """

    name: str
    time: str
    data_name: str
    seed: int
    spec: str
    records: Sequence[dict[str, Any]]
    environment: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    model: Model
    examples: Loader
    pictures: Path
    page: Path


def write_report(run: ReportData) -> None:
    """Writes all pictures that the model and the data allow, then the page."""
    run.model.eval()
    count = min(_MAX_LATENT_POINTS, _MAX_VALUES // run.model.data.dimensions)
    batch = run.examples.first(max(1, count))
    with seeded(run.model.device, run.seed, "pictures"):
        known = _picture_format(run.model.data)
        own = {} if known is None else known.report_pictures(run.model, batch, run.seed)
        drawn = {name: png for name, (_, png) in own.items()} or _draw_data(run, batch)
        files = {"curves": pictures.curves(run.records), **drawn}
        with suppress(NotImplementedError):  # the posterior has no mean
            files["latents"] = _draw_latents(run, batch)
    for name, png in files.items():
        write_bytes(run.pictures / f"{name}.png", png)
    captions = {name: caption for name, (caption, _) in own.items()}
    write_text(run.page, render_page(run, files, captions))


def _first(batch: Batch, count: int) -> Batch:
    return batch.select(slice(count))


def _draw_data(run: ReportData, examples: Batch) -> dict[str, bytes]:
    """Draws the pictures of samples and examples that the model and the data allow."""
    model, batch = run.model, _first(examples, 32)
    if model.data.is_sequence:
        return _draw_sequences(run, batch)
    if model.data.parts:
        return draw_parts(model, batch, run.seed)
    reconstructions = model.reconstruct(batch)
    if not pictures.is_image(model.data):
        plots = pictures.vectors(batch.x.cpu().numpy(), reconstructions.cpu().numpy())
        return {"reconstructions": plots}
    condition = _sample_conditions(run, examples)
    count = 100 if condition is None else len(condition)
    sheets = {
        "samples": (model.sample(count, condition, seed=run.seed), 10),
        "reconstructions": (pictures.pairs(batch.x, reconstructions, 16), 16),
    }
    for name in model.samplers:
        images = model.sample(count, condition, seed=run.seed, sampler=name)
        sheets[f"samples-{name}"] = (images, 10)
    if model.conditioner is None and len(batch) >= 16:
        with suppress(NotImplementedError):  # the latent code is not one vector
            images = model.interpolate(batch.select(slice(8)), batch.select(slice(8, 16)), 12)
            sheets["interpolations"] = (images.flatten(0, 1), 12)  # [8 * 12, C, H, W]
    with suppress(NotImplementedError):  # no density, or more than one latent variable
        rates = dimension_rates(model, batch)
        dimensions = rates.argsort(descending=True)[:_TRAVERSED_DIMENSIONS]
        images = model.traverse(_first(examples, 1), dimensions)
        sheets["traversals"] = (images.flatten(0, 1), 11)  # [dimensions * 11, C, H, W]
    return {
        name: pictures.grid(images, columns, pictures.zoom_for(images, columns))
        for name, (images, columns) in sheets.items()
    }


def _draw_sequences(run: ReportData, batch: Batch) -> dict[str, bytes]:
    """Draws samples, rates, interpolations and reconstructions of a model of sequences."""
    model, data, originals = run.model, run.model.data, _first(batch, _SEQUENCES)
    condition = _sample_conditions(run, batch)
    if condition is not None:  # spreads the sequences over the classes
        condition = condition[:: max(1, len(condition) // _SEQUENCES)][:_SEQUENCES]
    steps = batch.x.shape[1] if model.latents.stepwise else None
    count = _SEQUENCES if condition is None else len(condition)
    files = {}
    for sampler in (None, *model.samplers):
        samples = model.sample(count, condition, seed=run.seed, steps=steps, sampler=sampler)
        sheet = sequences.picture(data, Batch(data.to_source_units(samples), condition))
        files["samples" if sampler is None else f"samples-{sampler}"] = sheet
    with model.inference():
        sites = model.infer_detached(batch, 1).sites
    if any(site.mask is not None for site in sites):
        files["rates"] = sequences.rates(sites)
    try:
        z = model.encode(originals)
        reconstructions = model.decode(
            z, originals.condition, steps=steps, extras=originals.extras
        )
        if (index := _same_condition_index(batch)) is not None:
            first, second = (batch.select(slice(i, i + 1)) for i in (0, index))
            interpolated = model.interpolate(first, second, _SEQUENCES)
            x = data.to_source_units(interpolated[0])  # [_SEQUENCES, T, D]
            files["interpolations"] = sequences.picture(data, Batch(x))
    except NotImplementedError:  # the latent code is not one vector
        reconstructions = model.reconstruct(originals)
    originals = replace(originals, x=data.to_source_units(originals.x))
    reconstructions = data.to_source_units(reconstructions)
    files["reconstructions"] = sequences.picture(data, originals, reconstructions)
    return files


def _same_condition_index(batch: Batch) -> int | None:
    """The index of the second example that has the condition of the first, if there is one."""
    for i in range(1, len(batch)):
        if batch.condition is None or torch.equal(batch.condition[i], batch.condition[0]):
            return i
    return None


def _remarks(run: ReportData) -> list[str]:
    """What readers must know of the figures; for sequences, collapsed latent variables too."""
    remarks = []
    if run.model.density == "bound":
        remarks.append(
            "Of the prior's density only a lower bound is known: every ELBO here is computed with "
            "it and is lower than that of the model, every rate is higher."
        )
    if not run.model.data.is_sequence:
        return remarks
    with run.model.inference():
        sites = run.model.infer_detached(run.examples.first(32), 1).sites
    return remarks + sequences.remarks(sites)


def _sample_conditions(run: ReportData, batch: Batch) -> Tensor | None:
    """The conditions of the samples; with named classes ten samples per class."""
    data = run.model.data
    if run.model.conditioner is None:
        return None
    if data.classes and len(data.classes) <= _MAX_CLASS_ROWS:
        conditions, _ = parse_conditions(data, ALL, run.model.trained_classes)
        return conditions.repeat_interleave(10)  # [classes * 10]
    return _first(batch, 100).condition


def _picture_format(data: DataSpec) -> Format | None:
    """The format ``png`` of the data; None if pictures do not show such data."""
    try:
        return format_for(data, Path("x.png"))
    except UsageError:
        return None


def _draw_latents(run: ReportData, batch: Batch) -> bytes:
    means, data = run.model.encode(batch).cpu().numpy(), run.model.data
    if data.classes and batch.condition is not None:
        return pictures.latent_map(means, batch.condition.cpu().numpy(), data.classes)
    picture_format = _picture_format(data)
    known = None if picture_format is None else picture_format.point_labels(batch)
    _, labels, names = ("", None, ()) if known is None else known
    return pictures.latent_map(means, labels, names)


def render_page(
    run: ReportData, files: Mapping[str, bytes], own_captions: Mapping[str, str] | None = None
) -> str:
    """Renders the page as HTML that refers to no other file.

    Args:
        run: the data of the report.
        files: the pictures as PNG, by name.
        own_captions: of the pictures that the data's plugin drew, by name.
    """
    from jinja2 import Environment

    source = resources.files("vaezoo.runs.report").joinpath("page.html.j2").read_text("utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    captions = _CAPTIONS | (_SEQUENCE_CAPTIONS if run.model.data.is_sequence else {})
    captions |= _STEPWISE_CAPTIONS if run.model.latents.stepwise else {}
    samplers = {
        f"samples-{name}": f"Samples: the mean of p(x|z) for z drawn from the sampler {name}"
        for name in run.model.samplers
    }
    split = run.evaluation["split"]
    captions = {name: _name_split(text, split) for name, text in captions.items()}
    parts = part_captions(run.model.data.parts, run.model.samplers, split)
    captions = {"samples": captions["samples"], **samplers, **parts, **captions}
    captions = {**(own_captions or {}), **captions, **(own_captions or {})}
    return environment.from_string(source).render(
        name=run.name,
        run=run.time,
        evaluation=run.evaluation,
        rows=metric_rows(run.evaluation),
        facts=_facts(run),
        remarks=_remarks(run),
        pictures=[
            (caption, base64.b64encode(files[name]).decode())
            for name, caption in captions.items()
            if name in files
        ],
        spec=run.spec,
    )


def _name_split(caption: str, split: str) -> str:
    text = caption.format(split=split)
    return text[:1].upper() + text[1:]


def _facts(run: ReportData) -> list[tuple[str, str]]:
    """Names and values of the table at the head of the page."""
    environment, data = run.environment, run.model.data
    validations = [record for record in run.records if record["split"] == "validation"]
    best = max((r for r in validations if r["best"]), key=lambda r: r["step"], default=None)
    with torch.no_grad():
        parameters = sum(p.numel() for p in run.model.parameters())
    training = "-"
    if validations:
        training = f"{validations[-1]['step']:,} steps, {validations[-1]['epoch']:g} epochs"
        stages = {r["stage"]: r["stage_step"] for r in validations if "stage" in r}
        if stages:  # the last validation of each
            steps = ", ".join(f"{name} {step:,}" for name, step in stages.items())
            training += f"; steps of each stage: {steps}"
    names = {"vaezoo": "vaezoo", "torch": "torch", "Python": "python"}
    versions = [f"{name} {environment[key]}" for name, key in names.items() if key in environment]
    device = [environment[key] for key in ("device", "precision") if key in environment]
    examples = environment.get("examples")  # runs of earlier versions have none
    return [
        ("data", f"{run.data_name}, {_describe(data)}"),
        *([("examples", describe_examples(examples))] if examples else []),
        ("parameters", f"{parameters:,}"),
        ("training", training),
        ("selected weights", f"step {best['step']:,}" if best else "-"),
        ("device", ", ".join(device) or "-"),
        ("versions", ", ".join(versions) or "-"),
    ]


def _describe(data: DataSpec) -> str:
    """Shape and support of the data, or of each of its parts."""
    if data.parts:
        return "; ".join(f"{name}: {_describe(part)}" for name, part in data.parts.items())
    return f"{' × '.join(map(str, data.shape))}, {data.support}"

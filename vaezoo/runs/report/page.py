"""The report of a run: its pictures, and one page that holds them all."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.conditions import ALL, parse
from vaezoo.data.loader import Loader
from vaezoo.evaluation.evaluate import metric_rows
from vaezoo.evaluation.latent_space import dimension_rates
from vaezoo.model.model import Model
from vaezoo.runs.report import pictures, sequences
from vaezoo.utils.files import write_bytes, write_text
from vaezoo.utils.seeds import seeded

_MAP_POINTS = 5000
_NUMBERS = 2**26  # of them in memory at once: 256 MiB
_TRAVERSED = 10
_SEQUENCES = 8
_CAPTIONS = {
    "samples": "Samples: z from the prior, then the mean of p(x|z)",
    "reconstructions": "Test examples, each above its reconstruction",
    "interpolations": "From one test example to another, along a straight line between their posterior means",
    "traversals": "One test example as each latent dimension goes from -3 to 3, those that say most at the top",
    "rates": "What each latent variable says at each step: its rate on test examples, in nats",
    "curves": "Training (thin) and validation, in nats per example",
    "latents": "The latent space",
}
_OF_SEQUENCES = {"reconstructions": "Test examples and their reconstructions"}
_STEPWISE = {"samples": "Samples: z from the prior, and each step drawn given those before it"}


@dataclass(frozen=True)
class RunRecord:
    """What the report says of a run.

    Attributes:
        name: of the spec.
        time: the name of the run's directory.
        data_name: of the data set.
        seed: of the run; pictures draw from a stream of it.
        spec: the resolved spec as YAML.
        records: those of ``metrics.jsonl``.
        environment: as ``environment.json`` holds it.
        evaluation: as ``evaluation.json`` holds it.
        model: the trained model.
        test: the test split.
        pictures: the folder that receives the pictures.
        page: the file that receives the page.
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
    test: Loader
    pictures: Path
    page: Path


def write_report(run: RunRecord) -> None:
    """Draws every picture that the data allows, then the page."""
    run.model.eval()
    batch = run.test.first(max(1, min(_MAP_POINTS, _NUMBERS // math.prod(run.model.data.shape))))
    with seeded(run.model.device, run.seed, "pictures"):
        drawn = {"curves": pictures.curves(run.records), **_data_pictures(run, batch)}
        with suppress(NotImplementedError):  # a posterior without a mean
            drawn["latents"] = _latents(run, batch)
    for name, png in drawn.items():
        write_bytes(run.pictures / f"{name}.png", png)
    write_text(run.page, page(run, drawn))


def _part(batch: Batch, count: int) -> Batch:
    return batch.part(0, min(count, len(batch)))


def _data_pictures(run: RunRecord, batch: Batch) -> dict[str, bytes]:
    model, few = run.model, _part(batch, 32)
    if model.data.is_sequence:
        return _sequence_pictures(run, few)
    rebuilt = model.reconstruct(few.x, few.condition, few.mask)
    if not pictures.is_image(model.data):
        return {"reconstructions": pictures.vectors(few.x.cpu().numpy(), rebuilt.cpu().numpy())}
    condition, columns = _conditions(run, batch)
    count = 100 if condition is None else len(condition)
    sheets = {
        "samples": (model.sample(count, condition, seed=run.seed), columns),
        "reconstructions": (pictures.pairs(few.x, rebuilt, 16), 16),
    }
    if model.conditioner is None and len(few) >= 16:
        with suppress(NotImplementedError):  # latents whose code is not one vector
            path = model.interpolate(few.x[:8], few.x[8:16], 12)
            sheets["interpolations"] = (path.flatten(0, 1), 12)
    with suppress(NotImplementedError):  # latents without a density, or several
        most = dimension_rates(model, few).argsort(descending=True)[:_TRAVERSED]
        sheets["traversals"] = (model.traverse(_part(batch, 1), most).flatten(0, 1), 11)
    return {
        name: pictures.grid(images, columns, pictures.zoom_for(images, columns))
        for name, (images, columns) in sheets.items()
    }


def _sequence_pictures(run: RunRecord, few: Batch) -> dict[str, bytes]:
    model, data, shown = run.model, run.model.data, _part(few, _SEQUENCES)
    condition, _ = _conditions(run, few)
    condition = None if condition is None else condition[:: max(1, len(condition) // _SEQUENCES)][:_SEQUENCES]
    steps = few.x.shape[1] if model.latents.stepwise else None
    count = _SEQUENCES if condition is None else len(condition)
    sampled = model.sample(count, condition, seed=run.seed, steps=steps)
    drawn = {"samples": sequences.picture(data, Batch(data.to_source_units(sampled), condition))}
    with model.inference():
        sites = model.infer_detached(few, 1).sites
    if any(site.mask is not None for site in sites):
        drawn["rates"] = sequences.rates(sites)
    try:
        z = model.encode(shown.x, shown.condition, shown.mask)
        rebuilt = model.decode(z, shown.condition, steps=steps)
        if (other := _of_one_kind(few)) is not None:
            one, two = few.part(0, 1), few.part(other, other + 1)
            path = model.interpolate(one.x, two.x, _SEQUENCES, one.condition, (one.mask, two.mask))
            drawn["interpolations"] = sequences.picture(data, Batch(data.to_source_units(path[0])))
    except NotImplementedError:  # latents whose code is not one vector, or that have none
        rebuilt = model.reconstruct(shown.x, shown.condition, shown.mask)
    shown = replace(shown, x=data.to_source_units(shown.x))
    drawn["reconstructions"] = sequences.picture(data, shown, data.to_source_units(rebuilt))
    return drawn


def _of_one_kind(few: Batch) -> int | None:
    """Another example that has the condition of the first."""
    for i in range(1, len(few)):
        if few.condition is None or torch.equal(few.condition[i], few.condition[0]):
            return i
    return None


def _remarks(run: RunRecord) -> list[str]:
    """Which latent variables of a model of sequences have collapsed, and what helps."""
    if not run.model.data.is_sequence:
        return []
    with run.model.inference():
        return sequences.remarks(run.model.infer_detached(run.test.first(32), 1).sites)


def _conditions(run: RunRecord, batch: Batch) -> tuple[Tensor | None, int]:
    """What the samples are conditioned on, and how many stand in a row: one class to a row where classes have names."""
    data = run.model.data
    if run.model.conditioner is None:
        return None, 10
    if data.classes and len(data.classes) <= 20:
        conditions, _ = parse(data, ALL, run.model.trained_classes)
        return conditions.repeat_interleave(10), 10
    return _part(batch, 100).condition, 10


def _latents(run: RunRecord, batch: Batch) -> bytes:
    means = run.model.encode(batch.x, batch.condition, batch.mask).cpu().numpy()
    labels = batch.condition.cpu().numpy() if run.model.data.classes and batch.condition is not None else None
    return pictures.latent_map(means, labels, run.model.data.classes)


def page(run: RunRecord, drawn: dict[str, bytes]) -> str:
    """The page as HTML that needs nothing beside itself."""
    from jinja2 import Environment

    source = resources.files("vaezoo.runs.report").joinpath("page.html.j2").read_text("utf-8")
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(source)
    captions = _CAPTIONS | (_OF_SEQUENCES if run.model.data.is_sequence else {})
    captions |= _STEPWISE if run.model.latents.stepwise else {}
    with torch.no_grad():
        parameters = sum(p.numel() for p in run.model.parameters())
    return template.render(
        name=run.name,
        run=run.time,
        evaluation=run.evaluation,
        rows=metric_rows(run.evaluation),
        facts=_facts(run, parameters),
        remarks=_remarks(run),
        pictures=[(said, base64.b64encode(drawn[name]).decode()) for name, said in captions.items() if name in drawn],
        spec=run.spec,
    )


def _facts(run: RunRecord, parameters: int) -> list[tuple[str, str]]:
    environment = run.environment
    validations = [record for record in run.records if record["split"] == "validation"]
    best = max((record for record in validations if record["best"]), key=lambda r: r["step"], default=None)
    data = run.model.data
    facts = [
        ("data", f"{run.data_name}, {' × '.join(map(str, data.shape))}, {data.support}"),
        ("parameters", f"{parameters:,}"),
        ("trained", f"{validations[-1]['step']:,} steps, {validations[-1]['epoch']:g} epochs" if validations else "-"),
        ("best on validation", f"step {best['step']:,}" if best else "-"),
        ("device", f"{environment['device']}, {environment['precision']}"),
        ("versions", f"vaezoo {environment['vaezoo']}, torch {environment['torch']}, Python {environment['python']}"),
    ]
    return facts

"""Draws the pictures of a run and writes its report.

Shapes in the comments: B examples, T steps, C channels, H x W pixels, D latent dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from vaezoo.data.batch import Batch
from vaezoo.data.conditions import ALL, parse_conditions
from vaezoo.data.dataspec import DataSpec
from vaezoo.data.format import Format
from vaezoo.evaluation.evaluate import MetricSpec
from vaezoo.evaluation.latent_space import dimension_rates
from vaezoo.evaluation.metric import Metric
from vaezoo.runs.file_formats import format_for
from vaezoo.runs.report import pictures, sequences
from vaezoo.runs.report.attempts import Attempts
from vaezoo.runs.report.data import ReportData
from vaezoo.runs.report.html import render_page
from vaezoo.runs.report.parts import draw_parts
from vaezoo.runs.report.series import series
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


def write_report(run: ReportData) -> None:
    """Writes all pictures that the model and the data allow, then the page.

    What cannot be drawn is left out; a warning and the page say so.
    """
    run.model.eval()
    attempts = Attempts(run.page)
    count = min(_MAX_LATENT_POINTS, _MAX_VALUES // run.model.data.dimensions)
    batch = run.examples.first(max(1, count))
    known = _picture_format(run.model.data)
    own: Mapping[str, tuple[str, bytes]] = {}
    with seeded(run.model.device, run.seed, "pictures"):
        if known is not None:
            own = (
                attempts.draw(
                    "the pictures of the data's plugin",
                    lambda: known.report_pictures(run.model, batch, run.seed),
                )
                or {}
            )
        drawn = {name: png for name, (_, png) in own.items()} or attempts.draw(
            "samples and reconstructions", lambda: _draw_data(run, batch)
        )
        curves = attempts.draw("the curves", lambda: pictures.curves(run.records))
        latents = attempts.draw("the latent space", lambda: _draw_latents(run, batch))
        metrics = attempts.draw("the series of metrics", lambda: series(run.evaluation))
    measured = _draw_metrics(run, attempts)
    of_metrics = {name: png for name, (_, png) in measured.items()}
    found = {"curves": curves, **(drawn or {}), "latents": latents, "metrics": metrics}
    found |= of_metrics
    files = {name: png for name, png in found.items() if png is not None}
    for name, png in files.items():
        write_bytes(run.pictures / f"{name}.png", png)
    own_captions, metric_captions = (
        {name: caption for name, (caption, _) in drawn_by.items()} for drawn_by in (own, measured)
    )
    failures = [f"Could not be drawn: {failure}." for failure in attempts.failures]
    write_text(run.page, render_page(run, files, own_captions, metric_captions, failures))


def _draw_metrics(run: ReportData, attempts: Attempts) -> dict[str, tuple[str, bytes]]:
    """The pictures of the metrics of the spec: a caption and a PNG by name."""

    def draw(spec: MetricSpec) -> Mapping[str, tuple[str, bytes]]:
        with run.model.inference(), seeded(run.model.device, run.seed, "pictures", spec.name):
            metric: Metric = spec.build()
            metric.training = run.training
            return metric.report_pictures(run.model, run.examples)

    found: dict[str, tuple[str, bytes]] = {}
    for spec in run.metrics:
        found |= attempts.draw(f"the pictures of {spec.name}", partial(draw, spec)) or {}
    return found


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


def _draw_latents(run: ReportData, batch: Batch) -> bytes | None:
    """The map of the latent space; None if the posterior has no mean."""
    data = run.model.data
    try:
        means = run.model.encode(batch).cpu().numpy()
    except NotImplementedError:
        return None
    if data.classes and batch.condition is not None:
        return pictures.latent_map(means, batch.condition.cpu().numpy(), data.classes)
    picture_format = _picture_format(data)
    known = None if picture_format is None else picture_format.point_labels(batch)
    _, labels, names = ("", None, ()) if known is None else known
    return pictures.latent_map(means, labels, names)

"""The HTML page of a report, with the facts of the run and the captions of its pictures."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from importlib import resources

import torch

from vaezoo.data.dataspec import DataSpec
from vaezoo.data.sizes import describe_examples
from vaezoo.evaluation.evaluate import metric_rows
from vaezoo.runs.report import sequences
from vaezoo.runs.report.data import ReportData
from vaezoo.runs.report.diagnostics import diagnose
from vaezoo.runs.report.parts import captions as part_captions

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
    "metrics": "Numbers behind metrics of the {split} split, with 95 % intervals",
}
_SEQUENCE_CAPTIONS = {"reconstructions": "{split} examples and their reconstructions"}
_STEPWISE_CAPTIONS = {
    "samples": "Samples: z from the prior, and each step sampled conditional on the previous steps"
}


def render_page(
    run: ReportData,
    files: Mapping[str, bytes],
    own_captions: Mapping[str, str] | None = None,
    metric_captions: Mapping[str, str] | None = None,
    failures: Sequence[str] = (),
) -> str:
    """Renders the page as HTML that refers to no other file.

    Args:
        run: the data of the report.
        files: the pictures as PNG, by name.
        own_captions: of the pictures that the data's plugin drew, by name.
        metric_captions: of those that metrics drew, which come last.
        failures: sentences about what could not be drawn.
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
    captions = {
        **(own_captions or {}),
        **captions,
        **(own_captions or {}),
        **(metric_captions or {}),
    }
    return environment.from_string(source).render(
        style=style(),
        name=run.name,
        run=run.time,
        evaluation=run.evaluation,
        rows=metric_rows(run.evaluation),
        facts=_facts(run),
        remarks=[*failures, *map(str, diagnose(run.records, run.evaluation)), *_remarks(run)],
        pictures=[
            (caption, base64.b64encode(files[name]).decode())
            for name, caption in captions.items()
            if name in files
        ],
        spec=run.spec,
    )


def style() -> str:
    """The style sheet of the page."""
    return resources.files("vaezoo.runs.report").joinpath("page.css").read_text("utf-8")


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

"""Markdown documentation of pretrained weights: the card of an entry and the gallery."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from vaezoo.pretrained.entry import FeaturesEntry, WeightsEntry

_MAX_METRICS = 12
_SPECIAL = re.compile(r"[\\`*_\[\]<>|&]")
"""What Markdown and HTML read as more than a character."""


def _text(text: str) -> str:
    """A text of an entry as Markdown that shows just these characters, also in a table."""
    return _SPECIAL.sub(
        lambda match: {"<": "&lt;", "&": "&amp;"}.get(match[0], f"\\{match[0]}"), text
    )


def _code(text: str) -> str:
    """A text of an entry as code in a table of Markdown."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}".replace("|", "\\|")


def short_name(weights: WeightsEntry | FeaturesEntry) -> str:
    """The name without the version: ``architecture-tag``."""
    return f"{weights.architecture}-{weights.tag}"


def metrics_table(weights: WeightsEntry) -> list[str]:
    """The metrics of an entry as the lines of a Markdown table."""
    lines = ["| metric | value | unit | examples |", "|---|---|---|---|"]
    for metric in weights.metrics[:_MAX_METRICS]:
        error = "" if metric.error is None else f" ± {metric.error:.3g}"
        value = f"{metric.value:.5g}{error}"
        if metric.retracted is not None:
            value = f"retracted: {_text(metric.retracted)}"
        samples = "" if metric.samples is None else f", {metric.samples:,} samples"
        examples = f"{metric.examples:,} {metric.split}{samples}"
        examples += f"; {_text(metric.note)}" if metric.note else ""
        name = _text(metric.name.replace("_", " "))
        lines.append(f"| {name} | {value} | {_text(metric.unit)} | {examples} |")
    return lines


def usage_example(weights: WeightsEntry, prefix: str = "") -> list[str]:
    """The lines of a Python example that loads an entry and samples from it."""
    name, condition = prefix + short_name(weights), ""
    if weights.status != "active":  # the name alone loads the newest version
        name += f"@{weights.version}"
    shape = None if weights.classes else weights.preprocessing.condition
    lines = ["```python", *(["import torch"] if shape else []), "import vaezoo", ""]
    if prefix:
        lines.append(
            "# the location of this registry: VAEZOO_REGISTRIES, or load(..., registry=...)"
        )
    if weights.classes:
        # what JSON writes for printable text is a literal of Python, too
        condition = (
            f", condition={json.dumps(weights.classes[-1], ensure_ascii=False, allow_nan=False)}"
        )
    elif shape:
        sizes = ", ".join(map(str, shape))
        lines += [
            "# in place of your images; `vaezoo sample --condition data` uses test examples",
            f"condition = torch.rand(16, {sizes})",
        ]
        condition = ", condition=condition"
    return [*lines, f'vaezoo.load("{name}").sample(16{condition})', "```"]


def card(weights: WeightsEntry, pictures: Sequence[str], prefix: str = "") -> str:
    """The card of an entry, in Markdown.

    Args:
        weights: the entry.
        pictures: the names, without ``.png``, of the images in the folder of the card.
        prefix: the prefix of its registry with the colon; empty for vaezoo's own.
    """
    training, preprocessing = weights.training, weights.preprocessing
    effort = f"{training.seconds / 60:.0f} min on {training.hardware}; {training.versions}"
    requires = ", ".join(map(_code, weights.requires))
    licence = f"weights {_text(weights.licence.weights)}; data {_text(weights.licence.data)}"
    shapes = {name: tuple(shape) for name, shape in preprocessing.parts.items()}
    shape = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    shape = _text(shape) or str(tuple(preprocessing.shape))
    lines = _headline(weights, prefix)
    if weights.status != "revoked":
        lines += [*usage_example(weights, prefix), ""]
    lines += [*metrics_table(weights), ""]
    for name in pictures:
        lines += [f"![{name}]({name}.png)", ""]
    lines += [
        "| | |",
        "|---|---|",
        f"| data | {_code(preprocessing.data)}, shape {shape}, {_text(preprocessing.support)} |",
        f"| output | {_text(preprocessing.output)} |",
        f"| requires | {requires} |",
        f"| trained with | {_code(training.command)}, {_text(effort)} |",
        f"| licence | {licence} |",
        f"| citation | {_text(weights.citation)} |",
        "",
        "Trained from [spec.yaml](spec.yaml); `vaezoo weights reproduce` trains it again and "
        "compares the metrics.",
    ]
    return "\n".join(lines) + "\n"


def _headline(weights: WeightsEntry | FeaturesEntry, prefix: str) -> list[str]:
    """The first lines of a card: title, id, size, and a status other than active."""
    parameters = f"{weights.tensors.parameters:,} parameters"
    lines = [
        f"# {_text(weights.title)}",
        "",
        f"`{weights.id}` · {weights.size:,} bytes · {parameters}",
        "",
    ]
    if weights.status != "active":
        reason = f": {_text(weights.reason)}" if weights.reason else ""
        successor = f"; use `{prefix}{weights.successor}`" if weights.successor else ""
        lines += [f"**{weights.status}**{reason}{successor}", ""]
    return lines


def features_card(features: FeaturesEntry, prefix: str = "") -> str:
    """The card of a feature extractor, in Markdown; ``prefix`` as for ``card``."""
    training, preprocessing = features.training, features.preprocessing
    effort = f"{training.seconds / 60:.0f} min on {training.hardware}; {training.versions}"
    name = prefix + short_name(features)
    if features.status != "active":  # the name alone loads the newest version
        name += f"@{features.version}"
    shape = ", ".join(map(str, preprocessing.shape))
    licence = f"weights {_text(features.licence.weights)}; data {_text(features.licence.data)}"
    component = json.dumps(features.component, ensure_ascii=False, allow_nan=False)
    lines = [
        *_headline(features, prefix),
        "A feature extractor, in whose space metrics compare examples.",
        "",
        "```python",
        "import vaezoo",
        "",
        f'features = vaezoo.load_features("{name}")  # maps [N, {shape}] to [N, D]',
        "```",
        "",
        "| | |",
        "|---|---|",
        f"| examples | shape ({shape}), {_text(preprocessing.support)} |",
        f"| component | {_code(component)} |",
        f"| requires | {', '.join(map(_code, features.requires))} |",
        f"| trained with | {_code(training.command)}, {_text(effort)} |",
        f"| licence | {licence} |",
        f"| citation | {_text(features.citation)} |",
    ]
    return "\n".join(lines) + "\n"


def gallery(entries: Iterable[WeightsEntry], pictures: dict[str, str]) -> str:
    """A Markdown page with a section for each active entry of a registry.

    Args:
        entries: the entries.
        pictures: the path of a sample image by entry id, for those entries that have one.
    """
    lines = ["# Gallery", "", "Generated from `registry.yaml` by `make docs`.", ""]
    for weights in entries:
        if weights.status != "active":
            continue
        lines += [
            f"## {_text(weights.title)}",
            "",
            f"`{weights.id}`, {weights.size / 1e6:.1f} MB",
            "",
        ]
        if weights.id in pictures:
            lines += [f"![samples of {weights.id}]({pictures[weights.id]})", ""]
        lines += [*usage_example(weights), "", *metrics_table(weights), ""]
    return "\n".join(lines).rstrip() + "\n"

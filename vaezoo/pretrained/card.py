"""What people read of an entry: its card in Markdown, and the gallery of a whole registry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vaezoo.pretrained.entry import WeightsEntry

_MOST = 12


def short(entry: WeightsEntry) -> str:
    """The name that is quickest to type."""
    return f"{entry.architecture}-{entry.tag}"


def metrics_table(entry: WeightsEntry) -> list[str]:
    """The figures of an entry as the rows of a table in Markdown."""
    rows = ["| metric | value | unit | examples |", "|---|---|---|---|"]
    for row in entry.metrics[:_MOST]:
        error = "" if row.error is None else f" ± {row.error:.3g}"
        samples = "" if row.samples is None else f", {row.samples:,} samples"
        measured = f"{row.examples:,} {row.split}{samples}"
        rows.append(f"| {row.name.replace('_', ' ')} | {row.value:.5g}{error} | {row.unit} | {measured} |")
    return rows


def use(entry: WeightsEntry, prefix: str = "") -> list[str]:
    """The lines of Python that load an entry and draw from it."""
    name, condition = prefix + short(entry), ""
    lines = ["```python", "import vaezoo", ""]
    if prefix:
        lines.append("# VAEZOO_REGISTRIES says where this registry is, or load(..., registry=...)")
    if entry.classes:
        condition = f', condition="{entry.classes[-1]}"'
    elif shape := entry.preprocessing.condition:
        lines.append(
            f"given = ...  # [16, {', '.join(map(str, shape))}]; vaezoo sample --condition data takes test examples"
        )
        condition = ", condition=given"
    return [*lines, f'vaezoo.load("{name}").sample(16{condition})', "```"]


def card(entry: WeightsEntry, pictures: Sequence[str], prefix: str = "") -> str:
    """The card of an entry.

    Args:
        entry: what it is about.
        pictures: names of those that lie beside it.
        prefix: what stands before its name, with the colon; for another registry than vaezoo's own.
    """
    training, takes = entry.training, entry.preprocessing
    made = f"{training.seconds / 60:.0f} min on {training.hardware}; {training.versions}"
    lines = [f"# {entry.title}", "", f"`{entry.id}` · {entry.size:,} bytes · {entry.tensors.parameters:,} numbers", ""]
    if entry.status != "active":
        reason = f": {entry.reason}" if entry.reason else ""
        instead = f"; use `{prefix}{entry.successor}`" if entry.successor else ""
        lines += [f"**{entry.status}**{reason}{instead}", ""]
    lines += [*([] if entry.status == "revoked" else [*use(entry, prefix), ""]), *metrics_table(entry), ""]
    for name in pictures:
        lines += [f"![{name}]({name}.png)", ""]
    lines += [
        "| | |",
        "|---|---|",
        f"| data | `{takes.data}`, one example {tuple(takes.shape)}, {takes.support} |",
        f"| output | {takes.output} |",
        f"| needs | {', '.join(f'`{each}`' for each in entry.requires)} |",
        f"| trained by | `{training.command}`, {made} |",
        f"| licence | weights {entry.licence.weights}; data {entry.licence.data} |",
        f"| cite | {entry.citation} |",
        "",
        "The spec that made it is [spec.yaml](spec.yaml); `vaezoo weights reproduce` trains it again and compares.",
    ]
    return "\n".join(lines) + "\n"


def gallery(entries: Iterable[WeightsEntry], pictures: dict[str, str]) -> str:
    """A page with a section for each entry.

    Args:
        entries: those of one registry.
        pictures: the address of each id's picture, where it has one.
    """
    lines = ["# Gallery", "", "Generated from `registry.yaml` by `make docs`.", ""]
    for entry in entries:
        if entry.status != "active":
            continue
        lines += [f"## {entry.title}", "", f"`{entry.id}`, {entry.size / 1e6:.1f} MB", ""]
        if entry.id in pictures:
            lines += [f"![samples of {entry.id}]({pictures[entry.id]})", ""]
        lines += [*use(entry), "", *metrics_table(entry), ""]
    return "\n".join(lines).rstrip() + "\n"

"""Commands that hand a model on: to a registry, or to other runtimes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vaezoo.cli.output import json_option, line_printer, print_json
from vaezoo.cli.shared import is_run_path, metric_errors, open_run, run_argument
from vaezoo.utils.errors import UsageError

if TYPE_CHECKING:
    from vaezoo.pretrained.registry import RegistryEntry


@click.command("publish")
@run_argument
@click.option(
    "--name", required=True, metavar="ID", help="architecture/tag@version, such as cvae/mnist@1."
)
@click.option(
    "--to",
    default=".",
    show_default=True,
    metavar="DIR|hf://OWNER/REPO",
    help="The folder or Hugging Face repository of the registry.",
)
@click.option("--title", help="A title in one line.  [default: the name of the spec]")
@click.option("--licence", help="Licence of the weights.  [default: Apache-2.0]")
@click.option("--data-licence", help="Licence of the training data.  [default: see the data set]")
@click.option("--citation", help="Citation of the method.  [default: see the spec]")
@click.option(
    "--half",
    is_flag=True,
    help="Store the weights of a run in half precision and evaluate them again.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="METRIC",
    help="For WEIGHTS: measure this metric instead of those in the spec. May be repeated.",
)
@click.option(
    "--retract",
    multiple=True,
    metavar="METRIC",
    help="For WEIGHTS: also retract the old value of this metric. May be repeated.",
)
@click.option("--reason", help="For WEIGHTS: why the old values of metrics are retracted.")
@json_option
@click.pass_context
def publish_command(
    ctx: click.Context,
    *,
    path: Path,
    name: str,
    to: str,
    title: str | None,
    licence: str | None,
    data_licence: str | None,
    citation: str | None,
    half: bool,
    metrics: tuple[str, ...],
    retract: tuple[str, ...],
    reason: str | None,
    as_json: bool,
) -> None:
    """Add RUN to a registry: weights, spec, a card with images, and an entry with the metrics.

    WEIGHTS of a registry are measured again and published under a new id. In the same registry
    they share the file of the weights, and old values that the new ones contradict are
    retracted. Texts that are not given are those of the old entry.
    """
    from vaezoo.pretrained.hub_files import SCHEME
    from vaezoo.runs import hub

    if "://" in to and not to.startswith(SCHEME):
        raise UsageError(f"--to {to}: must be a folder or {SCHEME}owner/repo")
    texts = {
        "title": title,
        "weights_licence": licence,
        "data_licence": data_licence,
        "citation": citation,
    }
    given = {key: text for key, text in texts.items() if text is not None}
    changed = None
    if is_run_path(path):
        if metrics or retract or reason:
            raise UsageError(
                "--metric, --retract and --reason are for pretrained weights; a run is published "
                f"with its own evaluation: vaezoo evaluate {path}"
            )
        add = _publish_run(path, name, given, half)
    elif half:
        raise UsageError("--half is for a run; weights that are published already never change")
    else:
        published = _find_published(path)
        changed = published.weights.id
        add = _publish_weights(
            published, name, given, metrics=metrics, retract=retract, reason=reason
        )
    if to.startswith(SCHEME):
        url = hub.upload(add, name, to, changed=changed)
        if as_json:
            print_json({"weights": name, "registry": url})
            return
        line_printer(ctx)(f"published {name}; vaezoo weights list --registry {url}")
        return
    entry = add(Path(to))
    if as_json:
        content = {"weights": entry.weights.id, "bytes": entry.weights.size}
        print_json({**content, "registry": str(entry.registry.origin)})
        return
    size = f"{entry.weights.size:,} bytes"
    line_printer(ctx)(f"published {entry.weights.id} in {entry.registry.origin}: {size}")


def _publish_run(
    path: Path, name: str, texts: Mapping[str, str], half: bool
) -> Callable[[Path], RegistryEntry]:
    """Opens a run; the result adds it to the registry in a folder."""
    from vaezoo.runs import opening
    from vaezoo.runs.directory import RunDirectory
    from vaezoo.runs.process_classes import check_public
    from vaezoo.runs.publishing import PublicationInfo, publish

    # before the run is opened, which would ask for classes that only Python can register
    check_public(RunDirectory.open(path))
    run = opening.open_run(path)
    info = PublicationInfo(
        title=texts.get("title", run.spec.name),
        weights_licence=texts.get("weights_licence", "Apache-2.0"),
        data_licence=texts.get("data_licence", "see the data set"),
        citation=texts.get("citation", "see the spec"),
    )
    return lambda folder: publish(run, name, folder, info, half=half)


def _find_published(path: Path) -> RegistryEntry:
    from vaezoo.pretrained.finding import find_entry

    try:
        return find_entry(str(path))
    except UsageError as error:
        raise UsageError(f"{path}: not a run, and {error}") from None


def _publish_weights(
    published: RegistryEntry,
    name: str,
    texts: Mapping[str, str],
    *,
    metrics: Sequence[str],
    retract: Sequence[str],
    reason: str | None,
) -> Callable[[Path], RegistryEntry]:
    """The result measures weights again and adds them to the registry in a folder."""
    from vaezoo.runs.republishing import republish
    from vaezoo.spec.tree import parse

    requested = [parse(metric, "--metric").plain() for metric in metrics]

    def add(folder: Path) -> RegistryEntry:
        with metric_errors():
            return republish(
                published,
                name,
                folder,
                metrics=requested,
                retract=retract,
                texts=texts,
                reason=reason,
            )

    return add


@click.command("export")
@run_argument
@click.option(
    "--format",
    "export_format",
    type=click.Choice(["onnx", "torch-export"]),
    default="onnx",
    show_default=True,
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="exported",
    show_default=True,
    help="A folder.",
)
@json_option
@click.pass_context
def export_command(
    ctx: click.Context, path: Path, export_format: str, out: Path, as_json: bool
) -> None:
    """Export the encoder and the decoder for other runtimes, with a variable batch size."""
    from vaezoo.model.export import export

    rows = []
    for file, difference in export(open_run(path, "cpu").model, export_format, out):
        line_printer(ctx)(f"wrote {file}; largest difference from vaezoo {difference:.1e}")
        rows.append({"file": str(file), "largest_difference": difference})
    if as_json:
        print_json({"run": str(path), "files": rows})

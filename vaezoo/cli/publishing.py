"""Commands that hand a model on: to a registry, or to other runtimes."""

from __future__ import annotations

from pathlib import Path

import click

from vaezoo.cli.output import line_printer
from vaezoo.cli.shared import open_run, run_argument
from vaezoo.utils.errors import UsageError


@click.command("publish")
@click.argument("path", type=click.Path(path_type=Path), metavar="RUN")
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
@click.option("--licence", default="Apache-2.0", show_default=True, help="Licence of the weights.")
@click.option(
    "--data-licence",
    default="see the data set",
    show_default=True,
    help="Licence of the training data.",
)
@click.option(
    "--citation", default="see the spec", show_default=True, help="Citation of the method."
)
@click.option(
    "--half", is_flag=True, help="Store the weights in half precision and evaluate them again."
)
@click.pass_context
def publish_command(
    ctx: click.Context,
    *,
    path: Path,
    name: str,
    to: str,
    title: str | None,
    licence: str,
    data_licence: str,
    citation: str,
    half: bool,
) -> None:
    """Add RUN to a registry: weights, spec, a card with images, and an entry with the metrics."""
    from vaezoo.runs import hub, opening
    from vaezoo.runs.directory import RunDirectory
    from vaezoo.runs.process_classes import check_public
    from vaezoo.runs.publishing import PublicationInfo, publish

    if "://" in to and not to.startswith(hub.SCHEME):
        raise UsageError(f"--to {to}: must be a folder or {hub.SCHEME}owner/repo")
    # before the run is opened, which would ask for classes that only Python can register
    check_public(RunDirectory.open(path))
    run = opening.open_run(path)
    info = PublicationInfo(
        title=title or run.spec.name,
        weights_licence=licence,
        data_licence=data_licence,
        citation=citation,
    )
    if to.startswith(hub.SCHEME):
        url = hub.publish(run, name, to, info, half=half)
        line_printer(ctx)(f"published {name}; vaezoo weights list --registry {url}")
        return
    entry = publish(run, name, Path(to), info, half=half)
    size = f"{entry.weights.size:,} bytes"
    line_printer(ctx)(f"published {entry.weights.id} in {entry.registry.origin}: {size}")


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
@click.pass_context
def export_command(ctx: click.Context, path: Path, export_format: str, out: Path) -> None:
    """Export the encoder and the decoder for other runtimes, with a variable batch size."""
    from vaezoo.model.export import export

    for file, difference in export(open_run(path, "cpu").model, export_format, out):
        line_printer(ctx)(f"wrote {file}; largest difference from vaezoo {difference:.1e}")

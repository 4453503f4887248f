"""Commands that hand a model on: to a registry, or to other runtimes."""

from __future__ import annotations

from pathlib import Path

import click

from vaezoo.cli.models import open_run, run_argument
from vaezoo.cli.output import line_printer
from vaezoo.utils.errors import UsageError


@click.command("publish")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--name", required=True, metavar="ID", help="architecture/tag@version, such as cvae/mnist@1.")
@click.option("--to", default=".", show_default=True, metavar="DIR|hf://OWNER/REPO", help="Where registry.yaml is.")
@click.option("--title", help="One line about it.  [default: the spec's name]")
@click.option("--licence", default="Apache-2.0", show_default=True, help="Of the weights.")
@click.option("--data-licence", default="see the data set", show_default=True, help="Of the training data.")
@click.option("--citation", default="see the spec", show_default=True, help="Of the method.")
@click.option("--half", is_flag=True, help="Store half precision, and measure again what is stored.")
@click.pass_context
def publish_command(
    ctx: click.Context,
    run: Path,
    name: str,
    to: str,
    title: str | None,
    licence: str,
    data_licence: str,
    citation: str,
    half: bool,
) -> None:
    """Add RUN to a registry: weights, spec, card with pictures, and an entry with its figures."""
    from vaezoo.runs import hub, opening
    from vaezoo.runs.publishing import About, publish

    if "://" in to and not to.startswith(hub.SCHEME):
        raise UsageError(f"--to {to}: a folder, or {hub.SCHEME}owner/repo")
    opened = opening.open_run(run)
    about = About(title or opened.spec.name, licence, data_licence, citation)
    if to.startswith(hub.SCHEME):
        place = hub.publish(opened, name, to, about, half=half)
        line_printer(ctx)(f"published {name}; vaezoo weights list --registry {place}")
        return
    published = publish(opened, name, Path(to), about, half=half)
    line_printer(ctx)(f"published {published.entry.id} in {published.registry.origin}: {published.entry.size:,} bytes")


@click.command("export")
@run_argument
@click.option("--format", "form", type=click.Choice(["onnx", "torch-export"]), default="onnx", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default="exported", show_default=True, help="A folder.")
@click.pass_context
def export_command(ctx: click.Context, run: Path, form: str, out: Path) -> None:
    """Write encoder and decoder of RUN for other runtimes, with any number of examples in a batch."""
    from vaezoo.model.export import export

    for path, difference in export(open_run(run, "cpu").model, form, out):
        line_printer(ctx)(f"wrote {path}; largest difference from vaezoo {difference:.1e}")

"""Commands about pretrained weights: what there is, fetching it, checking it, making it again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli.output import json_option, line_printer, print_json, print_to_stderr, table
from vaezoo.utils.errors import EXIT_OK, RegistryError, UnavailableError, UsageError, VaezooError

if TYPE_CHECKING:
    from vaezoo.pretrained.registries import RegistryEntry
    from vaezoo.runs.checking import Comparison


def _remember(ctx: click.Context, option: click.Parameter, value: tuple[str, ...]) -> None:
    """Lets registries count from here on, whatever asks for them."""
    if any("," in each for each in value):
        raise UsageError("--registry: a comma parts registries, so none may be in a path; repeat the option for more")
    for each in value:
        named = Path(each.partition("=")[2] or each).expanduser()
        if "://" not in each and not named.exists() and not Path(each).expanduser().exists():
            raise UnavailableError(f"--registry {each}: no such file or folder")
    if value:
        known = os.environ.get("VAEZOO_REGISTRIES", "")
        os.environ["VAEZOO_REGISTRIES"] = ",".join(filter(None, [known, *value]))


registry_option = click.option(
    "--registry",
    multiple=True,
    expose_value=False,
    callback=_remember,
    metavar="[PREFIX=]PATH|URL",
    help="One more registry of weights. May be repeated.",
)
name_argument = click.argument("name", metavar="WEIGHTS")


def found(name: str) -> RegistryEntry:
    """The entry that a name means."""
    from vaezoo.pretrained.registries import find

    return find(name)


def _everything() -> list[RegistryEntry]:
    from vaezoo.pretrained.registries import RegistryEntry, registries

    return [RegistryEntry(registry, entry) for registry in registries() for entry in registry.entries]


@click.group("weights")
def weights_command() -> None:
    """Pretrained weights: list, show, pull, verify, reproduce, gc."""


@weights_command.command("list")
@click.option("--plugin", help="Only what needs this package.")
@click.option("--data", help="Only what was measured on this data set.")
@click.option("--metric", help="Only what has this figure, which is then shown.")
@registry_option
@json_option
def list_command(plugin: str | None, data: str | None, metric: str | None, as_json: bool) -> None:
    """List the weights in reach."""
    from packaging.requirements import Requirement

    wanted = None if metric is None else metric.replace("-", "_")
    chosen = [
        each
        for each in _everything()
        if (plugin is None or plugin in [Requirement(text).name for text in each.entry.requires])
        and (data is None or data in [row.data for row in each.entry.metrics])
        and (wanted is None or wanted in [row.name for row in each.entry.metrics])
    ]
    if as_json:
        print_json({"weights": [_plain(each) for each in chosen]})
        return
    if not chosen:
        print_to_stderr("no weights are like that; vaezoo weights list shows all")
    rows = []
    for each in chosen:
        shown = [row for row in each.entry.metrics if wanted in (None, row.name)][:1]
        figure = f"{shown[0].name} {shown[0].value:.4g}" if shown else ""
        rows.append((each.name, each.entry.status, f"{each.entry.size / 1e6:.1f} MB", figure, each.entry.title))
    table(("weights", "status", "size", "figure", "what it is"), rows)


def _plain(each: RegistryEntry) -> dict[str, Any]:
    return {"name": each.name, **each.entry.model_dump(mode="json", exclude_none=True)}


@weights_command.command("show")
@name_argument
@registry_option
@json_option
def show_command(name: str, as_json: bool) -> None:
    """Show everything that is known of WEIGHTS."""
    from vaezoo.pretrained.card import card

    each = found(name)
    print_json(_plain(each)) if as_json else click.echo(card(each.entry, (), each.registry.prefixed("")), nl=False)


@weights_command.command("pull")
@click.argument("names", metavar="WEIGHTS...", nargs=-1, required=True)
@registry_option
@click.pass_context
def pull_command(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Fetch WEIGHTS, so that they load without the network."""
    from vaezoo.pretrained.loading import check_status, fetch

    for name in names:
        each = found(name)
        check_status(each)
        size = sum(len(fetch(each, file)) for file in each.entry.files)
        if each.entry.spec.inline is None:
            size += len(fetch(each, each.entry.spec.file))
        line_printer(ctx)(f"{each.name}: {size:,} bytes, verified")


@weights_command.command("verify")
@click.argument("names", metavar="[WEIGHTS...]", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that are listed and stand.")
@click.option("--metrics", is_flag=True, help="Measure every figure again, too.")
@registry_option
@click.pass_context
def verify_command(ctx: click.Context, names: tuple[str, ...], everything: bool, metrics: bool) -> int:
    """Hash WEIGHTS again and load them; with --metrics compare their figures within the stated error."""
    from vaezoo.runs.checking import remeasure, verify

    if bool(names) == everything:
        raise UsageError("name WEIGHTS, or say --all")
    chosen = [each for each in _everything() if each.entry.status != "revoked"] if everything else map(found, names)
    failed, rows, worst = 0, [], EXIT_OK
    for each in chosen:
        try:
            size = verify(each)
            compared = remeasure(each) if metrics else []
        except VaezooError as error:
            print_to_stderr(f"error: {each.name}: {str(error).removeprefix(f'{each.name}: ')}")
            failed, worst = failed + 1, max(worst, error.exit_code)
            continue
        rows += [(each.name, *cells) for cells in _cells(compared)]
        if not all(row.agrees for row in compared):
            failed, worst = failed + 1, max(worst, RegistryError.exit_code)
        line_printer(ctx)(
            f"{each.name}: {size:,} bytes as declared" + (f", figures: {len(compared)}" if metrics else "")
        )
    if rows:
        table(("weights", "figure", "recorded", "found", "allowed", ""), rows)
    if failed:
        print_to_stderr(f"error: {failed} failed")
    return worst


def _cells(compared: Sequence[Comparison]) -> list[tuple[str, ...]]:
    return [
        (
            row.name,
            f"{row.recorded:.6g}",
            "not defined" if row.found is None else f"{row.found:.6g}",
            f"± {row.allowed:.3g}",
            "agrees" if row.agrees else "DIFFERS",
        )
        for row in compared
    ]


@weights_command.command("reproduce")
@name_argument
@click.option("--out", type=click.Path(path_type=Path), default="runs", show_default=True, help="For the new run.")
@registry_option
@click.pass_context
def reproduce_command(ctx: click.Context, name: str, out: Path) -> int:
    """Train WEIGHTS again from the recorded spec and seed, and compare the figures."""
    from vaezoo.utils.allocator import tune_allocator

    tune_allocator()
    from vaezoo.runs.checking import reproduce

    again, compared = reproduce(found(name), out, line_printer(ctx))
    table(("figure", "recorded", "found", "allowed", ""), _cells(compared))
    line_printer(ctx)(f"the new run is {again.path}")
    return EXIT_OK if all(row.agrees for row in compared) else VaezooError.exit_code


@weights_command.command("gc")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@registry_option
@click.pass_context
def gc_command(ctx: click.Context, dry_run: bool) -> None:
    """Remove from the cache what no registry in reach lists, broken-off downloads and quarantine."""
    from vaezoo.pretrained.cache import Cache

    wanted = {file.sha256 for each in _everything() for file in (*each.entry.files, each.entry.spec.file)}
    size, unused = 0, Cache().unused(wanted)
    for path in unused:
        size += path.stat().st_size
        click.echo(str(path))
        if not dry_run:
            path.unlink()
    line_printer(ctx)(f"{'would remove' if dry_run else 'removed'} {len(unused)} files, {size:,} bytes")

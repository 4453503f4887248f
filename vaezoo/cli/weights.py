"""Commands about pretrained weights: list, show, pull, and clean the cache."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli.bottom_line import working
from vaezoo.cli.group import leave_to_main_process
from vaezoo.cli.output import echo, json_option, line_printer, print_json, print_to_stderr, table
from vaezoo.cli.registry_option import name_argument, registry_option
from vaezoo.cli.weights_checks import reproduce_command, verify_command
from vaezoo.utils.errors import (
    RegistryError,
    print_error,
)
from vaezoo.utils.exit_codes import EXIT_OK

if TYPE_CHECKING:
    from vaezoo.pretrained.index import Summary
    from vaezoo.pretrained.registry import Registry, RegistryEntry, RegistryFeatures


@click.group("weights")
@click.pass_context
def weights_command(ctx: click.Context) -> None:
    """List, show, pull, verify and reproduce pretrained weights."""
    if ctx.invoked_subcommand != "reproduce":
        leave_to_main_process(ctx)


@weights_command.command("list")
@click.option("--plugin", help="List only weights that need this package.")
@click.option("--data", help="List only weights that were evaluated on this data set.")
@click.option("--metric", help="List only weights with this metric, and print its value.")
@registry_option
@json_option
def list_command(plugin: str | None, data: str | None, metric: str | None, as_json: bool) -> int:
    """List the available weights: models, and feature extractors, which have no metrics."""
    from vaezoo.pretrained.registries import open_each

    metric = None if metric is None else metric.replace("-", "_")
    registries, failures = open_each()
    for _, error in failures:
        print_error(str(error))
    exit_code = max((error.exit_code for _, error in failures), default=EXIT_OK)
    listed = []
    for registry, kind, entry_id in _all_ids(registries):
        try:
            summary = registry.summary(entry_id)
        except RegistryError as error:
            print_error(str(error))
            exit_code = error.exit_code
            continue
        if _matches(summary, plugin, data, metric):
            listed.append((registry.qualify(entry_id), kind, summary))
    if as_json:
        rows = [
            {"name": name, "kind": kind, **summary.model_dump(mode="json")}
            for name, kind, summary in listed
        ]
        print_json({"weights": rows})
        return exit_code
    if not listed:
        print_to_stderr("no weights match these options; vaezoo weights list shows all")
    cells = []
    for name, kind, summary in listed:
        shown = [(key, value) for key, value in summary.metrics.items() if metric in (None, key)]
        value = f"{shown[0][0]} {shown[0][1]:.4g}" if shown else ""
        size = f"{summary.bytes / 1e6:.1f} MB"
        cells.append((name, kind, summary.status, size, value, summary.title))
    table(("weights", "kind", "status", "size", "metric", "title"), cells)
    return exit_code


def _all_ids(registries: Iterable[Registry]) -> Iterator[tuple[Registry, str, str]]:
    """The id of every entry, after its registry and its kind."""
    for registry in registries:
        yield from ((registry, "model", entry_id) for entry_id in registry.ids)
        yield from ((registry, "features", entry_id) for entry_id in registry.features_ids)


def _matches(summary: Summary, plugin: str | None, data: str | None, metric: str | None) -> bool:
    """Whether weights match the options of ``vaezoo weights list``; None matches all."""
    return (
        (plugin is None or plugin in summary.requires)
        and (data is None or data in summary.data)
        and (metric is None or metric in summary.metrics)
    )


def _as_json(entry: RegistryEntry | RegistryFeatures) -> dict[str, Any]:
    return {"name": entry.name, **entry.weights.model_dump(mode="json", exclude_none=True)}


@weights_command.command("show")
@name_argument
@registry_option
@json_option
def show_command(name: str, as_json: bool) -> None:
    """Show the card of WEIGHTS.

    The card has an example of use, metrics, training details, licences and a citation.
    """
    from vaezoo.pretrained.card import card, features_card
    from vaezoo.pretrained.finding import find_any
    from vaezoo.pretrained.registry import RegistryFeatures

    entry = find_any(name)
    prefix = entry.registry.qualify("")
    if as_json:
        print_json(_as_json(entry))
    elif isinstance(entry, RegistryFeatures):
        echo(features_card(entry.weights, prefix), nl=False)
    else:
        echo(card(entry.weights, (), prefix), nl=False)


@weights_command.command("pull")
@click.argument("names", metavar="WEIGHTS...", nargs=-1, required=True)
@registry_option
@json_option
@click.pass_context
def pull_command(ctx: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Download WEIGHTS for offline use."""
    from vaezoo.pretrained.fetching import fetch
    from vaezoo.pretrained.finding import find_any
    from vaezoo.pretrained.index import all_files
    from vaezoo.pretrained.loading import check_status

    rows = []
    for name in names:
        entry = find_any(name)
        check_status(entry)
        files = all_files(entry.weights)
        size = sum(file.size for file in files)
        with working(f"downloading {entry.name}, {size:,} bytes"):
            size = sum(len(fetch(entry.registry, file, entry.name)) for file in files)
        rows.append({"name": entry.name, "bytes": size})
        line_printer(ctx)(f"{entry.name}: {size:,} bytes, verified")
    if as_json:
        print_json({"weights": rows})


@weights_command.command("gc")
@click.option("--dry-run", is_flag=True, help="Only print what would be removed.")
@registry_option
@json_option
@click.pass_context
def gc_command(ctx: click.Context, dry_run: bool, as_json: bool) -> None:
    """Remove unused files from the cache.

    These are files that no available registry lists, interrupted downloads and the quarantine.
    """
    from vaezoo.pretrained.cache import Cache
    from vaezoo.pretrained.registries import open_registries

    used_hashes = {each for registry in open_registries() for each in registry.blobs()}
    size, unused = 0, Cache().unused(used_hashes)
    for path in unused:
        size += path.stat().st_size
        if not as_json:
            echo(str(path))
        if not dry_run:
            path.unlink()
    if as_json:
        files = [str(path) for path in unused]
        print_json({"removed": not dry_run, "files": files, "bytes": size})
        return
    action = "would remove" if dry_run else "removed"
    line_printer(ctx)(f"{action} {len(unused)} files, {size:,} bytes")


weights_command.add_command(verify_command)
weights_command.add_command(reproduce_command)

"""Commands about pretrained weights: list, show, pull, verify, reproduce, and clean the cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli.bottom_line import working
from vaezoo.cli.group import leave_to_main_process
from vaezoo.cli.output import echo, json_option, line_printer, print_json, print_to_stderr, table
from vaezoo.utils.errors import (
    RegistryError,
    UnavailableError,
    UsageError,
    VaezooError,
    describe_failure,
    print_error,
)
from vaezoo.utils.exit_codes import EXIT_OK
from vaezoo.utils.paths import expand_user

if TYPE_CHECKING:
    from vaezoo.pretrained.entry import WeightsEntry
    from vaezoo.pretrained.registries import RegistryEntry
    from vaezoo.runs.checking import Comparison


def _add_registries(ctx: click.Context, option: click.Parameter, value: tuple[str, ...]) -> None:
    """Adds registries to ``VAEZOO_REGISTRIES``, where every part of this process finds them."""
    if any("," in registry for registry in value):
        raise UsageError(
            "--registry: a path must not contain a comma; repeat the option for several registries"
        )
    for registry in value:
        path = expand_user(registry.partition("=")[2] or registry)
        if "://" not in registry and not path.exists() and not expand_user(registry).exists():
            raise UnavailableError(f"--registry {registry}: no such file or folder")
    if value:
        present = os.environ.get("VAEZOO_REGISTRIES", "")
        os.environ["VAEZOO_REGISTRIES"] = ",".join(filter(None, [present, *value]))


registry_option = click.option(
    "--registry",
    multiple=True,
    expose_value=False,
    callback=_add_registries,
    metavar="[PREFIX=]PATH|URL",
    help="Also use this registry of weights. May be repeated.",
)
name_argument = click.argument("name", metavar="WEIGHTS")


def _find_entry(name: str) -> RegistryEntry:
    from vaezoo.pretrained.registries import find_entry

    return find_entry(name)


def _all_entries() -> list[RegistryEntry]:
    from vaezoo.pretrained.registries import RegistryEntry, open_registries

    return [
        RegistryEntry(registry, weights)
        for registry in open_registries()
        for weights in registry.entries
    ]


def _openable_entries() -> tuple[list[RegistryEntry], list[tuple[str, VaezooError]]]:
    """The entries of all registries that can be opened; the prefix and error of the others."""
    from vaezoo.pretrained.registries import RegistryEntry, open_each

    registries, failures = open_each()
    entries = [
        RegistryEntry(registry, weights) for registry in registries for weights in registry.entries
    ]
    return entries, failures


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
    """List the available weights."""
    metric = None if metric is None else metric.replace("-", "_")
    openable, failures = _openable_entries()
    for _, error in failures:
        print_error(str(error))
    exit_code = max((error.exit_code for _, error in failures), default=EXIT_OK)
    entries = [entry for entry in openable if _matches(entry.weights, plugin, data, metric)]
    if as_json:
        print_json({"weights": [_as_json(entry) for entry in entries]})
        return exit_code
    if not entries:
        print_to_stderr("no weights match these options; vaezoo weights list shows all")
    rows = []
    for entry in entries:
        weights = entry.weights
        matches = [row for row in weights.stated_metrics if metric in (None, row.name)]
        value = f"{matches[0].name} {matches[0].value:.4g}" if matches else ""
        rows.append(
            (entry.name, weights.status, f"{weights.size / 1e6:.1f} MB", value, weights.title)
        )
    table(("weights", "status", "size", "metric", "title"), rows)
    return exit_code


def _matches(
    weights: WeightsEntry, plugin: str | None, data: str | None, metric: str | None
) -> bool:
    """Whether weights match the options of ``vaezoo weights list``; None matches all."""
    from packaging.requirements import Requirement

    return (
        (plugin is None or plugin in [Requirement(text).name for text in weights.requires])
        and (data is None or data in [row.data for row in weights.metrics])
        and (metric is None or metric in [row.name for row in weights.stated_metrics])
    )


def _as_json(entry: RegistryEntry) -> dict[str, Any]:
    return {"name": entry.name, **entry.weights.model_dump(mode="json", exclude_none=True)}


@weights_command.command("show")
@name_argument
@registry_option
@json_option
def show_command(name: str, as_json: bool) -> None:
    """Show the card of WEIGHTS.

    The card has an example of use, metrics, training details, licences and a citation.
    """
    from vaezoo.pretrained.card import card

    entry = _find_entry(name)
    if as_json:
        print_json(_as_json(entry))
    else:
        echo(card(entry.weights, (), entry.registry.qualify("")), nl=False)


@weights_command.command("pull")
@click.argument("names", metavar="WEIGHTS...", nargs=-1, required=True)
@registry_option
@json_option
@click.pass_context
def pull_command(ctx: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Download WEIGHTS for offline use."""
    from vaezoo.pretrained.loading import check_status, fetch

    rows = []
    for name in names:
        entry = _find_entry(name)
        check_status(entry)
        files = [*entry.weights.files]
        if entry.weights.spec.inline is None:
            files.append(entry.weights.spec.file)
        size = sum(file.size for file in files)
        with working(f"downloading {entry.name}, {size:,} bytes"):
            size = sum(len(fetch(entry, file)) for file in files)
        rows.append({"name": entry.name, "bytes": size})
        line_printer(ctx)(f"{entry.name}: {size:,} bytes, verified")
    if as_json:
        print_json({"weights": rows})


@weights_command.command("verify")
@click.argument("names", metavar="[WEIGHTS...]", nargs=-1)
@click.option(
    "--all", "verify_all", is_flag=True, help="Verify all listed weights that are not revoked."
)
@click.option("--metrics", is_flag=True, help="Also measure every metric again and compare.")
@registry_option
@json_option
@click.pass_context
def verify_command(
    ctx: click.Context, names: tuple[str, ...], verify_all: bool, metrics: bool, as_json: bool
) -> int:
    """Verify the hashes of WEIGHTS and load them.

    With --metrics, each metric must agree with the recorded value within its standard error.
    Values that were retracted are left out.
    """
    from vaezoo.runs.checking import remeasure, verify

    if bool(names) == verify_all:
        raise UsageError("give either the names of WEIGHTS or --all")
    entries, failures = _openable_entries() if verify_all else ([*map(_find_entry, names)], [])
    entries = [entry for entry in entries if names or entry.weights.status != "revoked"]
    failed, rows, exit_code = 0, [], EXIT_OK
    results: list[dict[str, Any]] = []

    def fail(name: str, error: Exception) -> None:
        nonlocal failed, exit_code
        code, text = describe_failure(error)
        reason = text.removeprefix(f"{name}: ")
        print_to_stderr(f"error: {name}: {reason}")
        results.append({"name": name, "verified": False, "error": reason})
        failed, exit_code = failed + 1, max(exit_code, code)

    for prefix, failure in failures:
        fail(f"registry {prefix}", failure)
    for entry in entries:
        try:
            with working(f"verifying {entry.name}"):
                size = verify(entry)
                comparisons = remeasure(entry) if metrics else []
        except Exception as error:  # whatever is wrong with one does not keep others unchecked
            fail(entry.name, error)
            continue
        result = {"name": entry.name, "verified": True, "bytes": size}
        results.append(result | ({"metrics": _as_rows(comparisons)} if metrics else {}))
        rows += [(entry.name, *cells) for cells in _comparison_rows(comparisons)]
        if not all(comparison.agrees for comparison in comparisons):
            failed, exit_code = failed + 1, max(exit_code, RegistryError.exit_code)
        retracted = len(entry.weights.metrics) - len(entry.weights.stated_metrics)
        suffix = f", metrics: {len(comparisons)}" if metrics else ""
        suffix += f", retracted: {retracted}" if metrics and retracted else ""
        line_printer(ctx)(f"{entry.name}: {size:,} bytes, verified{suffix}")
    if as_json:
        print_json({"weights": results})
    elif rows:
        table(("weights", *_COMPARISON_HEADINGS), rows)
    if failed:
        print_to_stderr(f"error: {failed} failed")
    return exit_code


_COMPARISON_HEADINGS = ("metric", "recorded", "measured", "tolerance", "result")


def _as_rows(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    return [
        {
            "metric": comparison.name,
            "recorded": comparison.recorded,
            "measured": comparison.measured,
            "tolerance": comparison.tolerance,
            "agrees": comparison.agrees,
        }
        for comparison in comparisons
    ]


def _comparison_rows(comparisons: Sequence[Comparison]) -> list[tuple[str, ...]]:
    return [
        (
            comparison.name,
            f"{comparison.recorded:.6g}",
            "not defined" if comparison.measured is None else f"{comparison.measured:.6g}",
            f"± {comparison.tolerance:.3g}",
            "agrees" if comparison.agrees else "DIFFERS",
        )
        for comparison in comparisons
    ]


@weights_command.command("reproduce")
@name_argument
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="runs",
    show_default=True,
    help="The folder in which to create the new run.",
)
@registry_option
@json_option
@click.pass_context
def reproduce_command(ctx: click.Context, name: str, out: Path, as_json: bool) -> int:
    """Train WEIGHTS again and compare the metrics.

    Training uses the recorded spec and seed.
    """
    from vaezoo.utils.allocator import tune_allocator

    tune_allocator()
    from vaezoo.runs.checking import reproduce

    run, comparisons = reproduce(_find_entry(name), out, line_printer(ctx))
    if as_json:
        print_json({"weights": name, "run": str(run.path), "metrics": _as_rows(comparisons)})
    else:
        table(_COMPARISON_HEADINGS, _comparison_rows(comparisons))
    line_printer(ctx)(f"the new run is {run.path}")
    return (
        EXIT_OK if all(comparison.agrees for comparison in comparisons) else VaezooError.exit_code
    )


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

    used_hashes = {
        file.sha256
        for entry in _all_entries()
        for file in (*entry.weights.files, entry.weights.spec.file)
    }
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

"""Commands that check pretrained weights: verify, and reproduce, which trains them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli.bottom_line import working
from vaezoo.cli.output import json_option, line_printer, print_json, print_to_stderr, table
from vaezoo.cli.registry_option import name_argument, registry_option
from vaezoo.utils.errors import RegistryError, UsageError, VaezooError, describe_failure
from vaezoo.utils.exit_codes import EXIT_OK

if TYPE_CHECKING:
    from vaezoo.pretrained.registry import RegistryEntry, RegistryFeatures
    from vaezoo.runs.checking import Comparison


@click.command("verify")
@click.argument("names", metavar="[WEIGHTS...]", nargs=-1)
@click.option(
    "--all", "verify_all", is_flag=True, help="Verify all listed weights that are not revoked."
)
@click.option("--metrics", is_flag=True, help="Also measure every metric again and compare.")
@registry_option
@json_option
def verify_command(
    *, names: tuple[str, ...], verify_all: bool, metrics: bool, as_json: bool
) -> int:
    """Verify the hashes of WEIGHTS and load them.

    With --metrics, each metric of a model must agree with the recorded value within its standard
    error. Values that were retracted are left out.
    """
    from vaezoo.pretrained.finding import find_any

    if bool(names) == verify_all:
        raise UsageError("give either the names of WEIGHTS or --all")
    checks = _Checks(metrics)
    if verify_all:
        entries, failures = _listed_entries()
        for prefix, failure in failures:
            checks.fail(f"registry {prefix}", failure)
    else:
        entries = [(name, partial(find_any, name)) for name in names]
    for name, read in entries:
        try:
            checks.check(name, read, skip_revoked=verify_all)
        except Exception as error:  # whatever is wrong with one does not keep others unchecked
            checks.fail(name, error)
    if as_json:
        print_json({"weights": checks.results})
    elif checks.rows:
        table(("weights", *_COMPARISON_HEADINGS), checks.rows)
    if checks.failed:
        print_to_stderr(f"error: {checks.failed} failed")
    return checks.exit_code


def _listed_entries() -> tuple[
    list[tuple[str, Callable[[], RegistryEntry | RegistryFeatures]]], list[tuple[str, VaezooError]]
]:
    """The names of all entries and how to read each; registries that cannot be opened."""
    from vaezoo.pretrained.registries import open_each, read_entry, read_features

    registries, failures = open_each()
    entries: list[tuple[str, Callable[[], RegistryEntry | RegistryFeatures]]] = []
    for registry in registries:
        for read, ids in ((read_entry, registry.ids), (read_features, registry.features_ids)):
            entries += [(registry.qualify(each), partial(read, registry, each)) for each in ids]
    return entries, failures


@dataclass
class _Checks:
    """What ``vaezoo weights verify`` found.

    Attributes:
        metrics: whether metrics are measured, too.
        results: a record of each entry, for JSON.
        rows: the cells of the table of metrics.
        failed: how many entries failed.
        exit_code: that of the worst failure.
    """

    metrics: bool
    results: list[dict[str, Any]] = field(default_factory=list)
    rows: list[tuple[str, ...]] = field(default_factory=list)
    failed: int = 0
    exit_code: int = EXIT_OK

    def check(
        self,
        name: str,
        read: Callable[[], RegistryEntry | RegistryFeatures],
        *,
        skip_revoked: bool,
    ) -> None:
        """Reads and verifies an entry."""
        from vaezoo.runs.checking import verify

        with working(f"verifying {name}"):
            entry = read()
            if skip_revoked and entry.weights.status == "revoked":
                return
            size = verify(entry)
            comparisons, retracted = self._measure(entry)
        result = {"name": entry.name, "verified": True, "bytes": size}
        self.results.append(result | ({"metrics": _as_rows(comparisons)} if self.metrics else {}))
        self.rows += [(entry.name, *cells) for cells in _comparison_rows(comparisons)]
        if not all(comparison.agrees for comparison in comparisons):
            self.failed += 1
            self._note(RegistryError.exit_code)
        suffix = f", metrics: {len(comparisons)}" if self.metrics else ""
        suffix += f", retracted: {retracted}" if self.metrics and retracted else ""
        print_to_stderr(f"{entry.name}: {size:,} bytes, verified{suffix}")

    def _measure(self, entry: RegistryEntry | RegistryFeatures) -> tuple[list[Comparison], int]:
        """The metrics of a model measured again, if asked for; how many are retracted."""
        from vaezoo.pretrained.registry import RegistryFeatures
        from vaezoo.runs.checking import remeasure

        if isinstance(entry, RegistryFeatures):  # which state no metrics
            return [], 0
        retracted = len(entry.weights.metrics) - len(entry.weights.stated_metrics)
        return remeasure(entry) if self.metrics else [], retracted

    def fail(self, name: str, error: Exception) -> None:
        """Reports an entry, or a registry, that cannot be verified."""
        code, text = describe_failure(error)
        reason = text.removeprefix(f"{name}: ")
        print_to_stderr(f"error: {name}: {reason}")
        self.results.append({"name": name, "verified": False, "error": reason})
        self.failed += 1
        self._note(code)

    def _note(self, code: int) -> None:
        """Keeps the exit code of the worst failure: damage is worse than what is missing."""
        codes = (self.exit_code, code)
        self.exit_code = max(codes, key=lambda each: (each == RegistryError.exit_code, each))


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


@click.command("reproduce")
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
    from vaezoo.pretrained.finding import find_entry
    from vaezoo.runs.checking import reproduce

    run, comparisons = reproduce(find_entry(name), out, line_printer(ctx))
    if as_json:
        print_json({"weights": name, "run": str(run.path), "metrics": _as_rows(comparisons)})
    else:
        table(_COMPARISON_HEADINGS, _comparison_rows(comparisons))
    line_printer(ctx)(f"the new run is {run.path}")
    return (
        EXIT_OK if all(comparison.agrees for comparison in comparisons) else VaezooError.exit_code
    )

"""``vaezoo bench``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vaezoo.cli.bottom_line import working
from vaezoo.cli.group import resume_by_same_command
from vaezoo.cli.output import (
    echo,
    json_option,
    line_printer,
    print_json,
    print_to_stderr,
    processes_option,
    retry_option,
    table,
)
from vaezoo.utils.errors import VaezooError
from vaezoo.utils.exit_codes import EXIT_OK
from vaezoo.utils.paths import shell_word

if TYPE_CHECKING:
    from vaezoo.bench.leaderboard import Row
    from vaezoo.runs.comparison.comparing import Comparison


@click.command("bench")
@click.argument("suite", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The folder of the runs and of the results.  [default: benches/NAME]",
)
@click.option(
    "-s",
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the suite, such as budget.cpu_minutes=30. May be repeated.",
)
@processes_option
@retry_option
@click.option(
    "--dry-run",
    "is_dry_run",
    is_flag=True,
    help="Check all specs and list the runs; write nothing.",
)
@click.option(
    "--record",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Also write the figures in the form of the files in docs/results.",
)
@json_option
@click.pass_context
def bench_command(
    ctx: click.Context,
    *,
    suite: Path,
    out: Path | None,
    overrides: tuple[str, ...],
    processes: int,
    retry: bool,
    is_dry_run: bool,
    record: Path | None,
    as_json: bool,
) -> int:
    """Run the specs, seeds and data of SUITE under one budget, and compare the results.

    Settings are chosen on the validation split; only chosen ones are measured on the test split.
    After an interruption or a kill, the same command goes on. A run that fails is reported, and
    the others go on; the command then ends with exit code 1.
    """
    from vaezoo.bench.cases import load_suite
    from vaezoo.bench.engine import Engine
    from vaezoo.bench.leaderboard import leaderboard
    from vaezoo.bench.pool import run_suite
    from vaezoo.bench.ranking import rank_rows, write_index
    from vaezoo.bench.records import write_record
    from vaezoo.cli.progress import suite_progress

    loaded, cases = load_suite(suite, overrides)
    folder = out or Path("benches") / loaded.name
    engine = Engine(loaded, cases, folder)
    engine.check()
    if is_dry_run:
        _print_plan(engine.plan(), as_json)
        return EXIT_OK
    resume_by_same_command()
    with suite_progress(ctx) as show:
        failures = run_suite(
            engine,
            processes=processes,
            retry=retry,
            print_line=line_printer(ctx),
            show=show,
        )
    rows = leaderboard(engine)
    with working("comparing"):
        comparison = rank_rows(rows)
        title = loaded.title or loaded.name
        page = None if comparison is None else write_index(comparison, folder, title)
    if record is not None:
        options = "".join(f" -s {shell_word(each)}" for each in overrides)
        write_record(record, loaded, rows, f"vaezoo bench {shell_word(suite)}{options}")
    if as_json:
        _print_as_json(folder, rows, comparison, failures, page)
    else:
        _print_results(folder, rows, comparison, page)
    for name, error in failures:
        print_to_stderr(f"failed: {name}: {error}")
    return VaezooError.exit_code if failures else EXIT_OK


def _print_plan(rows: Sequence[tuple[str, str, str]], as_json: bool) -> None:
    headings = ("case", "settings", "seeds")
    if as_json:
        print_json({"cases": [dict(zip(headings, row, strict=True)) for row in rows]})
    else:
        table(headings, rows)


def _print_as_json(
    folder: Path,
    rows: Sequence[Row],
    comparison: Comparison | None,
    failures: Sequence[tuple[str, str]],
    page: Path | None,
) -> None:
    from vaezoo.bench.ranking import best_cases

    print_json(
        {
            "bench": str(folder),
            "rows": [row.as_json() for row in rows],
            "best": best_cases(comparison),
            "claim": None if comparison is None else comparison.claim,
            "failures": [{"run": name, "error": error} for name, error in failures],
            "page": page and str(page),
        }
    )


def _print_results(
    folder: Path, rows: Sequence[Row], comparison: Comparison | None, page: Path | None
) -> None:
    from vaezoo.bench.ranking import best_cases
    from vaezoo.runs.comparison.tables import MARK

    _print_rows(rows, best_cases(comparison))
    if comparison is not None:
        echo(f"{MARK} {comparison.statement}")
    echo(f"bench   {folder}")
    if page is not None:
        echo(f"page    {page}")


def _print_rows(rows: Sequence[Row], best: Mapping[str, str]) -> None:
    """Prints a table of every metric: a line for each case, and marks the best of a metric."""
    from vaezoo.bench.leaderboard import format_spread
    from vaezoo.runs.comparison.tables import MARK

    def cell(row: Row, name: str) -> str:
        mark = MARK if row.name in best.get(name, "").split(" = ") else ""
        return f"{format_spread(row.values.get(name, ()))} {mark}".strip()

    names = list(dict.fromkeys(name for row in rows for name in row.values))
    headings = ("case", "setting", "seeds", "CPU s", *(name.replace("_", " ") for name in names))
    cells = [
        (
            row.name,
            row.setting,
            str(len(row.seeds)),
            f"{row.seconds:.0f}",
            *(cell(row, name) for name in names),
        )
        for row in rows
    ]
    if cells:
        table(headings, cells)
        echo("mean ± standard deviation over seeds, test split")

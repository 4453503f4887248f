"""Commands about spec files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from vaezoo.cli.output import (
    echo,
    json_option,
    line_printer,
    overrides_option,
    print_json,
    report_files,
)
from vaezoo.utils.errors import SpecError, UsageError, VaezooError, did_you_mean
from vaezoo.utils.exit_codes import EXIT_OK
from vaezoo.utils.paths import exists, shell_word

_KINDS = {
    "photos": "image-folder",
    "table": "table",
    "series": "sequences",
    "text": "text",
    "midi": "midi",
}
"""The kinds of files for which specs are written, and the data set of each."""


@click.command("validate")
@click.argument("specs", nargs=-1, required=True, type=click.Path(path_type=Path))
@overrides_option
@json_option
@click.pass_context
def validate_command(
    ctx: click.Context, specs: tuple[Path, ...], overrides: tuple[str, ...], as_json: bool
) -> int:
    """Check SPECS without running them; print the file, line and column of every problem."""
    from vaezoo.spec.load import load_spec

    code, results = EXIT_OK, []
    for path in specs:
        problems: list[dict[str, object]] = []
        try:
            load_spec(path, overrides)
            line_printer(ctx)(f"{path}: valid")
        except SpecError as error:
            code = code or error.exit_code
            problems = [vars(problem) for problem in error.problems]
            if not as_json:
                echo("\n".join(f"error: {problem}" for problem in error.problems), err=True)
        except VaezooError as error:
            code = code or error.exit_code
            problems = [{"file": str(path), "message": str(error)}]
            if not as_json:
                echo(f"error: {error}", err=True)
        results.append({"spec": str(path), "valid": not problems, "problems": problems})
    if as_json:
        print_json({"results": results})
    return code


@click.command("schema")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write to this file instead of stdout."
)
def schema_command(out: Path | None) -> None:
    """Print the JSON Schema of specs, including every installed component, for editors.

    Refer to it in the first line of a spec: # yaml-language-server: $schema=vaezoo.schema.json
    """
    from vaezoo.plugins.discovery import catalogue
    from vaezoo.spec.schema import json_schema
    from vaezoo.utils.files import write_text
    from vaezoo.utils.json_text import json_text

    text = json_text(json_schema(catalogue()), indent=2)
    if out is None:
        echo(text)
    else:
        write_text(out, text + "\n")


@click.group("new")
def new_command() -> None:
    """Create a new file from a template."""


@new_command.command("spec")
@click.argument("paths", nargs=-1, metavar="[SPEC] [DATA]", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "example",
    default="vae-digits",
    show_default=True,
    metavar="EXAMPLE|KIND",
    help=f"The name of the example to copy, or the kind of DATA: {', '.join(_KINDS)}.",
)
@json_option
@click.pass_context
def new_spec_command(
    ctx: click.Context, paths: tuple[Path, ...], example: str, as_json: bool
) -> None:
    """Create a spec as a copy of an example, or for files of your own.

    DATA is a file or a folder. The command looks at it, and writes a spec that works as it is,
    with a comment on each choice: vaezoo new spec people.csv --from table writes people.yaml,
    vaezoo new spec mine.yaml people.csv --from table writes mine.yaml. Without a kind of data, a
    copy of an example is written to SPEC, by default spec.yaml.
    """
    from vaezoo.utils.files import write_bytes, write_text
    from vaezoo.utils.packaged import examples

    path, data = _spec_and_data(paths, example)
    if exists(path):
        raise UsageError(f"{path} exists; choose another name")
    example_paths, next_command = examples(), f"vaezoo run {shell_word(path)}"
    if data is not None:
        write_text(path, _proposed(path, data, example))
        next_command += " --dry-run"
    elif example in example_paths:
        write_bytes(path, example_paths[example].read_bytes())
    else:
        hint = did_you_mean(example, [*example_paths, *_KINDS])
        raise UsageError(f"no example {example!r}{hint}")
    report_files(
        ctx, [path], f"try: {next_command}", as_json=as_json, content={"next": next_command}
    )


def _spec_and_data(paths: Sequence[Path], example: str) -> tuple[Path, Path | None]:
    """Where the spec is written, and the files that it is for.

    Raises:
        UsageError: there are too many paths, or none for a kind of data.
    """
    kinds = ", ".join(_KINDS)
    if example not in _KINDS:
        if len(paths) > 1:
            raise UsageError(f"{paths[1]}: say with --from what it holds: {kinds}")
        path = paths[0] if paths else Path("spec.yaml")
        if exists(path) and path.suffix not in (".yaml", ".yml"):
            raise UsageError(
                f"{path} exists; for a spec of it, say with --from what it is: {kinds}"
            )
        return path, None
    if len(paths) > 2:
        raise UsageError(f"--from {example}: takes SPEC and DATA")
    if not paths:
        raise UsageError(f"--from {example}: name the file or folder to look at")
    data = paths[-1]
    name = data.resolve().name.partition(".")[0] or "spec"
    return (paths[0] if len(paths) == 2 else Path(f"{name}.yaml")), data


def _proposed(path: Path, data: Path, kind: str) -> str:
    """The text of a spec for the files of a user."""
    from vaezoo.plugins.discovery import catalogue
    from vaezoo.spec.proposed import commented_yaml

    if not exists(data):
        raise UsageError(f"{data}: no such file or folder")
    cls: Any = catalogue().find("dataset", _KINDS[kind]).load()
    try:
        return commented_yaml(path.stem, data, cls.propose(data))
    except NotImplementedError as error:
        raise UsageError(f"--from {kind}: {error}") from error

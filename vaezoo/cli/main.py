"""The ``vaezoo`` command. torch is imported only when a command needs it."""

from __future__ import annotations

import importlib
import io
import os
import sys
import threading
import warnings
from functools import partial
from typing import Any

import click

from vaezoo.cli.group import (
    TRAINING_COMMANDS,
    end,
    leave_to_main_process,
    rank,
    silence_others,
)
from vaezoo.utils import own_process
from vaezoo.utils.errors import (
    UsageError,
    describe_failure,
    one_line,
    print_error,
    printable,
    printable_lines,
)
from vaezoo.utils.exit_codes import EXIT_INTERRUPTED, EXIT_OK

_COMMANDS = {
    "run": "running",
    "resume": "running",
    "sweep": "sweep",
    "bench": "bench",
    "runs": "runs",
    "compare": "comparison",
    "evaluate": "evaluate",
    "sample": "sample",
    "reconstruct": "reconstruct",
    "impute": "imputation",
    "encode": "latents",
    "interpolate": "latents",
    "traverse": "latents",
    "classify": "scoring",
    "score": "scoring",
    "weights": "weights",
    "publish": "publishing",
    "export": "publishing",
    "validate": "specs",
    "schema": "specs",
    "new": "specs",
    "list": "components",
    "show": "components",
    "plugins": "components",
}
"""The module of each command."""
_SUMMARIES = {
    "run": "Train and evaluate the model that a spec describes, and draw pictures.",
    "resume": "Resume a run from its last checkpoint.",
    "sweep": "Run a spec with different option values and compare the results.",
    "bench": "Run a suite of specs, seeds and data under one budget, and compare them.",
    "runs": "List runs with their state and their figures.",
    "compare": "Compare runs and pretrained weights in one table or page.",
    "evaluate": "Evaluate a model on a split of its data or on files of your own.",
    "sample": "Generate new examples with a model.",
    "reconstruct": "Reconstruct examples, or translate them to other conditions.",
    "impute": "Fill what is missing in the examples of a file.",
    "encode": "Write the posterior means of examples.",
    "interpolate": "Interpolate between two examples in the latent space.",
    "traverse": "Vary one latent dimension at a time.",
    "classify": "Classify examples by Bayes' rule.",
    "score": "Compute an anomaly score for each example.",
    "weights": "List, show, pull, verify and reproduce pretrained weights.",
    "publish": "Add a run to a registry of pretrained weights.",
    "export": "Export encoder and decoder as ONNX or torch.export programs.",
    "validate": "Check specs without running them.",
    "schema": "Print the JSON Schema of specs, for editors.",
    "new": "Create a new file from a template.",
    "list": "List the components that specs can name.",
    "show": "Show a component and its options.",
    "plugins": "List the installed plugins and their status.",
}


class _Commands(click.Group):
    """Imports the module of a command only when it is called; ``--help`` needs only summaries."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"vaezoo.cli.{_COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        _add_shared_options(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from vaezoo.utils.errors import did_you_mean

            raise click.UsageError(
                f"no command {args[0]!r}{did_you_mean(args[0], _COMMANDS)}", ctx
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_SUMMARIES.items()))


def _store_flag(ctx: click.Context, option: click.Parameter, value: bool) -> None:
    state = ctx.ensure_object(dict)
    state[option.name] = value or state.get(option.name, False)
    if own_process.is_installed:
        own_process.shows_tracebacks = state.get("verbose", False)


def _disable_plugins(ctx: click.Context, option: click.Parameter, names: tuple[str, ...]) -> None:
    if names:
        disabled = os.environ.get("VAEZOO_DISABLE_PLUGINS", "")
        os.environ["VAEZOO_DISABLE_PLUGINS"] = ",".join(filter(None, [disabled, *names]))


def _add_shared_options(command: click.Command) -> None:
    """Adds the options that ``vaezoo`` and all of its commands take, before and behind a name."""
    if any(option.name == "verbose" for option in command.params):
        return
    command.params += [
        click.Option(
            [f"-{name[0]}", f"--{name}"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_store_flag,
            help=help_text,
        )
        for name, help_text in (
            ("quiet", "Print only results and errors."),
            ("verbose", "Print the traceback of errors."),
        )
    ]
    command.params.append(
        click.Option(
            ["--no-plugin"],
            multiple=True,
            metavar="NAME",
            expose_value=False,
            is_eager=True,  # before other options look for plugins
            callback=_disable_plugins,
            help="Disable a plugin. May be repeated.",
        )
    )
    for nested in getattr(command, "commands", {}).values():
        _add_shared_options(nested)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vaezoo")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """A plugin-based model zoo for variational autoencoders."""
    trains_together = ctx.invoked_subcommand in TRAINING_COMMANDS
    state = ctx.ensure_object(dict)
    state.update(quiet=state["quiet"] or rank() > 0, trains_together=trains_together)
    if not trains_together:
        leave_to_main_process(ctx)


_add_shared_options(cli)


def _print_warning(printed: set[str], message: Warning | str, *_: object, **__: object) -> None:
    """Prints a warning once: a file may be read several times."""
    from vaezoo.cli.output import print_to_stderr

    text = printable(one_line(message))
    if text not in printed:
        print_to_stderr(f"warning: {text}")
    printed.add(text)


def main(args: list[str] | None = None) -> None:
    """Runs the command line and exits with its exit code.

    Args:
        args: the arguments of a caller whose process this is; by default those of the process,
            which is then the command's own (``utils.own_process``).
    """
    if args is None:
        own_process.install()
        threading.excepthook = own_process.report_thread
    warnings.showwarning = partial(_print_warning, set())
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of people's files may hold anything
        sys.stdout.reconfigure(errors="backslashreplace")
    state: dict[str, Any] = {"trains_together": False}
    try:
        with silence_others(), own_process.Working():
            code, message = _call(args, state)
        code = end(code, message, state["trains_together"])
    except UsageError as error:  # of the environment variables of a launcher
        code = error.exit_code
        print_error(str(error))
    sys.exit(_flush(code))


def _flush(code: int) -> int:
    """Writes what stdout still holds; returns the exit code, which is 1 if that fails."""
    try:
        sys.stdout.flush()
    except OSError as error:  # Python would report it once more, when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if not isinstance(error, BrokenPipeError):
            print_error(f"stdout: {error.strerror or error}")
        return code or 1
    return code


def _call(args: list[str] | None, state: dict[str, Any]) -> tuple[int, str]:
    """Runs the command line; returns its exit code and the message of its error, if any.

    Args:
        args: the arguments; by default those of this process.
        state: the object of the click context.
    """
    try:
        result: Any = cli.main(args, prog_name="vaezoo", standalone_mode=False, obj=state)
        return (result if isinstance(result, int) else EXIT_OK), ""
    except click.exceptions.Abort as error:  # which click makes of a KeyboardInterrupt
        return EXIT_INTERRUPTED, str(error.__cause__ or "") or "interrupted"
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code, ""
    except click.ClickException as error:
        return error.exit_code, error.format_message()
    except (Exception, KeyboardInterrupt) as error:
        if state.get("verbose", False):
            import traceback

            sys.stderr.write(printable_lines(traceback.format_exc()))
        return describe_failure(error)

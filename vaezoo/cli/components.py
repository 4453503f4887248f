"""Commands about components and plugins."""

from __future__ import annotations

from typing import Any

import click

from vaezoo.cli.output import json_option, print_json, table
from vaezoo.plugins.kinds import KINDS
from vaezoo.utils.errors import EXIT_OK, PluginError, UsageError, did_you_mean


def _kind(name: str) -> str:
    if name not in KINDS:
        raise UsageError(f"no kind {name!r}{did_you_mean(name, KINDS)}")
    return name


@click.command("list")
@click.argument("kind", required=False)
@json_option
def list_command(kind: str | None, as_json: bool) -> None:
    """List the components that specs can name, all of them or one KIND."""
    from vaezoo.plugins.discovery import catalogue

    found = list(catalogue().all(_kind(kind) if kind else None))
    if as_json:
        print_json({"components": [{"kind": e.kind, "name": e.name, "plugin": e.plugin} for e in found]})
        return
    table(("kind", "name", "plugin"), [(entry.kind, entry.name, entry.plugin) for entry in found])


@click.command("show")
@click.argument("kind")
@click.argument("name")
@json_option
def show_command(kind: str, name: str, as_json: bool) -> None:
    """Show the component NAME of a KIND: what it is, its options, their defaults."""
    from vaezoo.spec.reference import describe

    found = describe(_kind(kind), name)
    if as_json:
        print_json(found)
        return
    click.echo(f"{found['kind']} {found['name']}  (plugin {found['plugin']}, {found['class']})\n")
    click.echo(found["summary"] + "\n")
    if not found["options"]:
        click.echo("It has no options.")
        return
    rows = [(o["name"], o["type"], o["default"], o["description"]) for o in found["options"]]
    table(("option", "type", "default", "what it does"), rows)


@click.group("plugins", invoke_without_command=True)
@click.pass_context
def plugins_command(ctx: click.Context) -> None:
    """List the installed plugins and their state."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(plugins_list_command, as_json=False)


def _row(info: Any) -> dict[str, Any]:
    components = [f"{entry.kind} {entry.name}" for entry in info.entries]
    row = {"name": info.name, "version": info.version, "status": info.status, "reason": info.reason}
    return row | {"components": components}


@plugins_command.command("list")
@json_option
def plugins_list_command(as_json: bool) -> None:
    """List the installed plugins and their state."""
    from vaezoo.plugins.discovery import catalogue

    rows = [_row(info) for info in catalogue().plugins]
    if as_json:
        print_json({"plugins": rows})
        return
    cells = [(r["name"], r["version"], r["status"], r["reason"] or f"{len(r['components'])} components") for r in rows]
    table(("plugin", "version", "status", "remark"), cells)


@plugins_command.command("info")
@click.argument("name")
@json_option
def plugins_info_command(name: str, as_json: bool) -> None:
    """Show what one plugin brings."""
    from vaezoo.plugins.discovery import catalogue

    known = {info.name: info for info in catalogue().plugins}
    if name not in known:
        raise PluginError(f"no plugin {name!r}{did_you_mean(name, known)}")
    row = _row(known[name])
    if as_json:
        print_json(row)
        return
    click.echo(f"{row['name']} {row['version']}: {row['status']}" + (f", {row['reason']}" if row["reason"] else ""))
    for component in row["components"]:
        click.echo(f"  {component}")


@plugins_command.command("doctor")
def plugins_doctor_command() -> int:
    """Import every component of every plugin; exit with 6 where one is out of order."""
    from vaezoo.plugins.discovery import catalogue
    from vaezoo.spec.options import options_model

    found = catalogue()
    faults = [f"plugin {info.name!r} is {info.status}: {info.reason}" for info in found.plugins if info.reason]
    faults = [fault for fault in faults if " is disabled: " not in fault]
    for entry in found.all():
        try:
            options_model(entry.load())
        except PluginError as error:
            faults.append(str(error))
    for (kind, name), entries in found.entries.items():
        if len(entries) > 1:
            owners = ", ".join(entry.plugin for entry in entries)
            faults.append(f"{kind} {name!r} is claimed by {owners}; specs must say plugin:name")
    for fault in faults:
        click.echo(f"error: {fault}", err=True)
    if not faults:
        click.echo(f"{len(found.plugins)} plugins, {sum(map(len, found.entries.values()))} components: all in order")
    return PluginError.exit_code if faults else EXIT_OK

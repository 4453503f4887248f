"""Commands about components and plugins."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import click

from vaezoo.cli.output import echo, json_option, print_json, table
from vaezoo.plugins.kinds import KINDS
from vaezoo.utils.errors import PluginError, UsageError, did_you_mean
from vaezoo.utils.exit_codes import EXIT_OK


def _check_kind(name: str) -> str:
    if name not in KINDS:
        raise UsageError(f"no kind {name!r}{did_you_mean(name, KINDS)}")
    return name


@click.command("list")
@click.argument("kind", required=False)
@json_option
def list_command(kind: str | None, as_json: bool) -> None:
    """List the components that specs can name: all of them, or those of one KIND."""
    from vaezoo.plugins.discovery import catalogue

    entries = list(catalogue().all(_check_kind(kind) if kind else None))
    if as_json:
        rows = [
            {"kind": entry.kind, "name": entry.name, "plugin": entry.plugin} for entry in entries
        ]
        print_json({"components": rows})
        return
    table(
        ("kind", "name", "plugin"), [(entry.kind, entry.name, entry.plugin) for entry in entries]
    )


@click.command("show")
@click.argument("kind")
@click.argument("name")
@json_option
def show_command(kind: str, name: str, as_json: bool) -> None:
    """Show the component NAME of a KIND: a summary, its options and their defaults."""
    from vaezoo.spec.reference import describe

    component = describe(_check_kind(kind), name)
    if as_json:
        print_json(component)
        return
    source = f"plugin {component['plugin']}, {component['class']}"
    echo(f"{component['kind']} {component['name']}  ({source})\n")
    echo(component["summary"] + "\n")
    if not component["options"]:
        echo("It has no options.")
        return
    rows = [
        (option["name"], option["type"], option["default"], option["description"])
        for option in component["options"]
    ]
    table(("option", "type", "default", "description"), rows)


@click.group("plugins", invoke_without_command=True)
@json_option
@click.pass_context
def plugins_command(ctx: click.Context, as_json: bool) -> None:
    """List the installed plugins and their status."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(plugins_list_command, as_json=as_json)
    elif as_json:
        raise UsageError(f"--json: write it after {ctx.invoked_subcommand}")


def _plugin_row(info: Any) -> dict[str, Any]:
    components = [f"{entry.kind} {entry.name}" for entry in info.entries]
    row = {
        "name": info.name,
        "version": info.version,
        "status": info.status,
        "reason": info.reason,
    }
    return row | {"components": components}


@plugins_command.command("list")
@json_option
def plugins_list_command(as_json: bool) -> None:
    """List the installed plugins and their status."""
    from vaezoo.plugins.discovery import catalogue

    rows = [_plugin_row(info) for info in catalogue().plugins]
    if as_json:
        print_json({"vaezoo": version("vaezoo"), "plugins": rows})
        return
    cells = [
        (
            row["name"],
            row["version"],
            row["status"],
            row["reason"] or f"{len(row['components'])} components",
        )
        for row in rows
    ]
    table(("plugin", "version", "status", "remark"), cells)


@plugins_command.command("info")
@click.argument("name")
@json_option
def plugins_info_command(name: str, as_json: bool) -> None:
    """Show the components of one plugin."""
    from vaezoo.plugins.discovery import catalogue

    plugins = {info.name: info for info in catalogue().plugins}
    if name not in plugins:
        raise PluginError(f"no plugin {name!r}{did_you_mean(name, plugins)}")
    row = _plugin_row(plugins[name])
    if as_json:
        print_json(row)
        return
    reason = f", {row['reason']}" if row["reason"] else ""
    echo(f"{row['name']} {row['version']}: {row['status']}{reason}")
    for component in row["components"]:
        echo(f"  {component}")


@plugins_command.command("doctor")
@json_option
def plugins_doctor_command(as_json: bool) -> int:
    """Import every component of every plugin; exit with code 6 if one is broken."""
    from vaezoo.plugins.discovery import catalogue
    from vaezoo.spec.options import load_component

    installed = catalogue()
    faults = [
        f"plugin {info.name!r} is {info.status}: {info.reason}"
        for info in installed.plugins
        if info.reason
    ]
    faults = [fault for fault in faults if " is disabled: " not in fault]
    for entry in installed.all():
        try:
            load_component(entry)
        except PluginError as error:
            faults.append(str(error))
    for (kind, name), entries in installed.entries.items():
        if len(entries) > 1 and kind != "format":  # which the data chooses, not a spec
            owners = ", ".join(entry.plugin for entry in entries)
            faults.append(
                f"{kind} {name!r} is provided by {owners}; specs must write plugin:{name}"
            )
    components = sum(map(len, installed.entries.values()))
    if as_json:
        counts = {"plugins": len(installed.plugins), "components": components}
        print_json({**counts, "faults": faults})
    for fault in faults:
        echo(f"error: {fault}", err=True)
    if not faults and not as_json:
        echo(f"{len(installed.plugins)} plugins, {components} components: all in order")
    return PluginError.exit_code if faults else EXIT_OK

"""The option and the argument of commands about pretrained weights."""

from __future__ import annotations

import os

import click

from vaezoo.utils.errors import UnavailableError, UsageError
from vaezoo.utils.paths import exists, expand_user


def _add_registries(ctx: click.Context, option: click.Parameter, value: tuple[str, ...]) -> None:
    """Adds registries to ``VAEZOO_REGISTRIES``, where every part of this process finds them."""
    if any("," in registry for registry in value):
        raise UsageError(
            "--registry: a path must not contain a comma; repeat the option for several registries"
        )
    for registry in value:
        path = expand_user(registry.partition("=")[2] or registry)
        if "://" not in registry and not exists(path) and not exists(expand_user(registry)):
            raise UnavailableError(f"--registry {registry}: no such file or folder")
    if value:
        present = os.environ.get("VAEZOO_REGISTRIES", "")
        os.environ["VAEZOO_REGISTRIES"] = ",".join(filter(None, [present, *value]))


registry_option = click.option(
    "--registry",
    multiple=True,
    expose_value=False,
    is_eager=True,  # before an argument is looked up in them
    callback=_add_registries,
    metavar="[PREFIX=]PATH|URL",
    help="Also use this registry of weights. May be repeated.",
)
name_argument = click.argument("name", metavar="WEIGHTS")

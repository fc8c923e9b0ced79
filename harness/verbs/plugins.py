"""Verbs about what can be plugged together."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.options import Json, Plugins
from harness.verbs.shared import open_registry


def list_plugins(context: typer.Context, plugin: Plugins = None, as_json: Json = False) -> None:
    """List what there is: kind, name, where from, one line."""
    if context.invoked_subcommand is not None:
        return
    from harness import catalogue, tables

    registry = open_registry(plugin)
    if as_json:
        tables.print_json(catalogue.listing(registry))
    else:
        tables.print_listing(registry)


def show_plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A component's name.")],
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Show a component: signature, defaults, search space, citation."""
    from harness import catalogue, tables

    details = catalogue.details(open_registry(plugin), name)
    if as_json:
        tables.print_json({"components": details})
    else:
        tables.print_details(details)

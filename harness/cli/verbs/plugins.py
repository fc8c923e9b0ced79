"""Verbs about what can be plugged together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.cli.option_values import find_device
from harness.cli.options import (
    DataRoot,
    DatasetOptions,
    Device,
    Json,
    Plugins,
    complete_names,
)
from harness.cli.output import say
from harness.cli.verbs.shared import open_registry


def list_plugins(context: typer.Context, plugin: Plugins = None, as_json: Json = False) -> None:
    """List every component: its kind, its name, its origin and one line about it."""
    if context.invoked_subcommand is not None:
        return
    from harness.cli import catalogue, component_listing, tables

    registry = open_registry(plugin)
    if as_json:
        tables.print_json(catalogue.listing(registry))
    else:
        component_listing.print_listing(registry)


def show_plugin(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="This is the name of a dataset, model, loss, metric, recipe, observer or executor.",
            autocompletion=complete_names(),
        ),
    ],
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Show a component: what it is, its parameters with types and defaults, what is searched, what to cite."""
    from harness.cli import catalogue, component_listing, tables

    details = catalogue.details(open_registry(plugin), name)
    if as_json:
        tables.print_json({"components": details})
    else:
        component_listing.print_details(details)


def new_plugin(
    kind: Annotated[
        Literal["model", "loss", "metric", "dataset", "recipe", "executor"],
        typer.Argument(help="This is what the plugin offers."),
    ],
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="This is the plugin's name in small letters, digits and hyphens, such as my-net."
        ),
    ],
    package: Annotated[
        bool,
        typer.Option(
            "--package", help="Write a package that can be installed, with tests and CI, instead of one file."
        ),
    ] = False,
) -> None:
    """Write a commented plugin that works as it stands and is yours to change. Nothing is overwritten."""
    from harness.testing import scaffold

    skeleton = scaffold.make_skeleton(kind, name, open_registry(()), package=package)
    scaffold.write(skeleton)
    for text in (*(f"wrote {path}" for path in skeleton.files), "next:", *(f"  {one}" for one in skeleton.commands)):
        say(text)


def check_plugin(
    target: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE|PACKAGE",
            help="This is a component's name, a plugin's file or an installed package.",
            autocompletion=complete_names(),
        ),
    ],
    device: Device = "cpu",
    options: DatasetOptions = None,
    data_root: DataRoot = Path("data"),
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Check that a plugin does what the harness expects, and say how to fix what fails."""
    from dataclasses import asdict

    from harness import testing
    from harness.cli import tables
    from harness.parameters import parse_assignments

    settings = {
        "device": find_device(device),
        "data_root": data_root,
        "options": parse_assignments("--option", options or ()),
    }
    outcomes = []
    for outcome in testing.examine(target, plugin or (), **settings):
        outcomes.append(outcome)
        if not as_json:
            tables.print_outcome(outcome)
    count = {
        status: sum(outcome.status == status for outcome in outcomes) for status in ("passed", "failed", "skipped")
    }
    if as_json:
        tables.print_json({"target": target, **count, "checks": [asdict(outcome) for outcome in outcomes]})
    else:
        say(", ".join(f"{number} {status}" for status, number in count.items() if number))
    if count["failed"]:
        raise typer.Exit(1)

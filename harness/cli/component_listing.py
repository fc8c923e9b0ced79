"""What the registry holds, as text on standard output."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from harness.cli import catalogue
from harness.cli.output import open_output, say
from harness.registry import Registry


def print_listing(registry: Registry) -> None:
    """Print the listing as a table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("kind", "name", "from", "about"):
        table.add_column(column, no_wrap=column in ("kind", "name"))
    for row in catalogue.listing(registry)["components"]:
        table.add_row(*(row[column] for column in ("kind", "name", "from", "about")))
    open_output().print(table)


def print_datasets(registry: Registry) -> None:
    """Print each dataset with the names of its options, then those that all have."""
    for row in catalogue.listing(registry)["components"]:
        if row["kind"] == "dataset":
            say((row["name"], "bold"), f" ({row['from']}): {row['about']}")
            say(f"  options: {', '.join(row['options']) or 'none of its own'}")
    say(f"every dataset also has: {', '.join(catalogue.describe_core())}")
    say("`harness plugins show NAME` explains each option; `--option KEY=VALUE` sets one")


def print_details(described: list[dict[str, Any]]) -> None:
    """Print components' details as indented text."""
    for component in described:
        say(f"{component['kind']} {component['name']} ({component['from']}, version {component['version']})")
        for name in ("about", "citation", "signature", "on", "higher_is_better", "range"):
            if component.get(name) not in (None, ""):
                say(f"  {name.replace('_', ' ')}: {component[name]}")
        if component.get("parameters"):
            say("  options:" if component["kind"] in ("dataset", "executor") else "  parameters:")
            for name, one in component["parameters"].items():
                say(f"    {name} = {_as_typed(one['default'])}  ({one['type']})")
                if one["about"]:
                    say(f"        {one['about']}")
        for section in ("space", "inputs"):
            if component.get(section):
                say(f"  {'search space' if section == 'space' else section}:")
                for name, value in component[section].items():
                    say(f"    {name} = {_plain(value)}")


def _as_typed(value: Any) -> str:
    """A default as one would type it."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value) if value != "" else "''"


def _plain(value: Any) -> str:
    if isinstance(value, dict) and value.get("type") == "choice":
        return "one of " + ", ".join(map(str, value["options"]))
    if isinstance(value, dict) and "low" in value:
        return f"{value['type']} {value['low']} .. {value['high']}{' (log)' if value['log'] else ''}"
    return str(value)

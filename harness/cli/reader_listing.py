"""Readers and a network beside them, as tables and sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from harness.cli.output import open_output, say
from harness.cli.tables import format_chance, format_estimate, format_interval
from harness.evaluation.reader_wording import (
    describe_agreement,
    describe_average,
    describe_panel,
    describe_policy,
    list_measures,
)
from harness.evaluation.significance import SIGNIFICANT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.evaluation.parts import AgainstPart, ReadersPart

HEADINGS = {"sensitivity": "sensitivity at its specificity", "f1": "F1"}


def print_readers(part: ReadersPart, unit: str) -> None:
    """Print what each reader does and what the network does beside them, means over labels, and both in words."""
    console = open_output()
    console.print()
    console.print(_tabulate_panel(part, unit))
    for measure in list_measures(part):
        console.print()
        console.print(_tabulate(part, measure))
    console.print()
    for sentence in (*describe_average(part), *describe_agreement(part)):
        say(sentence)


def _tabulate_panel(part: ReadersPart, unit: str) -> Table:
    """What each reader does."""
    table = Table(box=None, pad_edge=False, header_style="bold", title=describe_panel(part), title_justify="left")
    for column in ("reader", unit, "sensitivity", "specificity", "F1"):
        table.add_column(column, justify="left" if column == "reader" else "right", overflow="fold")
    for name, reader in part.readers.items():
        cells = (format_estimate(one.value, one.interval) for one in reader.mean.values())
        table.add_row(name, f"{reader.decided:,}", *cells)
    return table


def print_systems_beside(parts: Mapping[str, ReadersPart], unit: str) -> None:
    """Print the readers once, and each system against them."""
    console, first = open_output(), next(iter(parts.values()))
    console.print()
    console.print(_tabulate_panel(first, unit))
    many = {measure: sum(measure in list_measures(part) for part in parts.values()) for measure in HEADINGS}
    for measure in (name for name, count in many.items() if count):
        console.print()
        console.print(_tabulate_systems(parts, measure))
    console.print()
    said = [sentence for name, part in parts.items() for sentence in describe_average(part, name, many)]
    for sentence in (*dict.fromkeys(said), *describe_agreement(first)):
        say(sentence)


def _tabulate_systems(parts: Mapping[str, ReadersPart], measure: str) -> Table:
    """Each system against the average reader, if there is one, and how many readers it is better and worse than."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    general = any(measure in part.average for part in parts.values())
    columns = [HEADINGS[measure], "system - average reader", "95 %", "p", "p Holm"] if general else []
    for column in ("system", *columns, "better than", "worse than"):
        table.add_column(column, justify="left" if column == "system" else "right", overflow="fold")
    for name, part in parts.items():
        found = [reader.against[measure] for reader in part.readers.values() if measure in reader.against]
        shown = [one.delta or 0 for one in found if one.p_holm is not None and one.p_holm < SIGNIFICANT]
        counts = [f"{sum(sign * delta > 0 for delta in shown)} of {len(found)}" if found else "-" for sign in (1, -1)]
        cells = _cells(part.average[measure]) if measure in part.average else ["-"] * len(columns)
        policy = f" {describe_policy(part)}" if measure == "f1" and part.policy and general else ""
        cells = [f"{cell}{policy}" if not place else cell for place, cell in enumerate(cells)] if general else []
        table.add_row(name, *cells, *counts)
    return table


def _tabulate(part: ReadersPart, measure: str) -> Table:
    """The network against each reader, and against the average reader, in one measure."""
    policy = f" {describe_policy(part)}" if measure == "f1" else ""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("network against", f"{HEADINGS[measure]}{policy}", "network - reader", "95 %", "p", "p Holm"):
        table.add_column(column, justify="left" if column == "network against" else "right", overflow="fold")
    for name, reader in part.readers.items():
        table.add_row(name, *_cells(reader.against[measure]))
    if measure in part.average:
        table.add_row("the average reader", *_cells(part.average[measure]))
    return table


def _cells(against: AgainstPart) -> tuple[str, ...]:
    delta = "-" if against.delta is None else f"{against.delta:+.4f}"
    network = format_estimate(against.network, None)
    return network, delta, format_interval(against.interval), format_chance(against.p), format_chance(against.p_holm)

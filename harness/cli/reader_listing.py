"""Readers and a network beside them, as tables and sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from harness.cli.output import open_output, say
from harness.cli.tables import format_chance, format_estimate, format_interval
from harness.evaluation.reader_wording import describe_agreement, describe_average, describe_panel

if TYPE_CHECKING:
    from harness.evaluation.parts import AgainstPart, ReadersPart

HEADINGS = {"sensitivity": "sensitivity at its specificity", "f1": "F1"}


def print_readers(part: ReadersPart, unit: str) -> None:
    """Print what each reader does and what the network does beside them, means over labels, and both in words."""
    console = open_output()
    table = Table(box=None, pad_edge=False, header_style="bold", title=describe_panel(part), title_justify="left")
    for column in ("reader", unit, "sensitivity", "specificity", "F1"):
        table.add_column(column, justify="left" if column == "reader" else "right", overflow="fold")
    for name, reader in part.readers.items():
        cells = (format_estimate(one.value, one.interval) for one in reader.mean.values())
        table.add_row(name, f"{reader.decided:,}", *cells)
    console.print()
    console.print(table)
    for measure in part.average or next(iter(part.readers.values())).against:
        console.print()
        console.print(_tabulate(part, measure))
    console.print()
    for sentence in (*describe_average(part), *describe_agreement(part)):
        say(sentence)


def _tabulate(part: ReadersPart, measure: str) -> Table:
    """The network against each reader, and against the average reader, in one measure."""
    policy = f" at {part.policy}" if measure == "f1" else ""
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

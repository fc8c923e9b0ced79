"""The command that measures a row again, from what its records say about how they were made."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from harness.results.record import Record

DATA = "/path/to/data"
"""Stands for the folder of the data: records hold no folder of a machine."""


def tell_again(board: str, row: str, records: Iterable[Record], *, data: bool = False) -> str:
    """Return the command for a row of a board, with the plugin files that took part and the data where it has a folder.

    `data` says that other records of the board lie on data in a folder, for a row that has none.
    """
    made = [record.provenance for record in records]
    plugins = dict.fromkeys(file for provenance in made for file in provenance.plugins)
    parts = [f"harness run {shlex.quote(board)} --only '{row}' --force"]
    if data or any(provenance.data_root for provenance in made):
        parts.append(f"--data-root {DATA}")
    return " ".join([*parts, *(f"--plugin {shlex.quote(file)}" for file in plugins)])

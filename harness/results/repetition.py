"""The command that measures a row again, from what its records say about how they were made."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from harness.board import Ensemble
from harness.results.record import Record

DATA = "/path/to/data"
"""Stands for the folder of the data: records hold no folder of a machine."""


def tell_again(board: str, row: str, records: Iterable[Record], *, data: bool = False) -> str:
    """Return the command for a row of a board, with the plugin files that took part and the data where it has a folder.

    `data` says that other records of the board lie on data in a folder, for a row that has none.
    """
    records = tuple(records)
    ensemble = next((record.ensemble for record in records if record.ensemble is not None), None)
    if ensemble is not None:
        return tell_ensemble_again(board, ensemble.definition)
    made = [record.provenance for record in records]
    plugins = dict.fromkeys(file for provenance in made for file in provenance.plugins)
    parts = [f"harness run {shlex.quote(board)} --only '{row}' --force"]
    if data or any(provenance.data_root for provenance in made):
        parts.append(f"--data-root {DATA}")
    return " ".join([*parts, *(f"--plugin {shlex.quote(file)}" for file in plugins)])


def tell_ensemble_again(board: str, ensemble: Ensemble) -> str:
    """Return the command that makes an ensemble again."""
    parts = ["harness ensemble", shlex.quote(board), *map(shlex.quote, ensemble.rows)]
    parts += [] if ensemble.average == "probability" else [f"--average {ensemble.average}"]
    return " ".join([*parts, *([] if ensemble.greedy is None else [f"--greedy {ensemble.greedy}"])])

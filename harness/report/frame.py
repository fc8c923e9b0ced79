"""A board as one flat table: `board.csv`, and a DataFrame.

One row for each row of the board, in the page's order. Columns: what the row is; `METRIC` (mean over seeds),
`METRIC_deviation` (over seeds), `METRIC_low` and `METRIC_high` (95 %, over patients), `METRIC_seeds_low` and
`METRIC_seeds_high` (95 %, over patients and seeds); what it cost; and
`METRIC[LABEL]`, for the objective with `_low` and `_high`. An undefined value is empty.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.board import open_board
from harness.report.leaderboard import Leaderboard, RowSummary
from harness.report.summary import read_results

if TYPE_CHECKING:
    import pandas as pd

TABLE_FILE = "board.csv"
DIGITS = 6
"""Digits after the point; what lies beyond says nothing, and may differ between machines."""

Value = str | int | float | None

_FORMULAS = ("=", "+", "-", "@")
"""Beginnings of texts that a spreadsheet takes for a formula."""


def as_rows(summary: Leaderboard) -> list[dict[str, Value]]:
    """The table, a dictionary a row; all have the same columns in the same order."""
    costs = sorted({name for row in summary.rows for name in row.efficiency})
    labels = summary.data.labels if summary.data else []
    return [
        {
            **_describe(row, summary),
            **_measure(row, summary),
            **_price(row, costs),
            **_measure_labels(row, summary, labels),
        }
        for row in summary.rows
    ]


def as_csv(summary: Leaderboard) -> str:
    """The table as CSV (RFC 4180, but with plain line ends).

    A text that a spreadsheet would run as a formula has a `'` before it.
    """
    rows = as_rows(summary)
    text = io.StringIO()
    if rows:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([_harmless(name) for name in rows[0]])
        writer.writerows([_harmless(value) for value in row.values()] for row in rows)
    return text.getvalue()


def read_frame(folder: str | Path) -> pd.DataFrame:
    """A board's results as a DataFrame: the table of its `board.csv`, made from its records.

    Raises `UsageError` for a folder that is no board, `UnknownNameError` for a name that is none.
    """
    import pandas as pd

    return pd.DataFrame(as_rows(read_results(open_board(folder)).summary))


# --- columns ---------------------------------------------------------------------------------------------------------


def _describe(row: RowSummary, summary: Leaderboard) -> dict[str, Value]:
    return {
        "rank": row.rank,
        "group": row.group,
        "row": row.name,
        "model": row.model,
        "loss": row.loss,
        "recipe": row.recipe,
        "params": json.dumps(row.params, sort_keys=True) if row.params else None,
        "control": row.control,
        "status": row.status,
        "reasons": "; ".join(row.reasons) or None,
        "seeds": " ".join(map(str, row.seeds)) or None,
        "dataset": summary.board.dataset,
        "fingerprint": next((r.dataset.fingerprint for r in row.records if r.combo.seed in row.seeds), None),
    }


def _measure(row: RowSummary, summary: Leaderboard) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for metric in summary.metrics:
        spread = row.metrics.get(metric)
        low, high = (spread.interval if spread else None) or (None, None)
        lowest, highest = (spread.interval_seeds if spread else None) or (None, None)
        values[metric] = _rounded(spread.mean if spread else None)
        values[f"{metric}_deviation"] = _rounded(spread.deviation if spread else None)
        values[f"{metric}_low"], values[f"{metric}_high"] = _rounded(low), _rounded(high)
        values[f"{metric}_seeds_low"], values[f"{metric}_seeds_high"] = _rounded(lowest), _rounded(highest)
    return values


def _price(row: RowSummary, costs: Sequence[str]) -> dict[str, Value]:
    return {name: _rounded(row.efficiency.get(name)) for name in costs}


def _measure_labels(row: RowSummary, summary: Leaderboard, labels: Sequence[str]) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for metric in summary.metrics:
        for label in labels:
            values[f"{metric}[{label}]"] = _rounded(row.per_label.get(metric, {}).get(label))
            if metric == summary.objective:
                low, high = row.label_intervals.get(label, (None, None))
                values[f"{metric}[{label}]_low"], values[f"{metric}[{label}]_high"] = _rounded(low), _rounded(high)
    return values


def _rounded(value: float | None) -> int | float | None:
    """Return a value without needless digits; a whole number as one."""
    if value is None:
        return None
    short = round(value, DIGITS)
    return int(short) if float(short).is_integer() and abs(short) >= 2 else short


def _harmless(value: Value) -> Value:
    """What a spreadsheet shows as it stands, in one line (OWASP, CSV injection)."""
    if not isinstance(value, str):
        return value
    line = " ".join(value.split())
    return f"'{line}" if line.startswith(_FORMULAS) else line

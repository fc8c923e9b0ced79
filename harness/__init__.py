"""A benchmarking harness for multi-label chest X-ray classification: the names that plugin authors need, and a board's
results as a DataFrame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.components import (
    Augment,
    Choice,
    Data,
    Dataset,
    Float,
    Inputs,
    Int,
    Loss,
    Metric,
    Model,
    Observer,
    Recipe,
    Schedule,
    Task,
)
from harness.errors import DataError, HarnessError, UsageError, WeightsError
from harness.hookspecs import hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

__all__ = [
    "Augment",
    "Choice",
    "Data",
    "DataError",
    "Dataset",
    "Float",
    "HarnessError",
    "Inputs",
    "Int",
    "Loss",
    "Metric",
    "Model",
    "Observer",
    "Recipe",
    "Schedule",
    "Task",
    "UsageError",
    "WeightsError",
    "hookimpl",
    "read_board",
]


def read_board(folder: str | Path) -> pd.DataFrame:
    """A board's results as a DataFrame, a row each row: what its `board.csv` holds, made anew from its records.

    Raises `UsageError` for a folder that is no board.
    """
    from harness.report.frame import read_frame

    return read_frame(folder)

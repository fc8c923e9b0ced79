"""A benchmarking harness for multi-label chest X-ray classification: the names that plugin authors need, and what
scripts and notebooks call: `run`, `score`, `read_board` and `load_row`.

What is not named here or in `harness.testing` is private, and may change with any version. No module of the core
imports this one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from harness.components import (
    Augment,
    Choice,
    Data,
    Dataset,
    Engine,
    Executor,
    Float,
    Future,
    Inputs,
    Int,
    Loss,
    Metric,
    Model,
    ModelOrigin,
    Needs,
    Observer,
    Recipe,
    Schedule,
    Task,
    Tell,
    Weighted,
)
from harness.data.image_files import ImageFiles, list_files, locate_images
from harness.data.layouts import Layout
from harness.data.model_folders import ModelFolder, require_library, require_size
from harness.data.prompts import read_prompts, require_prompts
from harness.data.splits import carve, fold, stratify
from harness.data.term_labels import label_by_terms
from harness.data.uncertainty import take_uncertain
from harness.data.views import choose_views
from harness.errors import DataError, HarnessError, UnknownNameError, UsageError, WeightsError, suggest
from harness.hookspecs import hookimpl
from harness.identifiers import IdSource, find_usual, parse_id_source
from harness.parameters import bind
from harness.tables import TextTable, read_lines, read_table

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from harness.api import SystemScore, load_row, run, score
    from harness.evaluation.kernels import Ranking, auroc, average_precision, rank, sum_groups
    from harness.serving.rows import LoadedRow
    from harness.serving.scores import ImageScores
    from harness.training.encoder import EncoderNetwork, make_zero_shot_head

__all__ = [
    "Augment",
    "Choice",
    "Data",
    "DataError",
    "Dataset",
    "EncoderNetwork",
    "Engine",
    "Executor",
    "Float",
    "Future",
    "HarnessError",
    "IdSource",
    "ImageFiles",
    "ImageScores",
    "Inputs",
    "Int",
    "Layout",
    "LoadedRow",
    "Loss",
    "Metric",
    "Model",
    "ModelFolder",
    "ModelOrigin",
    "Needs",
    "Observer",
    "Ranking",
    "Recipe",
    "Schedule",
    "SystemScore",
    "Task",
    "Tell",
    "TextTable",
    "UnknownNameError",
    "UsageError",
    "Weighted",
    "WeightsError",
    "auroc",
    "average_precision",
    "bind",
    "carve",
    "choose_views",
    "find_usual",
    "fold",
    "hookimpl",
    "label_by_terms",
    "list_files",
    "load_row",
    "locate_images",
    "make_zero_shot_head",
    "parse_id_source",
    "rank",
    "read_board",
    "read_lines",
    "read_prompts",
    "read_table",
    "require_library",
    "require_prompts",
    "require_size",
    "run",
    "score",
    "stratify",
    "suggest",
    "sum_groups",
    "take_uncertain",
]

LATE = {
    **dict.fromkeys(("Ranking", "auroc", "average_precision", "rank", "sum_groups"), "harness.evaluation.kernels"),
    **dict.fromkeys(("SystemScore", "load_row", "run", "score"), "harness.api"),
    **dict.fromkeys(("EncoderNetwork", "make_zero_shot_head"), "harness.training.encoder"),
    "ImageScores": "harness.serving.scores",
    "LoadedRow": "harness.serving.rows",
}
"""Names whose module is imported when one of them is asked for: some compile by Numba, others import pandas."""


def __getattr__(name: str) -> Any:
    if name in LATE:
        return getattr(import_module(LATE[name]), name)
    raise AttributeError(f"module 'harness' has no attribute '{name}'")


def read_board(folder: str | Path) -> pd.DataFrame:
    """A board's results as a DataFrame, one row for each row: what its `board.csv` holds, made from its records.

    Raises `UsageError` for a folder that is no board.
    """
    from harness.report.frame import read_frame

    return read_frame(folder)

"""Options of the verbs that read files of scores, targets and readers; see `harness.cli.options`."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import READING

ImageColumn = Annotated[
    str | None,
    typer.Option(
        "--image-column",
        metavar="COLUMN",
        help="Take image names from this column. It is needed only if several columns could name the image.",
        rich_help_panel=READING,
    ),
]
PatientColumn = Annotated[
    str | None,
    typer.Option(
        "--patient",
        metavar="COLUMN[:REGEX]",
        help=r"Take patients from this column, or from the first group of a pattern in it, such as "
        r"'Path:(patient\d+)'.",
        rich_help_panel=READING,
    ),
]
StudyColumn = Annotated[
    str | None,
    typer.Option(
        "--study",
        metavar="COLUMN[:REGEX]",
        help=r"Take studies from this column, or from the first group of a pattern in it, such as "
        r"'Path:(.*study\d+)'. A column called `study` is found without this option.",
        rich_help_panel=READING,
    ),
]
WantedLabels = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="NAMES",
        help="Evaluate only these labels, separated by commas.",
        show_default="those that scores and targets share",
        rich_help_panel=READING,
    ),
]
ScoredUnit = Annotated[
    str | None,
    typer.Option(
        "--unit",
        metavar="UNIT",
        help="Score each image, study or patient. Targets may have one row for each study.",
        show_default="image, or with BOARD::ROW what its board scores",
        rich_help_panel=READING,
    ),
]
PoolingChoice = Annotated[
    str | None,
    typer.Option(
        "--pool",
        metavar="HOW",
        help="Score a study or patient by the mean or the max of its images' scores.",
        show_default="mean",
        rich_help_panel=READING,
    ),
]
Readers = Annotated[
    list[str] | None,
    typer.Option(
        "--reader",
        metavar="NAME=FILE",
        help="Compare with this reader's decisions: a table like that of --targets, with 1, 0 or blank. Repeat it for "
        "each reader.",
        rich_help_panel=READING,
    ),
]
TruthOption = Annotated[
    str,
    typer.Option(
        "--truth",
        metavar="TRUTH",
        help="Judge readers and network by targets, by the majority of all readers (majority), or each reader by the "
        "majority of the others (leave-one-out).",
        rich_help_panel=READING,
    ),
]

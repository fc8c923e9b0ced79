"""The command line's options: what they are called, and what help says of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.components import Kind

COMPARED, SEARCH, DATA, READING, MACHINE = "What to compare", "How to search", "Data", "Reading files", "Machine"
STATISTICS = "Statistics"
OUTPUT = "Run and output"
"""Headings under which help shows the options of long verbs."""
MOST_WORKERS = 1000
MOST_TIMES = 1_000_000
"""Workers, trials or resamples at most: more are a slip of the keyboard, and overflow."""


def complete_boards(incomplete: str) -> list[str]:
    """Boards that are bundled or lie in the current folder."""
    from harness.board import BOARD_FILE, bundled_boards

    here = [path.parent.name for path in Path().glob(f"*/{BOARD_FILE}")]
    return [name for name in sorted({*bundled_boards(), *here}) if name.startswith(incomplete)]


def complete_names(*kinds: Kind) -> Callable[[str], list[str]]:
    """A shell's completion of components' names, of these kinds or of all; the last of several with commas."""

    def complete(incomplete: str) -> list[str]:
        from harness.registry import load_registry

        before, comma, last = incomplete.rpartition(",")
        offers = load_registry().offers
        names = {name.removesuffix("*") for kind in kinds or offers for name in offers[kind]}
        return [f"{before}{comma}{name}" for name in sorted(names) if name.startswith(last)]

    return complete


# --- what is compared ------------------------------------------------------------------------------------------------

BoardArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="BOARD",
        help="This is a board's folder, or the name of a bundled board such as demo.",
        show_default=False,
        autocompletion=complete_boards,
    ),
]
BoardFolder = Annotated[str, typer.Argument(metavar="BOARD", help="This is the board's folder.")]
BoardOption = Annotated[
    Path | None,
    typer.Option(
        "--board",
        metavar="DIR",
        help="Keep the board in this folder, and create it if it does not exist.",
        rich_help_panel=COMPARED,
    ),
]
NewDataset = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME",
        help="Use this dataset for a new board. `harness data list` shows the names.",
        autocompletion=complete_names("dataset"),
        rich_help_panel=COMPARED,
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--models",
        metavar="NAMES",
        help="Use these models, separated by commas. `harness plugins` shows the names.",
        autocompletion=complete_names("model"),
        rich_help_panel=COMPARED,
    ),
]
Losses = Annotated[
    list[str] | None,
    typer.Option(
        "--losses",
        metavar="NAMES",
        help="Use these losses, separated by commas.",
        autocompletion=complete_names("loss"),
        rich_help_panel=COMPARED,
    ),
]
Recipes = Annotated[
    list[str] | None,
    typer.Option(
        "--recipes",
        metavar="NAMES",
        help="Use these recipes, separated by commas. A recipe holds the training choices.",
        autocompletion=complete_names("recipe"),
        rich_help_panel=COMPARED,
    ),
]

# --- data ------------------------------------------------------------------------------------------------------------

DatasetName = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="This is a dataset's name. `harness data list` shows the names.",
        autocompletion=complete_names("dataset"),
    ),
]
DatasetOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="KEY=VALUE",
        help="Set an option of the dataset. Repeat it for several options; `harness data list` shows them.",
        rich_help_panel=DATA,
    ),
]
ROOT_HELP = "Read the dataset from this folder, or from the folder inside it that has the dataset's name."
DataRoot = Annotated[
    Path, typer.Option(metavar="DIR", envvar="HARNESS_DATA_ROOT", help=ROOT_HELP, rich_help_panel=DATA)
]
BoardDataRoot = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        envvar="HARNESS_DATA_ROOT",
        help=ROOT_HELP,
        show_default="where the board's last run found its data, else data",
        rich_help_panel=DATA,
    ),
]
CacheDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        envvar="HARNESS_CACHE_DIR",
        help="Keep decoded images in this folder.",
        show_default="the user's cache folder",
        rich_help_panel=DATA,
    ),
]

# --- files of predictions --------------------------------------------------------------------------------------------

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

# --- machine ---------------------------------------------------------------------------------------------------------

Device = Annotated[
    str,
    typer.Option(
        metavar="DEVICE",
        envvar="HARNESS_DEVICE",
        help="Run on this device: auto, cpu, cuda or cuda:N.",
        rich_help_panel=MACHINE,
    ),
]
Devices = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="DEVICES",
        envvar="HARNESS_DEVICE",
        help="Run on this device: auto, cpu, cuda:N, several separated by commas, or all for every GPU.",
        rich_help_panel=MACHINE,
    ),
]
WorkerCount = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        envvar="HARNESS_WORKERS",
        min=0,
        max=MOST_WORKERS,
        help="Use this many worker processes. With 0, everything runs in the main process, which suits a debugger.",
        show_default="one for each device",
        rich_help_panel=MACHINE,
    ),
]
CompileOption = Annotated[
    Literal["auto", "on", "off"],
    typer.Option(
        "--compile",
        help="Use torch.compile. With auto, it is used on a GPU if the training is long enough to repay it.",
        rich_help_panel=MACHINE,
    ),
]
PlaceOption = Annotated[
    Literal["auto", "resident", "streamed"],
    typer.Option(
        "--placement",
        help="Keep images on the GPU (resident) or stream them to it (streamed). With auto, they stay there if they "
        "take at most half of its memory.",
        rich_help_panel=MACHINE,
    ),
]

# --- run and output --------------------------------------------------------------------------------------------------

Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE",
        envvar="HARNESS_PLUGIN",
        help="Load a plugin from this file and run its code. Repeat it for several files.",
        rich_help_panel=OUTPUT,
    ),
]


def _reserve_output(context: typer.Context, wanted: bool) -> bool:
    """Send what plugins and libraries print to standard error where --json is asked for."""
    if wanted:
        from harness.cli.tables import reserve_output

        context.with_resource(reserve_output())
    return wanted


Json = Annotated[
    bool,
    typer.Option(
        "--json",
        callback=_reserve_output,
        help="Print one JSON document on standard output.",
        rich_help_panel=OUTPUT,
    ),
]

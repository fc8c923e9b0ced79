"""The command line's options: what they are called, and what help says of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.components import Kind

COMPARED, SEARCH, DATA, READING, MACHINE = "What to compare", "How to search", "Data", "Reading files", "Machine"
ELSEWHERE, STATISTICS, OUTPUT = "Other machines", "Statistics", "Run and output"
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

# --- other machines ---------------------------------------------------------------------------------------------------

On = Annotated[
    str,
    typer.Option(
        "--on",
        metavar="NAME",
        envvar="HARNESS_ON",
        help="Run on the machines of this executor, such as slurm or ray. `harness plugins` shows the names.",
        autocompletion=complete_names("executor"),
        rich_help_panel=ELSEWHERE,
    ),
]
OnOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--on-option",
        metavar="KEY=VALUE",
        help="Set an option of the executor. Repeat it for several options; `harness plugins show NAME` shows them. "
        "With shared=false, its machines need not see the board's folder.",
        rich_help_panel=ELSEWHERE,
    ),
]
JobCount = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        min=1,
        max=MOST_WORKERS,
        help="Have at most this many workers on other machines at once, with a GPU each unless --device is cpu.",
        show_default="as many as there is work for",
        rich_help_panel=ELSEWHERE,
    ),
]
Cancel = Annotated[
    bool,
    typer.Option(
        "--cancel",
        help="Cancel the jobs on other machines that earlier commands have left there; run nothing.",
        rich_help_panel=ELSEWHERE,
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

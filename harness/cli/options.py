"""The command line's options: what they are called, and how their values are read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from harness.components import Kind
from harness.errors import UsageError

if TYPE_CHECKING:
    import torch


def complete_boards(incomplete: str) -> list[str]:
    """Boards that are bundled or lie in the current folder."""
    from harness.board import BOARD_FILE, bundled_boards

    here = [path.parent.name for path in Path().glob(f"*/{BOARD_FILE}")]
    return [name for name in sorted({*bundled_boards(), *here}) if name.startswith(incomplete)]


COMPARED, SEARCH, DATA, MACHINE = "What to compare", "How to search", "Data", "Machine"
OUTPUT = "Run and output"
"""Headings under which help shows the options of long verbs."""

BoardArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="BOARD",
        help="A board's folder, or the name of a bundled board (demo).",
        show_default=False,
        autocompletion=complete_boards,
    ),
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        envvar="HARNESS_PLUGIN",
        help="A file with a plugin; may be repeated. Its code is run.",
        rich_help_panel=OUTPUT,
    ),
]
DataRoot = Annotated[
    Path,
    typer.Option(
        envvar="HARNESS_DATA_ROOT",
        help="Folder that holds the dataset, or a folder of that name with it.",
        rich_help_panel=DATA,
    ),
]
BoardDataRoot = Annotated[
    Path | None,
    typer.Option(
        envvar="HARNESS_DATA_ROOT",
        help="Folder that holds the dataset, or a folder of that name with it.",
        show_default="where the board's last run found its data, else data",
        rich_help_panel=DATA,
    ),
]
CacheDir = Annotated[
    Path | None,
    typer.Option(
        envvar="HARNESS_CACHE_DIR",
        help="Where decoded images are kept.",
        show_default="the user's cache folder",
        rich_help_panel=DATA,
    ),
]
MOST_WORKERS = 1000
MOST_TIMES = 1_000_000
LONGEST = 1e9
LARGEST = 2.0**60
"""Workers, trials or resamples, seconds and bytes at most: more are a slip of the keyboard, and overflow."""
Device = Annotated[
    str, typer.Option(envvar="HARNESS_DEVICE", help="auto, cpu, cuda or cuda:N.", rich_help_panel=MACHINE)
]
Devices = Annotated[
    str,
    typer.Option(
        "--device",
        envvar="HARNESS_DEVICE",
        help="auto, cpu, cuda:N, several with commas, or all GPUs: all.",
        rich_help_panel=MACHINE,
    ),
]
DatasetOptions = Annotated[
    list[str] | None,
    typer.Option("--option", help="KEY=VALUE: an option of the dataset; may be repeated.", rich_help_panel=DATA),
]
ImageColumn = Annotated[
    str | None,
    typer.Option("--image-column", metavar="COLUMN", help="The column that names the image, where several may."),
]
PatientColumn = Annotated[
    str | None,
    typer.Option(
        "--patient",
        metavar="COLUMN[:REGEX]",
        help=r"What names the patient: a column, or the first group of a pattern in it, as in 'Path:(patient\d+)'.",
    ),
]
StudyColumn = Annotated[
    str | None,
    typer.Option(
        "--study",
        metavar="COLUMN[:REGEX]",
        help=r"What names the study: a column, or the first group of a pattern in it, as in 'Path:(.*study\d+)'. A "
        "column `study` does without being named.",
    ),
]
ScoredUnit = Annotated[
    str | None,
    typer.Option(
        "--unit",
        metavar="UNIT",
        help="What is scored: image, study or patient. Targets may be those of studies, a row for each.",
        show_default="image; with BOARD::ROW, what its board scores",
    ),
]
PoolingChoice = Annotated[
    str | None,
    typer.Option(
        "--pool",
        metavar="HOW",
        help="The score of a study or patient: mean or max of its images' scores.",
        show_default="mean",
    ),
]
Readers = Annotated[
    list[str] | None,
    typer.Option(
        "--reader",
        metavar="NAME=FILE",
        help="A reader's decisions (a table as --targets has it: 1, 0 or blank), to stand beside the network; "
        "repeat it for each reader.",
    ),
]
TruthOption = Annotated[
    str,
    typer.Option(
        "--truth",
        metavar="TRUTH",
        help="What readers and network are held against: targets, majority (of all readers), or leave-one-out (for "
        "each reader the majority of the others).",
    ),
]
WantedLabels = Annotated[
    str | None,
    typer.Option(
        "--labels",
        help="Separated by commas; by default those that scores and targets both have.",
    ),
]
CompileOption = Annotated[
    Literal["auto", "on", "off"],
    typer.Option(
        "--compile",
        help="torch.compile: auto compiles on a GPU, where a training is long enough to win it back.",
        rich_help_panel=MACHINE,
    ),
]
PlaceOption = Annotated[
    Literal["auto", "resident", "streamed"],
    typer.Option(
        "--placement",
        help="Images on the GPU, or streamed to it; auto: on it where they take half of it at most.",
        rich_help_panel=MACHINE,
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
        "--json", callback=_reserve_output, help="One JSON document on standard output.", rich_help_panel=OUTPUT
    ),
]


def complete_names(*kinds: Kind) -> Callable[[str], list[str]]:
    """A shell's completion of components' names, of these kinds or of all; the last of several with commas."""

    def complete(incomplete: str) -> list[str]:
        from harness.registry import load_registry

        before, comma, last = incomplete.rpartition(",")
        offers = load_registry().offers
        names = {name.removesuffix("*") for kind in kinds or offers for name in offers[kind]}
        return [f"{before}{comma}{name}" for name in sorted(names) if name.startswith(last)]

    return complete


DatasetName = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="A dataset; `harness data list` shows them.", autocompletion=complete_names("dataset")
    ),
]


def find_cache(folder: Path | None) -> Path:
    """Where decoded images are kept: the folder given, or the user's cache folder."""
    import platformdirs

    return folder or Path(platformdirs.user_cache_dir("cxr-harness", appauthor=False))


def find_device(name: str) -> torch.device:
    """The device of that name. Raises `UsageError` where there is none."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.device_count() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name}: give auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {name}: give auto, cpu, cuda or cuda:N")
    # counted without CUDA, which a process that only schedules must not touch
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"--device {name}: there is no such GPU here; give --device cpu")
    return device


def find_devices(names: str) -> tuple[torch.device, ...]:
    """The devices of these names, commas between; `all` is every GPU. Raises `UsageError` where one is not there."""
    import torch

    if names == "all":
        count = torch.cuda.device_count()
        if not count:
            raise UsageError("--device all: there is no GPU here; give --device cpu")
        return tuple(torch.device("cuda", number) for number in range(count))
    devices = tuple(find_device(name) for name in split_names([names]))
    if not devices:
        raise UsageError("--device: give auto, cpu, cuda:N, several with commas, or all")
    if len(set(devices)) < len(devices):
        raise UsageError(f"--device {names}: a device stands there twice; --workers gives it more workers")
    return devices


def parse_duration(flag: str, text: str) -> float:
    """Seconds from `90`, `90s`, `15m` or `2h`. Raises `UsageError` for anything else, and for none at all."""
    units = {"s": 1, "m": 60, "h": 3600}
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    seconds = float(match[1]) * units[match[2] or "s"] if match else 0
    if not 0 < seconds <= LONGEST:
        raise UsageError(f"{flag} {text}: give seconds, or 90s, 15m, 2h")
    return seconds


def parse_memory(flag: str, text: str) -> int:
    """Bytes from `900M` or `12G`. Raises `UsageError` for anything else, and for none at all."""
    units = {"M": 2**20, "G": 2**30}
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([MG])(?:i?B)?", text.strip())
    size = float(match[1]) * units[match[2]] if match else 0
    if not 0 < size <= LARGEST:
        raise UsageError(f"{flag} {text}: give 900M or 12G")
    return int(size)


def split_names(given: list[str] | None) -> tuple[str, ...]:
    """Names separated by commas, or given one by one."""
    return tuple(name.strip() for text in given or () for name in text.split(",") if name.strip())


def split_numbers(text: str | None, flag: str = "--seeds") -> tuple[int, ...]:
    """Whole numbers separated by commas. Raises `UsageError` for anything else."""
    try:
        return tuple(int(part) for part in (text or "").split(",") if part.strip())
    except ValueError:
        raise UsageError(f"{flag} {text}: give whole numbers separated by commas, such as 0,1,2") from None

"""Where a board's data lie on this machine: known to the board's folder, and never published."""

from __future__ import annotations

import tomllib
from pathlib import Path

from harness.errors import UsageError
from harness.files import decode_text, read_regular, write_atomically
from harness.results.layout import local_path
from harness.results.store import hide_runs
from harness.values import toml_value

KEY = "data_root"
ABOUT = "# Where this board's data lie on this machine. Written by harness run, read where --data-root is not given.\n"
LARGEST = 2**16
"""Bytes of the file at most."""


def recall_data(folder: Path) -> Path | None:
    """The folder of the data that a board's last run found; None where nothing was noted.

    Raises `UsageError` where the note cannot be read, or the folder is no longer there.
    """
    place = local_path(folder)
    try:
        noted = tomllib.loads(decode_text(read_regular(place, LARGEST))).get(KEY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"{place} cannot be read: {error}; remove it, and give --data-root DIR") from None
    if not isinstance(noted, str):
        raise UsageError(f"{place} names no folder as {KEY}; remove it, and give --data-root DIR")
    if not Path(noted).is_dir():
        raise UsageError(
            f"{place} says that the data are in {noted}, which is not there any more; give --data-root DIR"
        )
    return Path(noted)


def note_data(folder: Path, data_root: Path) -> None:
    """Note the folder of the data for the next run of a board."""
    hide_runs(folder)
    write_atomically(local_path(folder), f"{ABOUT}{KEY} = {toml_value(str(data_root.absolute()))}\n")

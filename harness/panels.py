"""Panels of readers, as a board's `readers.toml` or a command names them: files of decisions and what is true."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import UnknownNameError, UsageError, suggest
from harness.files import decode_text, file_digest

READERS_FILE = "readers.toml"
Truth = Literal["targets", "majority", "leave-one-out"]
TRUTHS: tuple[Truth, ...] = get_args(Truth)
TRUTH_TEXTS: dict[Truth, str] = {
    "targets": "the targets",
    "majority": "the majority of all readers",
    "leave-one-out": "the majority of the other readers",
}
"""What a reader is held against, in words."""
FEWEST: dict[Truth, int] = {"targets": 1, "majority": 3, "leave-one-out": 3}
"""Readers that each truth needs: a majority of two is none."""


@dataclass(frozen=True, kw_only=True)
class PanelFiles:
    """A panel of readers, each a name and a file of decisions."""

    files: Mapping[str, Path]
    truth: Truth = "targets"
    about: str = ""
    """Who they are, in words."""
    column: str | None = None
    """The column that names the image, study or patient, where its name does not say so."""

    @property
    def missing(self) -> list[str]:
        """Readers whose file is not there: who does not have it can show what was evaluated, and no more."""
        return [name for name, path in self.files.items() if not path.is_file()]

    @cached_property
    def digests(self) -> dict[str, str]:
        """Reader -> sixteen hex digits that tell their file, and how it is read, from others; of files that are there.

        Raises `UsageError` for a file that cannot be read.
        """
        digests = {}
        for name, path in self.files.items():
            if name in self.missing:
                continue
            try:
                told = f"{self.column} {file_digest(path)}"
            except OSError as error:
                raise UsageError(f"the decisions of reader '{name}' cannot be read: {error}") from None
            digests[name] = hashlib.sha256(told.encode()).hexdigest()[:16]
        return digests


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ReaderTable(_Strict):
    """A `[[readers]]` table."""

    name: str = Field(min_length=1, description="What the reader is called on the page.")
    decisions: str = Field(
        min_length=1,
        description="A table with 1, 0 or blank for each image (or study, or patient) and label; its path begins at "
        "the board's folder.",
    )


class ReadersFile(_Strict):
    """A whole `readers.toml`."""

    truth: Truth = Field(
        default="targets",
        description="What readers and rows are held against: the targets, the majority of all readers, or the majority "
        "of the other readers.",
    )
    about: str = Field(default="", description="Who the readers are.")
    column: str | None = Field(
        default=None, description="The column that names the image, study or patient, where its name does not say so."
    )
    readers: list[ReaderTable] = Field(
        min_length=1, description="The readers: at least one, and at least three where a majority is the truth."
    )


def read_panel(folder: Path) -> PanelFiles | None:
    """The panel of a board's folder, or None where it has no `readers.toml`.

    Raises `UsageError` that names the key that is wrong.
    """
    path = folder / READERS_FILE
    if not path.exists():
        return None
    try:
        parsed = ReadersFile.model_validate(tomllib.loads(decode_text(path.read_bytes())))
    except ValidationError as error:
        raise UsageError(f"{path}: {_explain(error)}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as TOML: {error}") from None
    files = make_files([(reader.name, folder / reader.decisions) for reader in parsed.readers], str(path))
    if len(files) < FEWEST[parsed.truth]:
        raise UsageError(tell_few(parsed.truth, len(files), str(path)))
    return PanelFiles(files=files, truth=parsed.truth, about=parsed.about.strip(), column=parsed.column)


def make_files(pairs: Sequence[tuple[str, Path]], source: str) -> dict[str, Path]:
    """Names and files as a dictionary. Raises `UsageError` for a name given twice."""
    files: dict[str, Path] = {}
    for name, path in pairs:
        if name in files:
            raise UsageError(f"{source}: reader '{name}' is given twice; each reader has a name and a file")
        files[name] = path
    return files


def require_files(panel: PanelFiles) -> None:
    """Raise `UsageError` where a reader's file is not there."""
    for name in panel.missing:
        raise UsageError(f"the decisions of reader '{name}' are not there: {panel.files[name]} is no file")


def tell_few(truth: Truth, count: int, source: str) -> str:
    """Say that there are too few readers for a truth."""
    return (
        f"{source}: the truth '{truth}' needs {FEWEST[truth]} readers, got {count}; give more, or take the truth "
        "'targets'"
    )


def find_truth(name: str) -> Truth:
    """The truth of that name. Raises `UnknownNameError`."""
    if name not in TRUTHS:
        raise UnknownNameError("truth for readers", name, TRUTHS)
    return next(truth for truth in TRUTHS if truth == name)


def join_names(names: Sequence[str]) -> str:
    """Join names as one says them: `A, B and C`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _explain(error: ValidationError) -> str:
    """The first thing that is wrong, with its key."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        owner = ReaderTable if "readers" in first["loc"][:-1] else ReadersFile
        return f"unknown key '{place}'{suggest(str(first['loc'][-1]), owner.model_fields)}"
    if first["type"] == "missing":
        return f"the key '{place}' is missing"
    if first["type"] == "literal_error":
        return f"{place}: there is no '{first['input']}'{suggest(str(first['input']), TRUTHS)}"
    return f"{place}: {first['msg']}, got {first['input']!r}"

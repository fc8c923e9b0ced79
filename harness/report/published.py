"""`published.toml`: numbers that others published, each with its source, split and threshold policy. Never ranked."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import UsageError

FILE = "published.toml"


class PublishedRow(BaseModel):
    """One `[[rows]]` of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    source: str
    """Where the numbers stand."""
    split: str
    """Of the test set, in words; `same_split` says whether it is this board's."""
    same_split: bool = False
    test_images: int | None = None
    size: int | None = None
    """Height and width of images in pixels."""
    auroc: float | None = None
    f1: float | None = None
    thresholds: str = ""
    """How F1's thresholds were chosen."""
    note: str = ""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    rows: list[PublishedRow]


def read_published(folder: Path) -> tuple[PublishedRow, ...]:
    """The published rows of a board, in the file's order; none where there is no file.

    Raises `UsageError` naming the file and the key that is wrong.
    """
    path = folder / FILE
    if not path.is_file():
        return ()
    try:
        return tuple(_File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).rows)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None

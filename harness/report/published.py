"""`published.toml`: numbers that others published, beside a board. Shown apart, never ranked with measured rows.

Each row belongs to a test split of the file, because a number means nothing without the images that it was measured on:

    [[splits]]
    name = "official"
    title = "NIH's official test list"
    test_images = 25596
    test_patients = 2797              # whose images they are, where it is known
    unit = "image"                    # what the numbers are over: image (as where it is left out), study or patient
    compares = "A plain sentence: what numbers of this split can be set beside."

    [[rows]]
    name = "SwinCheX 2022"
    split = "official"                # the name of a split above
    row = "SwinCheX"                  # the board's row that it is about, by its name or its key, where there is one
    source = "where the number stands"
    second_hand = true                # quoted by a third party, not read where it was first published
    auroc = 0.810                     # mean over labels
    f1 = 0.35
    thresholds = "how F1's thresholds were chosen"
    size = 224                        # height and width of the images in pixels
    note = "what else a reader must know"
    auroc_per_label = { Hernia = 0.855 }
    f1_per_label = { Hernia = 0.75 }
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.board import PUBLISHED_FILE, read_text
from harness.errors import UsageError
from harness.report.leaderboard import Leaderboard
from harness.units import CALLED, Unit

Share = Annotated[float, Field(ge=0, le=1)]


class _PublishedPart(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PublishedSplit(_PublishedPart):
    """A test split that published numbers were measured on."""

    name: str = Field(description="The name by which rows refer to the split.")
    title: str = Field(description="What the split is called on the page.")
    test_images: int | None = Field(default=None, ge=1, description="The number of images in the test split.")
    test_patients: int | None = Field(default=None, ge=1, description="The number of patients in the test split.")
    unit: Unit = Field(default="image", description="What the numbers are over: images, studies or patients.")
    compares: str = Field(description="A sentence that says what numbers of this split can be compared with.")


class PublishedRow(_PublishedPart):
    """What somebody published."""

    name: str = Field(description="What the published system is called.")
    split: str = Field(description="The name of the split that it was measured on.")
    row: str = Field(
        default="",
        description="The name or the key of the board's row that the number is about; the row may be still to come.",
    )
    source: str = Field(description="Where the number was published.")
    second_hand: bool = Field(
        default=False, description="Whether it is quoted by somebody else and was not read where it first appeared."
    )
    auroc: Share | None = Field(default=None, description="The mean AUROC over labels.")
    f1: Share | None = Field(default=None, description="The mean F1 over labels.")
    thresholds: str = Field(default="", description="How the thresholds of F1 were chosen; an `f1` needs it.")
    size: int | None = Field(default=None, ge=1, description="The height and width of the images in pixels.")
    note: str = Field(default="", description="What else readers should know.")
    auroc_per_label: dict[str, Share] = Field(default_factory=dict, description="The AUROC of each label.")
    f1_per_label: dict[str, Share] = Field(default_factory=dict, description="The F1 of each label.")

    @model_validator(mode="after")
    def _thresholds_belong_to_f1(self) -> Self:
        if self.f1 is not None and not self.thresholds:
            raise ValueError(
                f"'{self.name}' has an f1 but no thresholds: say how they were chosen, or that it is unknown"
            )
        return self


class Published(_PublishedPart):
    """The whole file; empty where a board has none."""

    splits: tuple[PublishedSplit, ...] = ()
    rows: tuple[PublishedRow, ...] = ()

    @model_validator(mode="after")
    def _splits_are_known(self) -> Self:
        names = [split.name for split in self.splits]
        for row in self.rows:
            if row.split not in names:
                raise ValueError(f"'{row.name}' names the split '{row.split}'; known are {', '.join(names) or 'none'}")
        return self

    def of(self, split: PublishedSplit) -> tuple[PublishedRow, ...]:
        """The rows of a split, in the file's order."""
        return tuple(row for row in self.rows if row.split == split.name)


def explain_closed(split: PublishedSplit, summary: Leaderboard) -> str:
    """Why a split's numbers cannot stand beside the board's rows, in words; empty where nothing speaks against it.

    They cannot where the board's rows lack some of their own test images or are scored over another unit, or where the
    split is the board's by its name and has another number of images.
    """
    test = summary.data.splits.get("test") if summary.data else None
    if test is None:
        return ""
    if test.left_out:
        return f"its rows were measured on {test.images:,} of {test.whole:,} test images"
    if split.unit != summary.board.unit:
        return f"its rows are scored over {summary.units}, these numbers are over {CALLED[split.unit][1]}"
    if is_own(split, summary) and split.test_images not in (None, test.images):
        return f"its rows were measured on {test.images:,} test images, these numbers on {split.test_images:,}"
    return ""


def is_own(split: PublishedSplit, summary: Leaderboard) -> bool:
    """Whether a split is the board's, by its name or by its number of images where none is left out."""
    test = summary.data.splits.get("test") if summary.data else None
    named = {summary.board.options.get("split"), summary.data.notes.get("split") if summary.data else None}
    return split.name in named or (test is not None and split.test_images == test.whole)


def read_published(folder: Path) -> Published:
    """A board's published rows. Raises `UsageError` that names the file and the key that is wrong."""
    path = folder / PUBLISHED_FILE
    if not path.is_file():
        return Published()
    try:
        return Published.model_validate(tomllib.loads(read_text(path)))
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"{part}: " for part in [".".join(map(str, first["loc"]))] if part)
        raise UsageError(f"{path}: {place}{first['msg'].removeprefix('Value error, ')}") from None
    except (ValueError, RecursionError) as error:  # of a whole number with thousands of digits, a plain ValueError
        raise UsageError(f"{path} is not TOML: {error}") from None

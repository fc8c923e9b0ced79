"""What may stand in a `board.toml`: its keys, the types of their values, and what is said of anything else."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from harness.errors import suggest
from harness.units import POOLINGS, UNITS, Pooling, Unit

Averaging = Literal["probability", "logit", "rank"]
"""What of its members' predictions an ensemble averages."""
AVERAGES: tuple[Averaging, ...] = ("probability", "logit", "rank")
CHOICES: Mapping[str, Sequence[str]] = {
    "unit": UNITS,
    "pool": POOLINGS,
    "splits": ("train", "val", "test"),
    "average": AVERAGES,
}
"""Keys of `board.toml` with the values that they may have."""


Split = Literal["train", "val", "test"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ParamsTable(_Strict):
    """The `params` of a `[[rows]]` table: parameters that differ from their defaults."""

    model: dict[str, Any] = Field(default_factory=dict, description="Parameters of the models.")
    loss: dict[str, Any] = Field(default_factory=dict, description="Parameters of the losses.")
    recipe: dict[str, Any] = Field(
        default_factory=dict,
        description="Fields of the recipes, nested as in `augment = { flip = false }`.",
    )


class RowsTable(_Strict):
    """A `[[rows]]` table: the product of its lists."""

    models: list[str] = Field(min_length=1, description="Names of models.")
    losses: list[str] = Field(min_length=1, description="Names of losses.")
    recipes: list[str] = Field(min_length=1, description="Names of recipes.")
    params: ParamsTable = Field(
        default_factory=ParamsTable, description="Parameters that differ from their defaults, in three tables."
    )
    name: str = Field(
        default="", description="What readers know the row as; only a table that asks for one row can have a name."
    )
    about: str = Field(
        default="", description="What readers should know about the row; it stands in the row's details."
    )
    tuned: str = Field(
        default="", description="How the parameters were found and what that cost; `harness tune --add` writes it."
    )

    @field_validator("name")
    @classmethod
    def _single(cls, name: str, info: ValidationInfo) -> str:
        count = math.prod(len(info.data.get(names, ())) for names in ("models", "losses", "recipes"))
        if name and count > 1:
            raise ValueError(f"a name is for one row, and this table asks for {count}; give each a table of its own")
        return name.strip()


class DatasetTable(BaseModel):
    """The `[dataset]` table: a name, and the dataset's own options as further keys."""

    model_config = ConfigDict(extra="allow")
    name: str = Field(description="The name of a dataset, as `harness data list` gives it.")


class TestTable(BaseModel):
    """A `[[test]]` table: another dataset that finished rows are evaluated on, and its own options as further keys."""

    model_config = ConfigDict(extra="allow")
    dataset: str = Field(description="The name of a dataset, as `harness data list` gives it.")
    name: str = Field(default="", description="What readers know the test set as; without it, the dataset's name.")
    splits: list[Split] = Field(
        default=["test"],
        min_length=1,
        description="Which of the dataset's splits are tested on; all its images, if all.",
    )


class EnsembleTable(_Strict):
    """An `[[ensembles]]` table: a row that is made of other rows' stored predictions."""

    rows: list[str] = Field(
        default=["*"],
        min_length=1,
        description="Names of rows, or globs that match some. Controls and other ensembles are never among them.",
    )
    average: Averaging = Field(
        default="probability",
        description="What is averaged: `probability`, `logit` or `rank`. An average of ranks gives no decisions.",
    )
    greedy: int | None = Field(
        default=None,
        ge=1,
        description="In how many steps members are picked on validation, with replacement. Else each row counts once.",
    )
    name: str = Field(default="", description="What readers know the ensemble as.")
    about: str = Field(default="", description="What readers should know about it; it stands in the row's details.")


class BoardFile(_Strict):
    """A whole `board.toml`."""

    title: str = Field(description="The heading of the page.")
    about: str = Field(default="", description="What readers should know about the board.")
    objective: str = Field(
        default="auroc",
        description="The metric that ranks rows and, unless a recipe says otherwise, picks the best epoch.",
    )
    seeds: list[int] = Field(
        default=[0], min_length=1, description="Each row is trained once for each of these different seeds."
    )
    metrics: list[str] = Field(
        default=["auroc", "auprc", "f1", "brier", "ece"],
        min_length=1,
        description="The metrics that are measured, in the order of the page; the objective always comes first.",
    )
    controls: bool = Field(
        default=False, description="Whether two rows are added that must find nothing: prevalence and shuffled targets."
    )
    prevalence: dict[str, float] = Field(
        default_factory=dict,
        description="The share of your patients who have a label, between 0 and 1; predictive values are given for it.",
    )
    unit: Unit = Field(default="image", description="What is scored: each image, each study or each patient.")
    pool: Pooling = Field(
        default="mean", description="How the scores of the images of a study or a patient become one score."
    )
    reference: str = Field(
        default="",
        description="The folder, seen from this one, of the board that measures the same rows without the leak of "
        "`image_level`.",
    )
    dataset: DatasetTable = Field(description="The dataset and its options.")
    test: list[TestTable] = Field(
        default=[], description="Other datasets that finished rows are evaluated on, without training."
    )
    rows: list[RowsTable] = Field(
        default=[], validate_default=True, description="What is compared; a board of submissions alone has none."
    )
    ensembles: list[EnsembleTable] = Field(
        default=[], description="Rows that are made of the stored predictions of others, without training."
    )

    @field_validator("rows")
    @classmethod
    def _controlled(cls, rows: list[RowsTable], info: ValidationInfo) -> list[RowsTable]:
        if info.data.get("controls") and not rows:
            raise ValueError("`controls = true` needs a row to be trained, as the controls are")
        return rows

    @field_validator("objective")
    @classmethod
    def _honest(cls, objective: str) -> str:
        if objective.endswith("@oracle"):
            raise ValueError("an oracle metric is fitted on the test split and never ranks")
        return objective

    @field_validator("pool")
    @classmethod
    def _pooled(cls, pool: Pooling, info: ValidationInfo) -> Pooling:
        if info.data.get("unit") == "image":
            raise ValueError("it says how the images of a study or a patient become one score; give unit too")
        return pool

    @field_validator("prevalence")
    @classmethod
    def _share(cls, prevalence: dict[str, float]) -> dict[str, float]:
        if not all(0 < share < 1 for share in prevalence.values()):
            raise ValueError("a prevalence lies between 0 and 1, such as 0.05")
        return prevalence

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError("seeds must be distinct whole numbers from 0")
        return seeds


def explain(error: ValidationError) -> str:
    """The first thing that is wrong, with the key and, for an unknown key, the nearest known one."""
    first = min(
        error.errors(), key=lambda problem: problem["type"] != "extra_forbidden"
    )  # a misspelt key explains a missing one
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        parts: dict[str, type[BaseModel]] = {"ensembles": EnsembleTable, "rows": RowsTable, "params": ParamsTable}
        within = [part for key, part in parts.items() if key in first["loc"][:-1]]
        owner = within[-1] if within else BoardFile
        return f"unknown key '{place}'{suggest(str(first['loc'][-1]), owner.model_fields)}"
    if first["type"] == "missing":
        return f"the key '{place}' is missing"
    if first["type"] == "literal_error":
        return (
            f"{place}: there is no '{first['input']}'{suggest(str(first['input']), CHOICES[_find_key(first['loc'])])}"
        )
    return f"{place}: {first['msg'].removeprefix('Value error, ')}, got {json.dumps(first['input'], default=str)}"


def _find_key(place: Sequence[int | str]) -> str:
    """The key that a value belongs to, which may stand in a list."""
    return next(part for part in reversed(place) if isinstance(part, str))

"""One combo with all that running it takes, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.board import Board, Combo
from harness.choices import Choices
from harness.components import Metric
from harness.data.boxes import Boxes
from harness.data.columns import fit_columns
from harness.data.loading import Source
from harness.data.prepare import Prepared
from harness.data.pretraining import PretrainingSource
from harness.data.subsets import Subset
from harness.errors import DataError, UsageError
from harness.evaluation.evaluate import Protocol
from harness.evaluation.resamples import Resamples
from harness.metric_names import split_name
from harness.results.record import (
    PretrainingPart,
    Record,
)
from harness.training.engine import DEFAULT_ENGINE_OPTIONS, EngineOptions

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False, kw_only=True)
class Job:
    """One combo with all that it needs; nothing else is read."""

    board: Board
    combo: Combo
    choices: Choices
    key: str
    parts: Mapping[str, str]
    """A digest of each thing that the key is of, by its name."""
    source: Source
    prepared: Prepared
    fingerprint: str
    protocol: Protocol
    """How its predictions are evaluated; its metrics are those of the board and of the recipe."""
    objective: Metric
    """The board's: it picks the epoch where the recipe says so."""
    device_name: str
    engine: EngineOptions = DEFAULT_ENGINE_OPTIONS
    boxes: Boxes | None = None
    """What heat maps are held against, where the board has a metric of them."""
    prepare_seconds: float = 0.0
    """Seconds spent on decoding the images, or on opening them in the cache, for all combos of that size."""
    resume: bool = True
    """Whether an interrupted training of this combo goes on, or begins again."""
    guard: Callable[[], None] = lambda: None
    """Called before anything is written; raises `ClaimLostError` where the combo is another process's by now."""
    plugins: tuple[str, ...] = ()
    """The files given by --plugin that take part, without their folders."""
    missing: str | None = None
    """Why its initial weights are not there, in words; None where they are."""
    made_of: Mapping[str, Any] | None = None
    """What its network is made of beside code, where there is something to say."""
    seen: tuple[PretrainingSource, ...] = ()
    """What its network has seen before."""
    pretraining: Sequence[PretrainingPart] = ()
    """What of that is in the test."""
    subset: Subset | None = None
    """The training patients in use, where the recipe does not ask for all."""

    @property
    def used(self) -> Prepared:
        """The images, of which those that are not in use belong to no split."""
        return self.prepared if self.subset is None else self.subset.prepared

    @property
    def device(self) -> torch.device:
        """Where it is trained."""
        import torch

        return torch.device(self.device_name)

    @property
    def board_folder(self) -> Path:
        """Where the board lies."""
        return self.board.folder


@dataclass(frozen=True, eq=False)
class Result:
    """What a combo leaves behind."""

    record: Record
    resamples: Resamples | None = None


def reason_to_skip(job: Job) -> str | None:
    """Why a combo cannot be run here, or mean anything on this data; None where it can."""
    if job.missing is not None:
        return job.missing
    loss, model, recipe = job.choices.loss, job.choices.model, job.choices.recipe
    if loss.scalar and bool(np.isnan(job.prepared.data.targets).any()):
        return f"loss '{loss.name}' reduces by itself and cannot leave out unknown targets, which this dataset has"
    if recipe.train != "all" and loss.name != "bce":
        return f"recipe '{recipe.name}' trains nothing by a loss of one's choice; name the loss 'bce' beside it"
    if model.inputs.size is not None and model.inputs.size != recipe.size:
        return f"model '{model.name}' takes images of {model.inputs.size} px only, the recipe gives {recipe.size}"
    try:
        fit_columns(job.prepared.data, model.inputs.table)
        if model.origin is not None and model.origin.require_labels is not None:
            model.origin.require_labels(job.prepared.data.labels, **job.choices.model_params)
    except DataError as error:
        return f"model '{model.name}' cannot be trained here: {error}"
    except UsageError as error:
        return f"model '{model.name}' cannot be used here: {error}"
    return None


def name_selection(job: Job) -> str:
    """The metric that picks a combo's best epoch, or `loss`."""
    chosen = job.choices.recipe.select_on
    return chosen if chosen == "loss" else find_metric(job, chosen).name


def find_metric(job: Job, name: str) -> Metric:
    """The metric that a recipe means by a name."""
    if name == "objective":
        return job.objective
    base = split_name(name)[0]
    return next(metric for metric in (job.objective, *job.protocol.metrics) if metric.name == base)

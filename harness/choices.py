"""A row's names turned into components with every parameter filled in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.board import Board, Row
from harness.components import Loss, Metric, Model, Recipe, Task
from harness.errors import HarnessError, UnknownNameError, UsageError
from harness.metric_names import split_name
from harness.parameters import SECTIONS, complete, override
from harness.registry import Offer, Registry


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Everything that a row stands for, ready to be built."""

    row: Row
    model: Model
    loss: Loss
    recipe: Recipe
    """The recipe with the row's overrides."""
    model_params: dict[str, Any]
    loss_params: dict[str, Any]
    """Parameters of the loss; these and the model's are complete, defaults included."""
    code: dict[str, str]
    """Digest of the source of each external plugin that takes part, by kind."""
    plugins: tuple[str, ...] = ()
    """The files given by --plugin that offer the components, without their folders."""


def resolve(row: Row, registry: Registry) -> Choices:
    """Look a row's components up and check its parameters.

    Raises `UnknownNameError` or `UsageError` where a name or a value means nothing.
    """
    for section in row.params:
        if section not in SECTIONS:
            raise UnknownNameError("section of parameters", section, SECTIONS)
    offers = {
        "model": registry.offer("model", row.model),
        "loss": registry.offer("loss", row.loss),
        "recipe": registry.offer("recipe", row.recipe),
    }
    model, loss, recipe = registry.model(row.model), registry.loss(row.loss), registry.recipe(row.recipe)
    return Choices(
        row=row,
        model=model,
        loss=loss,
        recipe=override(recipe, row.params.get("recipe", {})),
        model_params=complete(model, model.build, row.params.get("model", {})),
        loss_params=complete(loss, loss.build, row.params.get("loss", {})),
        code={kind: offer.code for kind, offer in offers.items() if offer.code},
        plugins=list_files(offers.values()),
    )


def require_loss(choices: Choices, labels: Sequence[str]) -> None:
    """Refuse parameters that a row's loss cannot have for these labels, before anything is trained.

    The loss is built for that, where the row gives it parameters at all; it is told no prevalence. Raises the
    `HarnessError` that building it raises; any other error is the loss's own, and a record of the training will tell.
    """
    if not choices.row.params.get("loss"):
        return
    unknown = (math.nan,) * len(labels)
    size = choices.recipe.size
    task = Task(labels=tuple(labels), channels=1, size=size, mean=(0.5,), std=(0.25,), prevalence=unknown)
    try:
        choices.loss.build(task, **choices.loss_params)
    except HarnessError:
        raise
    except Exception:  # noqa: BLE001 - whatever a plugin raises
        return


def list_files(offers: Iterable[Offer]) -> tuple[str, ...]:
    """The plugin files that make these offers, each once, without their folders."""
    return tuple(dict.fromkeys(Path(offer.plugin).name for offer in offers if offer.origin == "local"))


def resolve_metrics(names: Sequence[str], registry: Registry) -> tuple[Metric, ...]:
    """The metrics behind names such as `auroc`, `f1` or `f1@0.5`, each once."""
    metrics = [registry.metric(split_name(name)[0]) for name in names]
    return tuple({metric.name: metric for metric in metrics}.values())


def resolve_rows(board: Board, registry: Registry) -> dict[str, Choices]:
    """Every row of a board by its name: nothing is run before all of it is known to mean something."""
    return {row.name: resolve(row, registry) for row in board.rows}


def list_metrics(board: Board, rows: Mapping[str, Choices]) -> list[str]:
    """Names of the board's metrics, and of those by which recipes pick an epoch or lower the learning rate."""
    return [*board.metrics, *list_watched(rows)]


def list_watched(rows: Mapping[str, Choices]) -> list[str]:
    """Names of metrics by which recipes pick an epoch or lower the learning rate."""
    watched = (name for choices in rows.values() for name in (choices.recipe.select_on, choices.recipe.schedule.watch))
    return [name for name in watched if name not in ("objective", "loss")]


def require_scored(names: Iterable[str], registry: Registry) -> None:
    """Refuse metrics of heat maps for what is decided while a network is trained, and for ranking.

    Raises `UsageError`, or `UnknownNameError` for a name that there is not.
    """
    for name in names:
        if registry.metric(split_name(name)[0]).on == "maps":
            raise UsageError(
                f"metric '{name}' is of heat maps, which are made of the finished network alone: it can neither rank "
                "rows nor pick an epoch; name another objective, and this one under metrics"
            )

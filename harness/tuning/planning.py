"""Plans of studies: drawn up from what is asked, and as plain data for workers on other machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from harness.board import Row
from harness.choices import resolve
from harness.tuning.space import Dimensions, default_values, read_dimension
from harness.tuning.study import Plan

if TYPE_CHECKING:
    from harness.tuning.methods import Pruner, Sampler
    from harness.tuning.trial import TrialContext


def draw_up(
    context: TrialContext,
    row: Row,
    dimensions: Dimensions,
    *,
    name: str,
    objective: str,
    sampler: Sampler,
    pruner: Pruner,
    seeds: tuple[int, ...],
    storage: str | None,
) -> Plan:
    """Draw up the plan of a study, by the components and the data that are here.

    Raises `HarnessError` for components and data that there are not.
    """
    choices = resolve(row, context.registry)
    searched = dimensions["recipe.epochs"].ends() if "recipe.epochs" in dimensions else ()
    return Plan(
        name=name,
        board=context.board,
        row=row,
        dimensions=dimensions,
        defaults=default_values(dimensions, choices),
        objective=objective,
        higher_is_better=context.objective.higher_is_better,
        fingerprint=context.fingerprint(row),
        epochs=max((end for end in searched if isinstance(end, int)), default=choices.recipe.epochs),
        sampler=sampler,
        pruner=pruner,
        seeds=seeds,
        storage=storage,
    )


def as_plain(plan: Plan) -> dict[str, Any]:
    """What is asked of a study, as plain data: neither the board nor anything that components or data tell."""
    return {
        "name": plan.name,
        "row": name_row(plan.row),
        "dimensions": {name: {**one.as_plain(), "origin": one.origin} for name, one in plan.dimensions.items()},
        "objective": plan.objective,
        "sampler": plan.sampler,
        "pruner": plan.pruner,
        "seeds": list(plan.seeds),
        "storage": plan.storage,
    }


def name_row(row: Row) -> dict[str, Any]:
    """What `Row` makes the row of again, as plain data."""
    return {"model": row.model, "loss": row.loss, "recipe": row.recipe, "params": row.params}


def read_plan(told: Mapping[str, Any], context: TrialContext) -> Plan:
    """Draw up the plan that `as_plain` tells of, by what is here. Raises what `draw_up` raises."""
    asked = dict(told)
    dimensions = {name: read_dimension(name, one) for name, one in asked.pop("dimensions").items()}
    row, seeds = Row(**asked.pop("row")), tuple(asked.pop("seeds"))
    return draw_up(context, row, dimensions, seeds=seeds, **asked)

"""What rows are called where people read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.report.ensembles import title_ensemble

if TYPE_CHECKING:
    from harness.report.leaderboard import RowSummary


def title_rows(rows: Sequence[RowSummary]) -> dict[str, str]:
    """Row -> its title, no two alike: as board.toml says, or such as `chexnet + focal, dacnet recipe, width 32`.

    What all rows that are trained here share, a recipe or a parameter, is left out. A submission has the name that its
    submitter gave, an ensemble says what it is. A row whose title another has, too, is called by its whole name.
    """
    trained = [row for row in rows if row.external is None and row.control is None and row.ensemble is None]
    recipes = {row.recipe for row in trained}
    given = {row.name: _list_params(row) for row in trained}
    shared = {pair for pair in _all_pairs(given.values()) if all(pair in pairs for pairs in given.values())}
    titles = {}
    for row in rows:
        if row.own_title:
            titles[row.name] = row.own_title
        elif row.control is not None:
            titles[row.name] = f"control: {row.control}"
        elif row.external is not None:
            titles[row.name] = row.model
        elif row.ensemble is not None:
            titles[row.name] = title_ensemble(row.ensemble, row.counted)
        else:
            recipe = [f"{row.recipe} recipe"] if len(recipes) > 1 else []
            params = [f"{name} {value}" for name, value in given[row.name] if (name, value) not in shared]
            titles[row.name] = ", ".join([row.system, *recipe, *params])
    counts = Counter(titles.values())
    return {name: title if counts[title] == 1 else name for name, title in titles.items()}


def _list_params(row: RowSummary) -> list[tuple[str, str]]:
    return [(name, _format(value)) for values in row.params.values() for name, value in values.items()]


def _all_pairs(given: Any) -> set[tuple[str, str]]:
    return {pair for pairs in given for pair in pairs}


def _format(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)

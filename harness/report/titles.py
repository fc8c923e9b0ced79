"""What rows are called where people read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.parameters import tell_params
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
    given = {row.name: tell_params(row.params) for row in trained}
    shared = set.intersection(*map(set, given.values())) if given else set()
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
            params = [text for text in given[row.name] if text not in shared]
            titles[row.name] = ", ".join([row.system, *recipe, *params])
    counts = Counter(titles.values())
    return {name: title if counts[title] == 1 else name for name, title in titles.items()}


def tell_untitled(row: RowSummary) -> str:
    """The parameters of a row that its title does not tell, as all rows share them or it has a name of its own."""
    told = row.title.split(", ")
    return ", ".join(text for text in tell_params(row.params) if text not in told)

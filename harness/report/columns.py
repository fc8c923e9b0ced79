"""The columns of a board's tables: the page's ranking and its chooser, `board.csv`, and the terminal's table.

Each column is one entry, which says what it has to say of a row to whichever of them shows it. A new one is an entry,
and its place in `list_page_columns`, `list_csv_columns` or `list_terminal_columns`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from markupsafe import Markup

from harness.report.column import Cell, Column, InTerminal, OnPage, Value, make_small
from harness.report.drawing import NOTHING
from harness.report.ensembles import list_members, mark_ensemble
from harness.report.format import EXTERNAL, anchor, format_number, mark_breaks
from harness.report.kinds import WHOLE
from harness.report.leaderboard import Leaderboard, RowSummary
from harness.report.metric_columns import (
    INTERVAL,
    PUBLISHED,
    describe_metric,
    describe_objective,
    draw_objective,
    expand_labels,
    expand_metric,
    list_asked,
    shows_published,
)
from harness.report.shadow import list_pretraining, mark_pretraining
from harness.report.titles import tell_untitled
from harness.report.trained import mark_embedding, mark_kind

# --- which columns, in which order -----------------------------------------------------------------------------------


def list_page_columns(summary: Leaderboard) -> list[OnPage]:
    """The columns of the page's ranking; the first one heads the rows."""
    metrics = [name for name in summary.metrics if name != summary.objective]
    groups = [GROUP] if summary.grouped else []
    objective = [describe_objective(summary), draw_objective(summary)]
    of_metrics = [describe_metric(summary, name) for name in metrics]
    costs = [cost for cost in _list_costs(summary) if any(cost.name in row.efficiency for row in summary.rows)]
    choices = [LOSS, RECIPE] if any(row.loss or row.recipe for row in summary.rows) else []
    columns = [TITLE, RANK, *groups, *objective, *choices, SEEDS, STATUS, *of_metrics, *costs]
    folded = {SEEDS.name, STATUS.name} if _is_whole(summary) else set()
    return [
        replace(column.page, usual=False) if column.name in folded else column.page
        for column in columns
        if column.page is not None
    ]


def _is_whole(summary: Leaderboard) -> bool:
    """Whether every row is done, with as many seeds as the others, so that a table need not say it row by row."""
    return all(row.status == "done" for row in summary.rows) and len({len(row.seeds) for row in summary.rows}) == 1


def list_csv_columns(summary: Leaderboard) -> list[Column]:
    """The columns of `board.csv`."""
    what = [
        RANK,
        GROUP,
        ROW,
        TITLE,
        MODEL,
        LOSS,
        RECIPE,
        PARAMS,
        KIND,
        CONTROL,
        STATUS,
        REASONS,
        SEEDS,
        DATASET,
        FINGERPRINT,
    ]
    metrics = [column for name in summary.metrics for column in expand_metric(name)]
    spent = sorted({name for row in summary.rows for name in row.efficiency})
    labels = summary.data.labels if summary.data else []
    return [
        *what,
        *metrics,
        *([PUBLISHED] if shows_published(summary) else []),
        *([MEMBERS] if any(row.ensemble for row in summary.rows) else []),
        *([PRETRAINING] if any(row.pretraining for row in summary.rows) else []),
        *(Column(name=name, value=_value_cost(name)) for name in spent),
        *([EMBEDDINGS] if any(row.embeddings for row in summary.rows) else []),
        *(column for name in summary.metrics for column in expand_labels(summary, name, labels)),
    ]


def list_terminal_columns(summary: Leaderboard) -> list[InTerminal]:
    """The columns of the terminal's table: the board's metrics and what stands beside them."""
    names = [summary.objective, *list_asked(summary)]
    measured = [name for name in dict.fromkeys(names) if name in summary.metrics]
    metrics = [
        describe_objective(summary) if name == summary.objective else describe_metric(summary, name, leads=place == 0)
        for place, name in enumerate(measured)
    ]
    columns = [RANK, GROUP, ROW, *metrics[:1], INTERVAL, PUBLISHED, *metrics[1:], SEEDS, *_list_costs(summary), STATUS]
    return [column.terminal for column in columns if column.terminal is not None]


# --- what a row is ---------------------------------------------------------------------------------------------------


def _assign(row: RowSummary, component: str) -> Markup:
    """The parameters of a component that are not its defaults."""
    values = row.params.get(component, {})
    return NOTHING.join(make_small(f"{name} = {value}") for name, value in values.items())


def _show_title(row: RowSummary, summary: Leaderboard) -> Cell:
    shown = Markup('<a href="#{}">{}</a>').format(anchor(row.name), mark_breaks(row.title))
    if row.own_title and row.external is None and row.ensemble is None:
        shown += make_small(f"{row.system}, {row.recipe} recipe")
    if mark := mark_kind(row, summary):
        shown += make_small(mark)
    if (mark := mark_ensemble(row)) and mark not in row.title:
        shown += make_small(mark)
    if row.external is not None:
        size = row.submission and row.submission.image_size
        shown += make_small(f"{EXTERNAL}; {size} px images" if size else EXTERNAL)
    if row.only_ranked:
        shown += make_small(row.only_ranked)
    if mark := mark_pretraining(row):
        shown += make_small(mark, "small caution")
    if untitled := tell_untitled(row):
        shown += make_small(untitled)
    if row.tuned:
        shown += make_small(row.tuned, "small tuned")
    return Cell(shown, value=row.title)


def _show_seeds(row: RowSummary, summary: Leaderboard) -> Cell:
    return Cell(f"{len(row.seeds)}" if row.external is not None else f"{len(row.seeds)} of {len(summary.board.seeds)}")


def _format_seeds(row: RowSummary, summary: Leaderboard) -> str:
    return f"{len(row.seeds)}" if row.external is not None else f"{len(row.seeds)}/{len(summary.board.seeds)}"


def _show_status(row: RowSummary, summary: Leaderboard) -> Cell:
    badge = Markup('<span class="status {}">{}{}</span>')
    return Cell(badge.format(row.status, "control, " if row.control else "", row.status), row.status, "text")


def _format_status(row: RowSummary, summary: Leaderboard) -> str:
    said = (
        [row.status, EXTERNAL] if row.external is not None else ["control", row.status] if row.control else [row.status]
    )
    usual = row.kind in WHOLE and not row.share
    kind = "" if usual else mark_kind(row, summary)
    return ", ".join(filter(None, (*said, kind, mark_ensemble(row), mark_pretraining(row))))


def _join_members(row: RowSummary, summary: Leaderboard) -> str | None:
    members = list_members(row, summary)
    return "; ".join(f"{one.row} ({one.weights})" if one.weights else one.row for one in members) or None


def _make_choice(name: str) -> Column:
    """The column of the loss or the recipe that a row chooses, with the parameters that differ from their defaults."""

    def show(row: RowSummary, _: Leaderboard) -> Cell:
        chosen = getattr(row, name)
        return Cell(Markup("{}{}").format(chosen, _assign(row, name)), chosen, "text")

    return Column(
        name=name,
        value=lambda row, _: getattr(row, name),
        page=OnPage(heading=name, cell=show, first="ascending", kind="text", is_number=False, usual=False),
    )


RANK = Column(
    name="rank",
    value=lambda row, _: row.rank,
    page=OnPage(heading="rank", cell=lambda row, _: Cell(row.rank or "", kind="rank"), first="ascending", usual=None),
    terminal=InTerminal(heading="#", text=lambda row, _: str(row.rank or "")),
)
GROUP = Column(
    name="group",
    value=lambda row, _: row.group,
    page=OnPage(
        heading="group", cell=lambda row, _: Cell(row.group or "", kind="group"), first="ascending", usual=False
    ),
    terminal=InTerminal(heading="group", text=lambda row, _: str(row.group or ""), shown="filled"),
)
ROW = Column(
    name="row",
    value=lambda row, _: row.name,
    terminal=InTerminal(heading="row", text=lambda row, _: row.name, is_text=True),
)
MODEL = Column(name="model", value=lambda row, _: row.model)
TITLE = Column(
    name="title",
    value=lambda row, _: row.title,
    page=OnPage(heading="row", cell=_show_title, first="ascending", kind="first text", is_number=False, usual=None),
)
LOSS, RECIPE = map(_make_choice, ("loss", "recipe"))
PARAMS = Column(name="params", value=lambda row, _: json.dumps(row.params, sort_keys=True) if row.params else None)
KIND = Column(name="kind", value=lambda row, _: ", ".join(filter(None, (row.kind, row.share))) or None)
"""How the row was trained."""
EMBEDDINGS = Column(name="embeddings", value=lambda row, _: " ".join(row.embeddings) or None)
"""Digests of the embeddings that the row was fitted on; rows with the same one share what it cost."""
CONTROL = Column(name="control", value=lambda row, _: row.control)
STATUS = Column(
    name="status",
    value=lambda row, _: row.status,
    page=OnPage(heading="status", cell=_show_status, first="ascending", kind="text", is_number=False),
    terminal=InTerminal(heading="status", text=_format_status, is_text=True),
)
PRETRAINING = Column(name="pretraining", value=lambda row, _: list_pretraining(row))
"""What the row's network had seen before."""
MEMBERS = Column(name="members", value=_join_members)
"""The rows that an ensemble is made of."""
REASONS = Column(name="reasons", value=lambda row, _: "; ".join(row.reasons) or None)
SEEDS = Column(
    name="seeds",
    value=lambda row, _: " ".join(map(str, row.seeds)) or None,
    page=OnPage(heading="seeds", cell=_show_seeds),
    terminal=InTerminal(heading="seeds", text=_format_seeds),
)
DATASET = Column(name="dataset", value=lambda _, summary: summary.board.dataset)
FINGERPRINT = Column(
    name="fingerprint",
    value=lambda row, _: next((r.dataset.fingerprint for r in row.records if r.combo.seed in row.seeds), None),
)


# --- what it costs ---------------------------------------------------------------------------------------------------


def _value_cost(name: str) -> Callable[[RowSummary, Leaderboard], Value]:
    return lambda row, _: row.efficiency.get(name)


def _describe_cost(
    name: str,
    heading: str,
    digits: int,
    factor: float = 1.0,
    *,
    timed: bool = False,
    terminal: str = "",
    usual: bool = False,
    beside: Callable[[RowSummary, Leaderboard], str] = lambda row, summary: "",
) -> Column:
    """A number of `RowSummary.efficiency`; `terminal` is its heading there, where it is shown there.

    `beside` says on the page what stands under it.
    """

    def format_cost(row: RowSummary, _: Leaderboard) -> str:
        value = row.efficiency.get(name)
        least = 10.0**-digits
        if value is not None and 0 < value * factor < least / 2:
            return f"<{least:.{digits}f}"
        return format_number(None if value is None else value * factor, digits)

    def show_cost(row: RowSummary, summary: Leaderboard) -> Cell:
        text = beside(row, summary)
        shown = Markup("{}{}").format(format_cost(row, summary), make_small(text) if text else NOTHING)
        return Cell(shown, value=row.efficiency.get(name, ""))

    return Column(
        name=name,
        value=_value_cost(name),
        page=OnPage(heading=heading, cell=show_cost, usual=usual),
        terminal=InTerminal(heading=terminal, text=format_cost, shown="early") if terminal else None,
        timed=timed,
    )


COSTS = (
    _describe_cost("train_images_per_second", "train images/s", 0, timed=True, terminal="images/s"),
    _describe_cost("inference_images_per_second", "test images/s", 0, timed=True),
    _describe_cost(
        "train_minutes", "train minutes", 1, timed=True, terminal="minutes", usual=True, beside=mark_embedding
    ),
    _describe_cost("device_hours", "device hours", 2, timed=True),
    _describe_cost("embedding_seconds", "embedding seconds, shared", 1, timed=True),
    _describe_cost("parameters", "parameters (M)", 2, 1e-6),
    _describe_cost("peak_device_bytes", "peak memory (MiB)", 0, 2.0**-20),
)
"""Costs that the page shows; `board.csv` has every one of a record."""


def _list_costs(summary: Leaderboard) -> list[Column]:
    """The costs, times only where they compare."""
    return [column for column in COSTS if summary.timings_compare or not column.timed]

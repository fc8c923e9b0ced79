"""A board's table as a paper or a pull request shows it: chosen columns, a caption that can stand alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.errors import UnknownNameError, UsageError
from harness.metric_names import explain_policies, full_name, title_metric
from harness.report.chance import count_test
from harness.report.column import Value
from harness.report.columns import COSTS, list_csv_columns
from harness.report.ensembles import mark_ensemble
from harness.report.format import (
    EXTERNAL,
    format_interval,
    format_number,
    format_spread,
    tell_all_labels,
    tell_part,
    tell_scored,
)
from harness.report.leaderboard import Leaderboard, RowSummary
from harness.report.markup import escape_latex, escape_markdown
from harness.report.metric_columns import list_asked
from harness.report.shadow import mark_pretraining
from harness.units import count_units

DIGITS = 3
"""Digits of a metric after the point."""
NO_VALUE = "-"
INTERVAL = "_interval"
"""What follows a metric's name in the name of the column of its interval."""
_TIMED = frozenset(column.name for column in COSTS if column.timed)
_NUMBERS = re.compile(r"[\[\]0-9., ±+-]+")
SIGNS = "†‡§¶"
"""Stand after the names of rows that a sentence of the caption is about, one for each mark that there can be."""
ROW = "title"
"""The column that says which row it is."""


@dataclass(frozen=True)
class PaperCell:
    """What stands in one row and column."""

    text: str
    is_best: bool = False
    """Whether it is printed bold."""


@dataclass(frozen=True)
class PaperTable:
    """A table as it is printed: what stands in it, and what has to be said of it."""

    name: str
    """The board's, for references."""
    headings: tuple[str, ...]
    rows: tuple[tuple[PaperCell, ...], ...]
    numeric: tuple[bool, ...]
    """For each column whether it holds numbers, which stand to the right."""
    caption: tuple[str, ...]
    """Sentences."""


@dataclass(frozen=True)
class _Shown:
    """A column as it is printed."""

    heading: str
    text: Callable[[RowSummary], str]
    is_best: Callable[[RowSummary], bool] = lambda row: False
    is_number: bool = True


def list_names(summary: Leaderboard) -> list[str]:
    """The names of columns that `make_table` takes: those of `board.csv`, and for each metric its interval."""
    names = [column.name for column in list_csv_columns(summary)]
    return [*names, *(name + INTERVAL for name in summary.metrics)]


def list_usual_names(summary: Leaderboard) -> list[str]:
    """The columns that are printed where none is asked for: the row, what ranks it, and the board's other metrics."""
    asked = [name for name in list_asked(summary) if name in summary.metrics and name != summary.objective]
    ranks = [summary.objective] if summary.objective in summary.metrics else []
    interval = [f"{summary.objective}{INTERVAL}"] if summary.compared else []
    return [ROW, *ranks, *interval, *asked]


def make_table(summary: Leaderboard, columns: Sequence[str] = ()) -> PaperTable:
    """The rows that have a result, in the board's order, in these columns or the usual ones.

    Raises `UnknownNameError` for a column that is none of `list_names`, `UsageError` where no row has a result. A
    metric may be called without its threshold policy.
    """
    known = list_names(summary)
    names = [_complete(name, summary) for name in columns] or list_usual_names(summary)
    for name in names:
        if name not in known:
            hint = f"columns are those of board.csv and METRIC{INTERVAL}; metrics are {', '.join(summary.metrics)}"
            raise UnknownNameError("column", name, known, hint)
    rows = [row for row in summary.rows if row.metrics]
    if not rows or summary.data is None:
        raise UsageError(f"{summary.board.folder} has no results yet, so there is no table of them; run it first")
    shown = [_show(name, names, summary, rows) for name in names]
    return PaperTable(
        name=summary.board.folder.resolve().name,
        headings=tuple(one.heading for one in shown),
        rows=tuple(tuple(PaperCell(one.text(row) or NO_VALUE, one.is_best(row)) for one in shown) for row in rows),
        numeric=tuple(one.is_number for one in shown),
        caption=tuple(_caption(summary, names, rows)),
    )


# --- columns ---------------------------------------------------------------------------------------------------------


def _complete(name: str, summary: Leaderboard) -> str:
    """The whole name of a column, where `f1`, `f1_interval` and `f1[Mass]` may lack the threshold policy."""
    match = re.fullmatch(rf"([^@]+?)({INTERVAL}|\[.+\].*)?", name)
    return name if match is None else f"{full_name(match[1], summary.metrics)}{match[2] or ''}"


def _find_metric(name: str, summary: Leaderboard) -> str | None:
    """The metric that a column is of; None where it is of none."""
    base = re.sub(r"(\[.+\])(_low|_high)?$", "", name).removesuffix(INTERVAL)
    return base if base in summary.metrics else None


def _list_policies(names: Sequence[str], summary: Leaderboard) -> dict[str, str]:
    """Threshold policy -> what it is, for those of the metrics in these columns."""
    return explain_policies([metric for name in names if (metric := _find_metric(name, summary)) is not None])


def _show(name: str, names: Sequence[str], summary: Leaderboard, rows: Sequence[RowSummary]) -> _Shown:
    """One of these columns as it is printed."""
    metric = _find_metric(name, summary)
    if metric is not None:
        return _show_metric(name, metric, names, summary)
    if name == ROW:
        mark = "*" if any(row.external is None for row in rows) else ""
        seen = _list_marks(rows)

        def title(row: RowSummary) -> str:
            return row.title + (mark if row.external is not None else "") + seen.get(mark_pretraining(row), "")

        return _Shown("row", title, is_number=False)
    column = next(one for one in (*COSTS, *list_csv_columns(summary)) if one.name == name)
    page = column.page
    if page is not None and name not in ("loss", "recipe"):  # their cells hold parameters, too
        return _Shown(page.heading, lambda row: _strip(page.cell(row, summary).content), is_number=page.is_number)
    is_number = not any(isinstance(column.value(row, summary), str) for row in rows)
    return _Shown(name.replace("_", " "), lambda row: _format(column.value(row, summary)), is_number=is_number)


def _show_metric(name: str, metric: str, names: Sequence[str], summary: Leaderboard) -> _Shown:
    """A metric's value with its deviation, its interval, or one of its other columns in `board.csv`."""
    several = len(_list_policies(names, summary)) > 1
    called = title_metric(metric).replace("@", " at ") if several else title_metric(metric.partition("@")[0])
    if name == metric:
        best = _find_best(metric, summary)
        return _Shown(called, lambda row: format_spread(row.metrics.get(metric), DIGITS), lambda row: row.name in best)
    if name == metric + INTERVAL:
        alone = sum(other.endswith(INTERVAL) for other in names) == 1
        heading = "95 % interval" if alone else f"95 % interval of {called}"
        return _Shown(heading, lambda row: format_interval(row.metrics.get(metric), DIGITS))
    column = next(one for one in list_csv_columns(summary) if one.name == name)
    _, label, end = re.fullmatch(r"(.*)\[(.+)\](?:_(low|high))?", name).groups()  # type: ignore[union-attr]
    heading = ", ".join(filter(None, (called, label, end)))
    return _Shown(heading, lambda row: _format(column.value(row, summary)))


def _strip(content: object) -> str:
    """What a cell of the page says, without its tags."""
    return re.sub(r"<[^>]*>", "", str(content))


def _format(value: Value) -> str:
    if isinstance(value, float):
        return format_number(value, 0 if abs(value) >= 1000 else DIGITS)
    return "" if value is None else f"{value:,}" if isinstance(value, int) else value


def _find_best(metric: str, summary: Leaderboard) -> frozenset[str]:
    """The rows that are printed bold: in the objective the first group, where there are groups; else the best value.

    A threshold that was fitted on the test split itself makes nothing the best.
    """
    if metric == summary.objective and summary.grouped:
        return frozenset(row.name for row in summary.ranked if row.group == 1)
    values = {row.name: round(row.metrics[metric].mean, DIGITS) for row in summary.ranked if metric in row.metrics}
    if metric.endswith("@oracle") or len(values) < 2:
        return frozenset()
    best = max(values.values()) if summary.directions[metric] else min(values.values())
    return frozenset(name for name, value in values.items() if value == best)


# --- the caption -----------------------------------------------------------------------------------------------------


def _caption(summary: Leaderboard, names: Sequence[str], rows: Sequence[RowSummary]) -> list[str]:
    """What a reader has to know: data, seeds, intervals, thresholds, what is bold, what is left out."""
    found = (_find_metric(name, summary) for name in names)
    metrics = list(dict.fromkeys(metric for metric in found if metric is not None))
    sentences = [f"{summary.board.title}.", *_tell_data(summary)]
    if metrics:
        sentences += [_tell_seeds(rows), *(f"{text[0].upper()}{text[1:]}." for text in tell_all_labels(summary))]
    if any(name.endswith(INTERVAL) for name in names):
        assert summary.data is not None
        over = summary.units if "patients" in summary.data.notes else "patients"
        of = " and ".join(
            dict.fromkeys(title_metric(name.removesuffix(INTERVAL)) for name in names if name.endswith(INTERVAL))
        )
        sentences.append(f"Intervals of {of} are over {over}, at 95 %.")
    policies = _list_policies(names, summary)
    sentences += [f"Decisions are at {text}." for text in policies.values()] if len(policies) == 1 else []
    sentences += [f"{name}: {text}." for name, text in policies.items()] if len(policies) > 1 else []
    lower = [title_metric(name).partition("@")[0] for name in metrics if not summary.directions[name]]
    sentences += [f"Lower is better for {' and '.join(dict.fromkeys(lower))}."] if lower else []
    if any(name in _TIMED for name in names):
        sentences.append(_tell_machines(summary))
    return [*sentences, *_tell_bold(summary, [name for name in metrics if name in names]), *_tell_rest(summary, rows)]


def _tell_data(summary: Leaderboard) -> list[str]:
    data = summary.data
    assert data is not None
    images, _ = count_test(summary)
    split = data.notes.get("split", "")
    name = f", {split} split" if re.fullmatch(r"[\w-]+", split) else ""
    test = data.splits["test"]
    of = "" if summary.board.unit == "patient" or "patients" in data.notes else f" of {test.patients:,} patients"
    part, scored = tell_part(summary), tell_scored(summary)
    labels = f"{len(data.labels)} {'label' if len(data.labels) == 1 else 'labels'}"
    test_split = f"test split of {count_units(summary.board.unit, images)}{of}"
    sentences = [f"Dataset {data.name}{name}: {test_split}, {labels} (data fingerprint {data.fingerprint[:8]})."]
    sentences += [f"{part}."] if part else []
    sentences += [f"Scored over {scored}."] if scored else []
    return [*sentences, *([f"Not ranked, as the splits leak: {summary.leak}."] if summary.leak else [])]


def _tell_seeds(rows: Sequence[RowSummary]) -> str:
    counts = sorted({len(row.seeds) for row in rows})
    if counts == [1]:
        return "Mean over labels; one seed."
    many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"Mean over labels ± standard deviation over {many} seeds."


def _tell_machines(summary: Leaderboard) -> str:
    """What times were measured on."""
    machines = " and ".join(f"{device} (harness {version})" for device, version in summary.machines)
    return f"Times are of {machines}{'' if summary.timings_compare else ', so they do not compare'}."


def _tell_bold(summary: Leaderboard, metrics: Sequence[str]) -> list[str]:
    """What bold print means, where anything is bold."""
    marked = [name for name in metrics if _find_best(name, summary)]
    if not marked:
        return []
    tied = f"in {title_metric(summary.objective)}, the best row and those that are statistically tied with it"
    if summary.objective not in marked or not summary.grouped:
        return ["Bold: the best value of a column, without a test of its lead."]
    if len(marked) == 1:
        return [f"Bold: {tied} (Holm-adjusted, over patients and seeds)."]
    return [f"Bold: {tied} (Holm-adjusted, over patients and seeds); elsewhere the best value, without a test."]


def _tell_rest(summary: Leaderboard, rows: Sequence[RowSummary]) -> list[str]:
    """What stands in the table without being a ranked row of this board, and what does not stand in it."""
    external = [row for row in rows if row.external is not None]
    absent = [row.title for row in summary.rows if not row.metrics]
    sentences = []
    if external:
        mark = "All rows are" if len(external) == len(rows) else "* is"
        sentences.append(f"{mark} {EXTERNAL}.")
    ensembles = [
        f"{row.title} ({mark})" if (mark := mark_ensemble(row)) not in row.title else row.title
        for row in rows
        if row.ensemble is not None
    ]
    if ensembles:
        sentences.append(f"Averages of other rows' predictions, without training: {'; '.join(ensembles)}.")
    sentences += [f"{sign} {text}." for text, sign in _list_marks(rows).items()]
    if absent:
        sentences.append(f"Without a result and left out: {'; '.join(absent)}.")
    return sentences


def _list_marks(rows: Sequence[RowSummary]) -> dict[str, str]:
    """What is to be known of networks that had seen images before -> the sign that stands for it after a row's name."""
    said = dict.fromkeys(mark for row in rows if (mark := mark_pretraining(row)))
    return dict(zip(said, SIGNS, strict=False))


# --- as text ---------------------------------------------------------------------------------------------------------


def as_markdown(table: PaperTable) -> str:
    """Return the table as GitHub's Markdown, with its caption below."""
    head = f"| {' | '.join(map(escape_markdown, table.headings))} |"
    rule = f"|{'|'.join('---:' if number else '---' for number in table.numeric)}|"

    def cell(one: PaperCell) -> str:
        text = one.text if _NUMBERS.fullmatch(one.text) else escape_markdown(one.text)
        return f"**{text}**" if one.is_best else text

    rows = [f"| {' | '.join(map(cell, row))} |" for row in table.rows]
    return "\n".join([head, rule, *rows, "", escape_markdown(" ".join(table.caption))]) + "\n"


def as_latex(table: PaperTable) -> str:
    """Return the table as a LaTeX float, which needs the package booktabs."""

    def cell(one: PaperCell) -> str:
        text = escape_latex(one.text)
        return rf"\textbf{{{text}}}" if one.is_best else text

    label = re.sub(r"[^A-Za-z0-9]+", "-", table.name).strip("-")
    lines = [
        r"% needs \usepackage{booktabs}; where it is too wide, choose fewer columns with --columns",
        r"\begin{table}",
        r"\centering",
        r"\small",
        rf"\caption{{{escape_latex(' '.join(table.caption))}}}",
        rf"\label{{tab:{label or 'board'}}}",
        rf"\begin{{tabular}}{{{''.join('r' if number else 'l' for number in table.numeric)}}}",
        r"\toprule",
        " & ".join(map(escape_latex, table.headings)) + r" \\",
        r"\midrule",
        *(" & ".join(map(cell, row)) + r" \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"

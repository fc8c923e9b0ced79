"""A board's page: one HTML file from its records, board.toml and published.toml; the same input gives the same bytes.

It needs no data, no plugin and no network: style, script and drawings stand in the file, and its content-security
policy lets nothing else load or run. All texts are escaped: a component's name is data.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from harness.board import CONTROLS, Board
from harness.evaluation.names import explain_policies
from harness.evaluation.subgroups import FEWEST
from harness.files import write_atomically
from harness.report import frame
from harness.report.answer import conclude, judge_shuffled
from harness.report.details import describe_execution, gather_details, gather_origins
from harness.report.drawing import draw_axis, draw_history, draw_spread, make_scale
from harness.report.figures import MOST_ROWS, make_figures
from harness.report.figures.embedding import bundle, draw_still, embed
from harness.report.figures.style import Figure
from harness.report.listing import EXTERNAL, format_interval, format_number, format_spread
from harness.report.published import Published, read_published
from harness.report.reading import Measured, measured
from harness.report.summary import Leaderboard
from harness.results.record import Record
from harness.results.store import FOLDER, copy_records

FILE = "index.html"
SHADES = 3
"""Steps of color on either side of a label's mean."""


@dataclass(frozen=True, eq=False)
class Rendered:
    """A board's results, and the page that shows them."""

    measured: Measured
    page: Path


def render(board: Board, out: Path | None = None) -> Rendered:
    """Write a board's `index.html` and `board.csv`, each whole or not at all, beside its `board.toml`.

    With `out` they go into that folder, with a copy of the records that the page links to. Raises `UsageError` where
    `published.toml` is wrong or a folder cannot be written.
    """
    found = measured(board)
    figures = make_figures(found.summary, found.resamples)
    text = render_text(found.summary, found.problems, read_published(board.folder), figures)
    if out is not None:
        copy_records(board.folder, out)
    folder = out or board.folder
    write_atomically(folder / frame.FILE, frame.as_csv(found.summary))
    write_atomically(folder / FILE, text)
    return Rendered(found, folder / FILE)


def render_text(
    summary: Leaderboard,
    problems: Sequence[str] = (),
    published: Published = Published(),  # noqa: B008 - frozen
    figures: Sequence[Figure] = (),
) -> str:
    """The page as text. `problems` has a line for each file among the records that could not be read."""
    style, script = read_part("style.css"), read_part("page.js")
    scripts = [script, *([bundle(), read_part("figures.js")] if figures else [])]
    counted = {id(record) for record in summary.counted}
    objective = [row.metrics[summary.objective] for row in summary.ranked]
    scale = make_scale(value for spread in objective for value in (*spread.values, *(spread.interval or ())))
    return (
        make_environment()
        .get_template("page.html.j2")
        .render(
            summary=summary,
            board=summary.board,
            folder=summary.board.folder.resolve().name,
            answer=conclude(summary),
            problems=problems,
            published=published,
            columns=_columns(summary),
            oracle=[name for name in summary.metrics if name.endswith("@oracle")],
            policies=explain_policies(summary.metrics),
            shades=_shade_labels(summary),
            axis=draw_axis(scale),
            dots=lambda row: draw_spread(row.metrics[summary.objective], scale, summary.objective) if row.rank else "",
            counts=lambda record: id(record) in counted,
            details=lambda row: gather_details([record for record in row.records if id(record) in counted]),
            origins=gather_origins,
            history=draw_history,
            conditions=_conditions(summary),
            style=Markup(style),  # noqa: S704 - the harness's own file
            scripts=[Markup(text) for text in scripts],  # noqa: S704 - the harness's own files, and Vega's
            policy=content_security_policy(style, scripts),
            figures=figures,
            specifications=embed(figures),
            still=draw_still,
            most=MOST_ROWS,
            shuffled=judge_shuffled(summary),
            fewest=FEWEST,
            controls=CONTROLS,
            external=EXTERNAL,
        )
    )


def content_security_policy(style: str, scripts: Sequence[str]) -> str:
    """Nothing loads or runs but this style and these scripts, known by their sha256."""

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    sources = f"style-src {source(style)}; script-src {' '.join(map(source, scripts))}"
    return f"default-src 'none'; {sources}; img-src data:; base-uri 'none'; form-action 'none'"


# --- the template's tools --------------------------------------------------------------------------------------------


def read_part(name: str) -> str:
    """A file of `templates/` as text."""
    return (importlib.resources.files("harness.templates") / name).read_text(encoding="utf-8")


def make_environment() -> jinja2.Environment:
    """What fills in a page's templates; every text is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(read_part),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "spread": format_spread,
        "number": format_number,
        "interval": format_interval,
        "anchor": lambda name: "row-" + re.sub(r"[^A-Za-z0-9._-]", "_", name),
        "record_link": _record_link,
        "breakable": _breakable,
    }
    return environment


def _record_link(record: Record) -> str:
    """Where a record lies, seen from the page."""
    return f"{FOLDER}/{quote(f'{record.combo.row}--s{record.combo.seed}.json', safe='')}"


def _breakable(name: str) -> Markup:
    """A name that wraps after `_`, `/`, `.` and before `@`, nowhere else."""
    parts = [part for part in re.split(r"(?<=[_/.])|(?=@)", name) if part]
    whole = Markup('<span class="part">{}</span>')  # browsers would break after a hyphen, too
    return Markup("<wbr>").join(whole.format(part) if "-" in part else part for part in parts)


# --- what the template shows -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    """A column about cost."""

    name: str
    """In `RowSummary.efficiency`."""
    heading: str
    digits: int
    factor: float
    timed: bool
    """Whether it is a time, which stands beside others of one device and version only."""


COLUMNS = (
    Column("train_images_per_second", "train images/s", 0, 1.0, timed=True),
    Column("inference_images_per_second", "test images/s", 0, 1.0, timed=True),
    Column("train_minutes", "train minutes", 1, 1.0, timed=True),
    Column("parameters", "parameters (M)", 2, 1e-6, timed=False),
    Column("peak_device_bytes", "peak memory (MiB)", 0, 2.0**-20, timed=False),
)


def _columns(summary: Leaderboard) -> list[Column]:
    """Costs that some row has, and times only where they compare."""
    return [
        column
        for column in COLUMNS
        if any(column.name in row.efficiency for row in summary.rows) and (summary.timings_compare or not column.timed)
    ]


def _shade_labels(summary: Leaderboard) -> dict[str, dict[str, dict[str, int]]]:
    """metric -> row -> label -> shade from -SHADES (worst) to SHADES (best).

    A shade is the distance from the label's mean over rows, on one scale for all labels of a metric, so that a
    difference of no account stays pale and easy labels do not outshine hard ones.
    """
    shades: dict[str, dict[str, dict[str, int]]] = {}
    for metric, higher in summary.directions.items():
        values = {row.name: row.per_label.get(metric, {}) for row in summary.ranked}
        means = {
            label: sum(found) / len(found)
            for label in (summary.data.labels if summary.data else ())
            if (found := [row[label] for row in values.values() if label in row])
        }
        apart = {
            name: {label: (1 if higher else -1) * (row[label] - mean) for label, mean in means.items() if label in row}
            for name, row in values.items()
        }
        largest = max((abs(d) for row in apart.values() for d in row.values()), default=0.0) or 1.0
        shades[metric] = {
            name: {label: round(SHADES * d / largest) for label, d in row.items()} for name, row in apart.items()
        }
    return shades


def _conditions(summary: Leaderboard) -> Mapping[str, Sequence[str]]:
    """With what the numbers were measured: each line once, sorted."""
    made = [record.provenance for record in summary.counted]
    days = sorted(provenance.finished[:10] for provenance in made)
    lines = {
        "Harness": {p.harness + (f" at commit {p.commit}" if p.commit else "") for p in made},
        "Device": {
            p.device + (f", {p.threads} threads" if p.threads else "") + (f", CUDA {p.cuda}" if p.cuda else "")
            for p in made
        },
        "Software": {
            ", ".join([f"Python {p.python}", *(f"{n} {v}" for n, v in sorted(p.packages.items()))]) for p in made
        },
        "Execution": {describe_execution(r.training.execution) for r in summary.counted if r.training},
        "Finished": {days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"} if days else set(),
    }
    return {name: sorted(found) for name, found in lines.items() if found}

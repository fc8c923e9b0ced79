"""A board's page: one HTML file from its records, board.toml and published.toml; the same input gives the same bytes.

It needs no data, no plugin and no network: style, script and drawings stand in the file, and its content-security
policy lets nothing else load or run. All texts are escaped: a component's name is data.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
import importlib.resources
import itertools
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from jinja2.bccache import Bucket
from markupsafe import Markup

from harness.board import CONTROLS, Board
from harness.evaluation.common_labels import tell_pooled
from harness.evaluation.subgroups import FEWEST
from harness.files import write_atomically
from harness.machine import find_own_folder
from harness.metric_names import explain_policies, title_metric
from harness.report import frame, paper
from harness.report.chance import count_labels, count_test, find_rare_labels
from harness.report.columns import list_page_columns
from harness.report.confusion import draw_counts
from harness.report.details import RowDetails, describe_execution, describe_submission, gather_details, gather_origins
from harness.report.drawing import draw_axis, draw_difference, draw_history
from harness.report.ensembles import list_members, mark_ensemble, tell_command, tell_making, tell_shared_seeds
from harness.report.figures import MOST_ROWS, make_figures, vega
from harness.report.figures.curves import Traced
from harness.report.figures.stills import draw_stills
from harness.report.figures.style import FIRST, Figure
from harness.report.format import (
    EXTERNAL,
    anchor,
    format_interval,
    format_number,
    format_pair,
    format_spread,
    make_option,
    mark_breaks,
    tell_all_absences,
    tell_all_labels,
    tell_part,
    tell_scored,
)
from harness.report.headline import conclude, explain_nothing, judge, judge_shuffled, tell_power, tell_unvalidated
from harness.report.kinds import KINDS
from harness.report.leaderboard import Leaderboard, RowSummary
from harness.report.leak import LeakSummary, measure_leak
from harness.report.matrix import draw_cells, find_intervals
from harness.report.metric_columns import shows_published
from harness.report.outside import OutsideSummary, summarize_outside
from harness.report.outside_page import describe_outside
from harness.report.outside_table import OUTSIDE_FILE, as_csv
from harness.report.packing import pack, pack_data
from harness.report.published import Published, explain_closed, is_own
from harness.report.readers import ReadersSummary, summarize_readers
from harness.report.shadow import tell_pretraining, tell_shadows
from harness.report.summary import MOST_COMPARED, BoardResults, read_results
from harness.report.titles import tell_untitled
from harness.report.trained import mark_embedding, tell_training
from harness.results.layout import RECORDS
from harness.results.record import Record
from harness.results.store import copy_records, read_curves, read_groups

PAGE_FILE = "index.html"
GENERATOR = "harness leaderboard"
"""How the page over a folder of boards names what made it."""
INDEX = f"../{PAGE_FILE}"
"""Where that page lies, seen from a board's."""
SCRIPTS = ("page.js", "ranking.js", "labels.js", "figures.js", "start.js")
"""Parts of `templates/` that make the page answer to its reader."""
DETAILED = 500
"""Rows whose labels and details stand in the page, the best first; those of others are in their records."""


@dataclass(frozen=True, eq=False)
class Rendered:
    """A board's results, and the page that shows them."""

    results: BoardResults
    outside: tuple[OutsideSummary, ...]
    page: Path


def prepare() -> None:
    """Import and start what drawing a page takes, where there is time for it before its data are there."""
    import_module("altair")
    import_module("scipy.special")
    vega.start()


def render(
    board: Board, out: Path | None = None, called: str | None = None, *, indexed: bool | None = None
) -> Rendered:
    """Write a board's `index.html` and `board.csv`, each whole or not at all, beside its `board.toml`.

    Where it has outside tests, `board-outside.csv` lies beside them. With `out` they go into that folder, with a copy
    of the records that the page links to. `called` is the board's name in the page's commands, by default that of its
    folder. `indexed` says whether the page links to the one over a folder of boards, by default where that one lies in
    the folder around it. Raises `UsageError` where `published.toml` is wrong or a folder cannot be written.
    """
    vega.start()  # beside the reading of records
    results = read_results(board)
    readers = summarize_readers(results.summary)
    leak = measure_leak(results.summary)
    outside = summarize_outside(results.summary)
    figures = make_figures(results.summary, _read_best_curves(results.summary), readers)
    folder = out or board.folder
    indexed = _has_index(folder) if indexed is None else indexed
    text = render_text(
        results.summary, results.problems, results.published, figures, called, readers, leak, outside, indexed=indexed
    )
    if out is not None:
        copy_records(board.folder, (record for row in results.summary.rows for record in row.records), out)
    write_atomically(folder / frame.TABLE_FILE, frame.as_csv(results.summary))
    if outside:
        write_atomically(folder / OUTSIDE_FILE, as_csv(outside))
    else:
        (folder / OUTSIDE_FILE).unlink(missing_ok=True)  # of tests that board.toml does not name any more
    write_atomically(folder / PAGE_FILE, text)
    return Rendered(results, outside, folder / PAGE_FILE)


def render_text(
    summary: Leaderboard,
    problems: Sequence[str] = (),
    published: Published = Published(),  # noqa: B008 - frozen
    figures: Iterable[Figure] = (),
    called: str | None = None,
    readers: ReadersSummary | None = None,
    leak: LeakSummary | None = None,
    outside: Sequence[OutsideSummary] = (),
    *,
    indexed: bool = False,
) -> str:
    """The page as text. `problems` has a line for each file among the records that could not be read."""
    environment = make_environment()
    made, still = draw_stills(figures)
    shared = _share(summary, published, made, called or summary.board.folder.resolve().name)
    shared |= {"still": still, "readers": readers, "leak": leak, "index": INDEX if indexed else ""}
    shared["outside"] = describe_outside(summary, outside, called or summary.board.folder.resolve().name)
    packed = {
        "rows": pack_data(
            {anchor(row.name): _detail(environment, shared, row) for row in summary.rows[:DETAILED] if row.records}
        ),
        "table": pack(frame.as_csv(summary)),
    }
    if summary.ranked:
        packed["labels"] = pack_data(
            {m: _label_rows(environment, shared, m) for m in summary.metrics if m != summary.objective}
        )
    drawing = vega.start().script.result() if made else ""
    if made:
        packed |= {"figures": pack_data([figure.specification for figure in made]), "vega": pack(drawing)}
    style = read_part("style.css") + (read_part("published.css") if shows_published(summary) else "")
    style += read_part("outside.css") if outside else ""
    scripts = [read_part(name) for name in SCRIPTS]
    return environment.get_template("page.html.j2").render(
        **shared,
        problems=problems,
        objective_rows=_label_rows(environment, shared, summary.objective) if summary.ranked else "",
        packed={name: Markup(text) for name, text in packed.items()},  # noqa: S704 - base64
        style=Markup(style),  # noqa: S704 - the harness's own file
        scripts=[Markup(text) for text in scripts],  # noqa: S704 - the harness's own files
        policy=content_security_policy(style, [*scripts, *([drawing] if made else [])]),
    )


def _share(summary: Leaderboard, published: Published, figures: Sequence[Figure], called: str) -> dict[str, Any]:
    """What the page's parts show, by the name under which their templates know it."""
    columns = list_page_columns(summary)
    data = any(record.provenance.data_root for record in summary.counted)
    metrics = [summary.objective, *(name for name in summary.metrics if name != summary.objective)]
    curves = next((f.labels for f in figures if f.labels), ())
    return {
        "summary": summary,
        "board": summary.board,
        "folder": shlex.quote(called),
        "answer": judge(summary),
        "basis": conclude(summary),
        "power": tell_power(summary),
        "unvalidated": tell_unvalidated(summary),
        "shared_seeds": tell_shared_seeds(summary),
        "remarks": [*tell_all_labels(summary), *tell_all_absences(summary)],
        "nothing": explain_nothing(summary),
        "shadows": tell_shadows(summary),
        "shuffled": judge_shuffled(summary),
        "part": tell_part(summary),
        "units_scored": tell_scored(summary),
        "test_counts": count_test(summary),
        "published": published,
        "closed": {split.name: explain_closed(split, summary) for split in published.splits},
        "own": {split.name for split in published.splits if is_own(split, summary)},
        "rare": find_rare_labels(summary),
        "columns": columns,
        "members": {row.name: list_members(row, summary) for row in summary.rows if row.ensemble is not None},
        "trained": {row.name: tell_training(row, summary) for row in summary.rows},
        "commands": {row.name: tell_command(called, row, data=data) for row in summary.rows},
        "choosable": {column.heading: column.usual for column in columns if column.usual is not None},
        "filters": {
            name: list(
                dict.fromkeys(getattr(row, name) for row in summary.rows if not row.control and not row.ensemble)
            )
            for name in ("model", "loss", "recipe")
        }
        | {"kind": [kind for kind in KINDS if kind in summary.kinds]}
        | {"status": list(dict.fromkeys(row.status for row in summary.rows))},
        "packed_metrics": metrics,
        "oracle": [name for name in summary.metrics if name.endswith("@oracle")],
        "policies": explain_policies(summary.metrics),
        "leaders": summary.leaders,
        "conditions": _conditions(summary),
        "figures": figures,
        "curve_labels": curves,
        "most": MOST_ROWS,
        "detailed": DETAILED,
        "most_compared": MOST_COMPARED,
        "first": FIRST,
        "fewest": FEWEST,
        "controls": CONTROLS,
        "external": EXTERNAL,
        "table_file": frame.TABLE_FILE,
        "outside_file": OUTSIDE_FILE,
        "paper": _print_table(summary, called),
    }


def _print_table(summary: Leaderboard, called: str) -> dict[str, str]:
    """The ranking as text for a paper, by the name of its form; none where nothing has a result. It is labeled by what
    the page calls the board, so that a copied folder keeps its page.
    """
    if not any(row.metrics for row in summary.rows):
        return {}
    table = replace(paper.make_table(summary), name=called)
    return {"Markdown": paper.as_markdown(table), "LaTeX": paper.as_latex(table)}


def _detail(environment: jinja2.Environment, shared: Mapping[str, Any], row: RowSummary) -> str:
    """What a row's records hold, to be shown when the row is opened."""
    summary = shared["summary"]
    details = gather_details(row.counted, {r.combo.seed: read_groups(summary.board.folder, r) for r in row.counted})
    return environment.get_template("page-row.html.j2").render(
        **shared,
        row=row,
        found=details,
        by_seed={metric: dict(zip(one.seeds, one.values, strict=True)) for metric, one in row.metrics.items()},
        counted_labels=count_labels(row),
        pooled=_tell_pooled(summary, details),
        origins=gather_origins(row.records),
        intervals={metric: find_intervals(summary, row, metric) for metric in row.metrics},
        history=draw_history,
        embedding=mark_embedding(row, summary).partition(", ")[2],
        counts=draw_counts,
    )


def _tell_pooled(summary: Leaderboard, details: RowDetails) -> list[str]:
    """Over which labels micro and weighted means are that are not over those of the ranking."""
    apart = {m: one.labels for m, one in details.means.items() if set(one.labels) != set(summary.labels.get(m, ()))}
    return tell_pooled(apart, summary.data.labels if summary.data else ())


def _label_rows(environment: jinja2.Environment, shared: Mapping[str, Any], metric: str) -> Markup:
    """The rows of the labels' table in one metric."""
    cells = itertools.islice(draw_cells(shared["summary"], metric), DETAILED)
    text = environment.get_template("page-label-rows.html.j2").render(rows=cells, external=EXTERNAL)
    return Markup(text)  # noqa: S704 - escaped by its template


def _read_best_curves(summary: Leaderboard) -> Traced:
    """Row -> the curves of each of its seeds, of the rows that pictures are drawn of."""
    return {
        row.name: [read_curves(summary.board.folder, record) for record in row.counted]
        for row in summary.ranked[:MOST_ROWS]
    }


def find_name(page: str) -> str | None:
    """What a page's commands call its board: the name of the folder that it was made in; None where it has none."""
    command = re.search(r"<pre>harness run (.+?)</pre>", page)
    try:
        return next(iter(shlex.split(html.unescape(command[1]))), None) if command else None
    except ValueError:  # no command that a shell would take
        return None


def is_indexed(page: str) -> bool:
    """Whether a page links to the one over a folder of boards."""
    return f'<a href="{INDEX}">' in page


def _has_index(folder: Path) -> bool:
    """Whether the page over a folder of boards lies around a board's folder."""
    try:
        with (folder.parent / PAGE_FILE).open(encoding="utf-8", errors="replace") as file:
            return f'name="generator" content="{GENERATOR}"' in file.read(400)
    except OSError:
        return False


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


class _CompiledTemplates(jinja2.FileSystemBytecodeCache):
    """Templates as they were compiled before, in a folder: compiling takes as long as filling them in."""

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep a compiled template, where there is room for it."""
        with contextlib.suppress(OSError):
            super().dump_bytecode(bucket)


@cache
def make_environment() -> jinja2.Environment:
    """What fills in a page's templates, each compiled once a machine; every text is escaped."""
    compiled = find_own_folder("page")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(read_part),
        bytecode_cache=None if compiled is None else _CompiledTemplates(str(compiled)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "spread": format_spread,
        "number": format_number,
        "interval": format_interval,
        "pair": format_pair,
        "anchor": anchor,
        "record_link": _record_link,
        "breakable": mark_breaks,
        "metric": title_metric,
        "untitled": tell_untitled,
        "axis": draw_axis,
        "difference": lambda gain, scale, name: draw_difference(gain.value, gain.interval, scale, name),
        "command": lambda text: Markup(html.escape(text, quote=False)),  # noqa: S704 - escaped
        "option": make_option,
        "choice": _format_choice,
        "known": describe_submission,
        "pretraining": tell_pretraining,
        "ensemble": mark_ensemble,
        "making": tell_making,
    }
    return environment


def _record_link(record: Record, suffix: str = ".json") -> str:
    """Where a record lies, or what lies beside it, seen from the page."""
    return f"{RECORDS}/{quote(record.combo.name + suffix, safe='')}"


def _format_choice(value: Any) -> str:
    """A parameter's value without digits that nobody chose."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_format_choice, value))}]"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "none" if value is None else str(value)


# --- what the template shows -----------------------------------------------------------------------------------------


def _conditions(summary: Leaderboard) -> Mapping[str, Sequence[str]]:
    """List the circumstances under which the numbers were measured: each line once, sorted."""
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
    return {name: sorted(values) for name, values in lines.items() if values}

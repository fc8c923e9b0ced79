"""Whether a board's folder is what it says: for a pull request that brings records, without its data."""

from __future__ import annotations

import json
import math
import statistics
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.board import BOARD_FILE, PUBLISHED_FILE, Board, Row
from harness.errors import DataError, HarnessError
from harness.evaluation.parts import MetricPart
from harness.evaluation.resamples import MOST_BYTES, load_resamples
from harness.execution.keys import CurrentKeys
from harness.files import TEMPORARY, read_regular
from harness.parameters import Params
from harness.report.page import PAGE_FILE as PAGE
from harness.report.page import find_name, is_indexed, render
from harness.report.summary import check_published
from harness.results.artifacts import find_place, has_artifact, is_staged
from harness.results.layout import ASIDE, RECORDS, RESAMPLES, record_path, resamples_path, run_path
from harness.results.outside import view_all
from harness.results.provenance import scrub_paths
from harness.results.record import Record
from harness.results.staleness import (
    AGAIN,
    find_unasked,
    is_leftover,
    tell_leftovers,
    why_evaluate_again,
    why_unmeasured,
)
from harness.results.store import read_beside, read_records
from harness.text import make_visible
from harness.upkeep.submission import row_name


@dataclass(frozen=True)
class Fault:
    """Something about a file."""

    file: str
    """The path of the file, seen from the board's folder."""
    message: str
    problem: bool = True
    """Whether it is wrong; otherwise it is only worth knowing."""


def validate(board: Board, current: CurrentKeys, refused: Mapping[str, str]) -> tuple[Fault, ...]:
    """What is wrong with a board's records, resamples, predictions and page, and what could not be checked.

    `refused` has the rows that a run would refuse, and why.
    """
    stored = read_records(board.folder)
    return (
        *_check_definition(board),
        *(Fault(BOARD_FILE, f"a run would refuse {row}: {why}") for row, why in refused.items()),
        *_check_published(board),
        *(Fault(problem.partition(" ")[0], problem.partition(" ")[2]) for problem in stored.problems),
        *(finding for record in stored.records for finding in _check_record(board, record, current)),
        *(Fault(BOARD_FILE, line, problem=False) for line in tell_leftovers(board, stored.records)),
        *_check_orphans(board.folder, stored.records),
        *_check_page(board),
        *(Fault(BOARD_FILE, f"{row}: its keys were not checked: {why}", problem=False)
          for row, why in current.unknown.items() if row not in refused),
    )  # fmt: skip


def _check_definition(board: Board) -> Iterator[Fault]:
    document = [
        dict(board.options),
        *(dict(test.options) for test in board.tests),
        *({name: dict(part) for name, part in row.params.items()} for row in board.rows),
    ]
    for text in dict.fromkeys(_find_paths(document)):
        yield Fault(BOARD_FILE, f"holds a path of a machine: {text}; name it from the folder where runs are started")


def _check_published(board: Board) -> Iterator[Fault]:
    try:
        check_published(board)
    except HarnessError as error:
        yield Fault(PUBLISHED_FILE, str(error))


def _check_record(board: Board, record: Record, current: CurrentKeys) -> Iterator[Fault]:
    file = str(record_path(board.folder, record.combo.name).relative_to(board.folder))
    if not is_leftover(board, record):
        yield from (Fault(file, line) for line in _tell_outdated(board, record, current))
    document = json.loads(record.model_dump_json())
    labels = set(record.dataset.labels)  # which may look like one
    yield from (
        Fault(file, f"holds a path of a machine: {text}") for text in _find_paths(document) if text not in labels
    )
    for text in dict.fromkeys(text for text in _find_texts(document) if make_visible(text) != text):
        yield Fault(file, f"holds a text that steers a terminal or breaks its line: {make_visible(text)}")
    if record.status == "done" and not record.metrics:
        yield Fault(file, "is done and holds no metric")
    for test, view in view_all(record).items():
        on = f"on the outside test {test}, " if test else ""
        for name, metric in view.metrics.items():
            if not _is_mean_of_labels(metric):
                yield Fault(
                    file,
                    f"{on}{name}: its macro {metric.macro} is not the mean of its labels; somebody has changed it",
                )
    yield from _check_tests(board, record, file)
    if record.failure is not None:
        yield Fault(file, f"{record.status} ({record.failure.kind}): {record.failure.message}", problem=False)
    for test, view in view_all(record).items():
        yield from _check_files(board.folder, view, test)


def _check_tests(board: Board, record: Record, file: str) -> Iterator[Fault]:
    """What of outside tests is missing or too many, which is worth knowing."""
    unmeasured = why_unmeasured(board, record)
    if unmeasured is not None:
        yield Fault(file, f"is {unmeasured}", problem=False)
    for test in find_unasked(board, record):
        what = f"has a part of the outside test {test}, which board.toml does not name; harness clean removes it"
        yield Fault(file, what, problem=False)


def _tell_outdated(board: Board, record: Record, current: CurrentKeys) -> Iterator[str]:
    """What of a record does not fit the board as it is now."""
    expected = _row_name(board, record)
    if record.combo.row != expected:
        yield f"its row would be called {expected}: its parts and its name do not belong together"
    stale = current.why_stale(board, record)
    if stale is not None:
        yield f"is out of date: {stale}"
    elif (lacks := why_evaluate_again(board, record)) is not None:
        yield f"is to be evaluated again: {lacks}; {AGAIN}"


def _is_mean_of_labels(metric: MetricPart) -> bool:
    averaged = (label for name, label in metric.per_label.items() if name not in metric.left_out)
    values = [label.value for label in averaged if label.value is not None]
    if metric.macro is None or not values:
        return metric.macro is None and not values
    return math.isclose(metric.macro, statistics.fmean(values), rel_tol=1e-6, abs_tol=1e-9)


def _row_name(board: Board, record: Record) -> str:
    """What a record's parts would be called; the model as the board calls it, since a family's has a longer name."""
    combo = record.combo
    if record.external is not None:
        return row_name(combo.model)
    if record.ensemble is not None:
        return record.ensemble.definition.name
    row = next((row for row in board.rows if row.name == combo.row), None)
    model, params = (combo.model, combo.params) if row is None else (row.model, row.params)
    if combo.params != _without_folders(params):  # where the board's own name a weight file by its folder
        params = combo.params
    return Row(model=model, loss=combo.loss, recipe=combo.recipe, params=params, control=combo.control).name


def _without_folders(params: Params) -> dict[str, dict[str, Any]]:
    """Parameters as a record has them."""
    return {
        section: {name: scrub_paths(value) if isinstance(value, str) else value for name, value in values.items()}
        for section, values in params.items()
    }


def _find_paths(document: Any) -> Iterator[str]:
    return (text for text in _find_texts(document) if scrub_paths(text) != text)


def _find_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from (*_find_texts(name), *_find_texts(item))
    elif isinstance(value, list):
        for item in value:
            yield from _find_texts(item)


def _check_files(folder: Path, record: Record, test: str) -> Iterator[Fault]:
    """Resamples are committed and have to be there; predictions and weights are not, and are checked where they are."""
    beside, digest = resamples_path(folder, record.combo.name, test), record.artifacts.get(RESAMPLES)
    name = str(beside.relative_to(folder))
    again = "harness rescore makes it again"
    content = read_beside(folder, record, test)
    if content is not None:
        try:
            load_resamples(content)
        except DataError as error:
            yield Fault(name, str(error))
    elif digest is not None:
        try:
            read_regular(beside, MOST_BYTES)
            yield Fault(name, f"is not what its record was made with: its sha256 differs; {again}")
        except FileNotFoundError:
            yield Fault(name, f"is missing: its record speaks of it; {again}")
        except OSError as error:
            yield Fault(name, f"cannot be read: {error.strerror}; {again}")
    elif record.status == "done":
        yield Fault(name, "is missing, so the row has no interval; harness rescore makes it", problem=False)
    for artifact, digest in record.artifacts.items():
        path = run_path(folder, record.key) / artifact
        if path.parent.parent.parent == folder and path.is_file() and not has_artifact(path, digest):
            yield Fault(str(path.relative_to(folder)), "is not what its record was made with: its sha256 differs")


def _check_orphans(folder: Path, records: Iterable[Record]) -> Iterator[Fault]:
    expected = {record_path(folder, r.combo.name) for r in records}
    expected |= {resamples_path(folder, r.combo.name, test) for r in records for test in ("", *r.outside)}
    for path in sorted((folder / RECORDS).glob("*")):
        if path in expected or path.suffix == ".json":
            continue
        name = str(path.relative_to(folder))
        if path.name == ASIDE:
            yield from (Fault(f"{name}/{one.name}", "was set aside", problem=False) for one in sorted(path.iterdir()))
        elif path.name.startswith(TEMPORARY) or (is_staged(path) and find_place(path) in expected):
            yield Fault(name, "was left by a process that was killed; harness clean removes it", problem=False)
        else:
            yield Fault(name, "belongs to no record")


def _check_page(board: Board) -> Iterator[Fault]:
    """The page is what the records give, also where the folder has been copied or renamed since it was made."""
    page = board.folder / PAGE
    if not page.is_file():
        yield Fault(PAGE, f"is missing; run `harness leaderboard {board.folder}`")
        return
    content = page.read_bytes()
    try:
        with tempfile.TemporaryDirectory() as folder:
            text = content.decode(errors="replace")
            current = render(board, Path(folder), find_name(text), indexed=is_indexed(text)).page.read_bytes()
    except HarnessError:
        return  # found above
    if current != content:
        yield Fault(PAGE, f"is out of date; run `harness leaderboard {board.folder}`")

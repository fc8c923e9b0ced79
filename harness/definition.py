"""What a `harness run` command asks for, turned into a board's folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from harness.board import (
    BOARD_FILE,
    PUBLISHED_FILE,
    Board,
    Ensemble,
    Row,
    add_controls,
    board_text,
    bundled_text,
    ensemble_text,
    find_board,
    parse_board,
    read_board,
    read_text,
    row_text,
    save_board,
)
from harness.errors import UnknownNameError, UsageError
from harness.files import exclusive, write_atomically
from harness.parameters import Params, list_parameters
from harness.registry import Registry
from harness.text import shorten_name

METRICS = ("auroc", "auprc", "f1", "brier", "ece")
"""Metrics of a new board that names none; the first one ranks."""


@dataclass(frozen=True, kw_only=True)
class BoardRequest:
    """A board to run, or the parts of a new one; and what is to be different from what it says."""

    board: str | None = None
    """A folder or the name of a bundled board."""
    folder: Path | None = None
    """Where the board is to be; for a bundled one `./NAME-board` unless given."""
    dataset: str | None = None
    models: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    """Metrics of a new board, the one that ranks first; none for the usual ones."""
    seeds: tuple[int, ...] = ()
    params: Params = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    controls: bool = False
    """Whether control rows are added."""


@dataclass(frozen=True)
class Definition:
    """A board, and what has to be written for its folder to say so."""

    board: Board
    text: str | None
    """The new `board.toml`; None where the folder's own is right."""
    published: str = ""
    """The `published.toml` that comes with a new folder."""
    added: tuple[Row, ...] = ()
    """The rows that the folder lacks."""
    remarks: tuple[str, ...] = ()
    """What a person should know."""

    def write(self) -> None:
        """Bring the folder up to date.

        Decoding images may have taken an hour since the folder was read: what others wrote to its `board.toml` in the
        meantime stays. Raises `UsageError` where that has made it a board of other data.
        """
        if self.text is None:
            return
        with exclusive(self.board.folder / BOARD_FILE):
            if not (self.board.folder / BOARD_FILE).is_file():
                save_board(self.board.folder, self.text)
                if self.published:
                    write_atomically(self.board.folder / PUBLISHED_FILE, self.published)
                return
        board = self.board
        _require_same_data(read_board(board.folder), board.dataset, board.options, board.seeds)
        add_rows(board.folder, self.added)


def one_row_text(row: Row) -> str:
    """Return what asks for a row in board.toml: a table of its own, or for control rows the key that they share."""
    if row.control is not None:
        return "controls = true\n"
    words = {"title": row.title, "about": row.about, "tuned": row.tuned}
    return row_text([row.model], [row.loss], [row.recipe], row.params, **words)


def add_rows(folder: Path, rows: Sequence[Row]) -> tuple[Row, ...]:
    """Add rows to the `board.toml` of a folder as it is now; gives those that it lacked."""
    with exclusive(folder / BOARD_FILE):
        text = read_text(folder / BOARD_FILE)
        there = {row.name for row in parse_board(text, folder).rows}
        lacking = tuple(row for row in rows if row.name not in there)
        if lacking:
            save_board(folder, _append_rows(text, lacking))
    return lacking


def add_ensemble(folder: Path, ensemble: Ensemble) -> Board:
    """Add an ensemble to the `board.toml` of a folder as it is now, where it lacks it; gives the board.

    Raises `UsageError` where the board lacks a row that it names.
    """
    with exclusive(folder / BOARD_FILE):
        text = read_text(folder / BOARD_FILE)
        board = parse_board(text, folder)
        there = next((one for one in board.ensembles if one.name == ensemble.name), None)
        if there is not None and ensemble.title not in ("", there.title):
            called = f"as '{there.title}'" if there.title else "without a name"
            raise UsageError(f"the board has this ensemble {called}; change its name in {folder / BOARD_FILE}")
        if there is not None:
            return board
        return save_board(folder, "\n\n".join([text.rstrip(), ensemble_text(ensemble)]))


def define(request: BoardRequest, registry: Registry | None = None) -> Definition:
    """The board that the request means; nothing is written yet.

    An existing board keeps its rows and gains those that the request adds. With a registry, parameters of models and
    losses go to the rows that have them. Raises `UsageError` where the request and an existing board contradict each
    other, `UnknownNameError` for a parameter that no row has.
    """
    wanted = _from_parts(request) if request.board is None else _from_board(request)
    remarks: tuple[str, ...] = ()
    if registry is not None:
        wanted, remarks = _fit_rows(wanted, request.params, registry)
    wanted, united = _unite(wanted)
    remarks += united
    if request.controls:
        wanted = replace(wanted, rows=add_controls(wanted.rows))
    if not (wanted.folder / BOARD_FILE).is_file():
        if request.params:
            kept = tuple(one for one in wanted.ensembles if not one.explain_lack(_name_systems(wanted)))
            remarks += _tell_left_out(wanted, kept, wanted)
            wanted = replace(wanted, ensembles=kept)
        published = _original_text(request.board, PUBLISHED_FILE) if request.board else ""
        board = parse_board(text := _new_text(wanted, request), wanted.folder)
        return Definition(board, text, published, board.rows, remarks)
    existing = read_board(wanted.folder)
    _require_metrics(existing, request.metrics)
    own = wanted.options if request.board is None else existing.options
    options = own | {name: wanted.options[name] for name in request.options}
    _require_same_data(existing, wanted.dataset, options, request.seeds)
    existing_names = {row.name for row in existing.rows}
    added = [row for row in wanted.rows if row.name not in existing_names]
    if request.params:  # the titles are those of the rows that they were made from, which stay
        added = [replace(row, title="", about="") for row in added]
    remarks += _tell_left_out(wanted, existing.ensembles, replace(existing, rows=(*existing.rows, *added)))
    if not added:
        return Definition(existing, None, remarks=remarks)
    text = _append_rows(read_text(wanted.folder / BOARD_FILE), added)
    return Definition(parse_board(text, wanted.folder), text, added=tuple(added), remarks=remarks)


def _fit_rows(board: Board, params: Params, registry: Registry) -> tuple[Board, tuple[str, ...]]:
    """Leave out of each row the given parameters that its model or its loss does not have, and say of which.

    Raises `UnknownNameError` for one that none has.
    """
    rows, remarks = list(board.rows), []
    for section in ("model", "loss"):
        known = {name: list_parameters(registry.offer(section, name).component) for name in _used(rows, section)}
        for parameter in params.get(section, {}):
            without = [name for name, its in known.items() if its is not None and parameter not in its]
            if without and len(without) == len(known):
                every = {name for its in known.values() for name in its or ()}
                raise UnknownNameError(f"parameter of {section} {' or '.join(map(repr, without))}", parameter, every)
            if without:
                remarks.append(
                    f"--set {section}.{parameter} does not apply to rows of {' and '.join(without)}: no such parameter"
                )
            rows = [_drop(row, section, parameter) if getattr(row, section) in without else row for row in rows]
    return replace(board, rows=tuple(rows)), tuple(remarks)


def _unite(board: Board) -> tuple[Board, tuple[str, ...]]:
    """Make one row of those that the given parameters have made alike, called by all their titles, and say of which."""
    alike: dict[str, list[Row]] = {}
    for row in board.rows:
        alike.setdefault(row.name, []).append(row)
    rows, remarks = [], []
    for same in alike.values():
        titles = list(dict.fromkeys(row.title for row in same if row.title))
        abouts = dict.fromkeys(row.about for row in same if row.about)
        if len(titles) > 1:
            both = " and ".join(f"'{title}'" for title in titles)
            remarks.append(f"with these parameters {both} are one row, {same[0].name}")
        rows.append(replace(same[0], title=" / ".join(titles), about=" ".join(abouts)))
    return replace(board, rows=tuple(rows)), tuple(remarks)


def _name_systems(board: Board) -> list[str]:
    return [row.name for row in board.systems]


def _tell_left_out(wanted: Board, kept: Sequence[Ensemble], board: Board) -> tuple[str, ...]:
    """Say of each ensemble that is wanted and not kept why the board has it not."""
    way_out = f"harness ensemble adds it to the board in {board.folder}"
    return tuple(
        f"the ensemble {one.title or one.name} is left out: {one.explain_lack(_name_systems(board)) or way_out}"
        for one in wanted.ensembles
        if one not in kept
    )


def _used(rows: Sequence[Row], section: Literal["model", "loss"]) -> list[str]:
    """Names of the components of a kind, each once, in order."""
    return list(dict.fromkeys(getattr(row, section) for row in rows if row.control is None))


def _drop(row: Row, section: str, parameter: str) -> Row:
    left = {
        name: {n: v for n, v in values.items() if (name, n) != (section, parameter)}
        for name, values in row.params.items()
    }
    return replace(row, params={name: values for name, values in left.items() if values})


def _new_text(wanted: Board, request: BoardRequest) -> str:
    """A new board's text: the original's own where nothing differs from it, comments and all."""
    if request.board is not None and not (request.params or request.options or request.metrics):
        original = _original_text(request.board)
        return _with_controls(original) if request.controls else original
    if request.board is None and all(row.params == request.params for row in wanted.systems):
        rows = [row_text(request.models, request.losses, request.recipes, request.params)]
    else:
        rows = [one_row_text(row) for row in wanted.systems]
    return board_text(wanted, rows)


def _append_rows(text: str, rows: Sequence[Row]) -> str:
    """A board's text with more rows at its end; its comments stay, and control rows become `controls = true`."""
    text = _with_controls(text) if any(row.control is not None for row in rows) else text
    return "\n\n".join([text.rstrip(), "\n".join(one_row_text(row) for row in rows if row.control is None)])


def _with_controls(text: str) -> str:
    """A `board.toml` that asks for controls: the key has to stand before the first table."""
    if parse_board(text, Path()).systems != parse_board(text, Path()).rows:
        return text
    lines = re.sub(r"(?m)^controls *=.*\n?", "", text).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("["))
    return "\n".join([*lines[:first], "controls = true", "", *lines[first:]])


def _from_parts(request: BoardRequest) -> Board:
    """A new board from --dataset, --models, --losses and --recipes."""
    parts = {
        "--dataset": request.dataset,
        "--models": request.models,
        "--losses": request.losses,
        "--recipes": request.recipes,
        "--board": request.folder,
    }
    absent = [flag for flag, value in parts.items() if not value]
    if absent or request.dataset is None or request.folder is None:
        raise UsageError(f"give a board (a folder or a bundled name), or also {', '.join(absent)}")
    rows = [row_text(request.models, request.losses, request.recipes, request.params)]
    seeds = request.seeds or (0,)
    title = f"{request.dataset}: {' and '.join(map(shorten_name, request.models))}"
    metrics = request.metrics or METRICS
    board = Board(
        folder=request.folder,
        title=title,
        about="",
        objective=metrics[0],
        seeds=tuple(seeds),
        metrics=metrics,
        dataset=request.dataset,
        options=dict(request.options),
        rows=(),
    )
    return parse_board(board_text(board, rows), request.folder)


def _from_board(request: BoardRequest) -> Board:
    """The board that is named, at the place that is asked for, with what is to be different."""
    if request.dataset or request.models or request.losses or request.recipes:
        raise UsageError("give a board, or --dataset with --models, --losses and --recipes, not both")
    assert request.board is not None
    place = find_board(request.board)
    folder = request.folder or (place if isinstance(place, Path) else Path(f"{place}-board"))
    original = parse_board(_original_text(request.board), folder)
    systems = (
        replace(r, params=_merge(r.params, request.params), tuned="" if request.params else r.tuned)
        for r in original.systems
    )
    rows = tuple(systems) if original.systems == original.rows else add_controls(systems)
    metrics = (original.objective, *request.metrics) if request.metrics else original.metrics
    return replace(original, options=original.options | dict(request.options), metrics=metrics, rows=rows)


def _require_metrics(existing: Board, metrics: Sequence[str]) -> None:
    """An existing board's metrics are those of its file, which its owner may have laid out and commented."""
    lacking = [name for name in metrics if name not in existing.metrics]
    if lacking:
        raise UsageError(
            f"the board in {existing.folder} does not ask for {', '.join(lacking)}; add them to its `metrics` in "
            f"{existing.folder / BOARD_FILE} and run it again without --metrics: stored predictions are evaluated again"
        )


def _require_same_data(existing: Board, dataset: str, options: Mapping[str, Any], seeds: Sequence[int]) -> None:
    """One board, one dataset: results on different data cannot be compared."""
    way_out = f"give another --board DIR, or edit {existing.folder / BOARD_FILE}"
    if existing.dataset != dataset:
        raise UsageError(f"the board in {existing.folder} is of '{existing.dataset}', not '{dataset}'; {way_out}")
    if options != existing.options:
        raise UsageError(
            f"the board in {existing.folder} has the dataset options {existing.options}, not {options}; {way_out}"
        )
    extra = set(seeds) - set(existing.seeds)
    if extra:
        raise UsageError(
            f"the board in {existing.folder} has the seeds {list(existing.seeds)}, not {sorted(extra)}; {way_out}"
        )


def _merge(params: Params, changes: Params) -> Params:
    sections = [section for section in ("model", "loss", "recipe") if section in params or section in changes]
    return {section: params.get(section, {}) | changes.get(section, {}) for section in sections}


def _original_text(name: str, file: str = BOARD_FILE) -> str:
    """A file of the board that a command names; empty where it has none."""
    place = find_board(name)
    if isinstance(place, Path):
        return read_text(place / file) if (place / file).is_file() else ""
    return bundled_text(place, file) or ""

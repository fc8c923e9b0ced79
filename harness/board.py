"""A board: the folder whose `board.toml` says which combinations are compared."""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.resources
import itertools
import json
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.board_file import Averaging, BoardFile, EnsembleTable, RowsTable, TestTable, explain
from harness.errors import UnknownNameError, UsageError, suggest
from harness.files import decode_text, write_atomically
from harness.panels import PanelFiles, read_panel
from harness.parameters import Params, flatten
from harness.text import shorten_name
from harness.units import Pooling, Unit
from harness.values import NULL, read_value, toml_key, toml_value

BOARD_FILE = "board.toml"
PUBLISHED_FILE = "published.toml"
CONTROLS = {
    "prevalence": "says of every image how frequent a label is in training; its AUROC is exactly 0.5",
    "shuffled": "is trained and validated on targets shuffled over images; its AUROC must not be above 0.5",
}
"""Rows that a board can be checked by: what finds nothing must score as nothing."""
ENSEMBLE = "ensemble"
"""What stands for a model in rows that are made of others."""
EXTERNAL_ROW = "external--"
"""What the names of submitted rows begin with."""
GLOB = re.compile(r"[*?\[]")
RATES = ("sensitivity", "specificity")
"""Metrics that predictive values are made of; a board that gives a prevalence measures them."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is compared: a model, a loss and a recipe, with the parameters that differ from their defaults."""

    model: str
    loss: str
    recipe: str
    params: Params = field(default_factory=dict)
    control: str | None = None
    """What it checks the board by, where it is no system of its own: one of `CONTROLS`."""
    tuned: str = field(default="", compare=False)
    """How its parameters were found and what that cost, in words; empty where nobody says."""
    title: str = field(default="", compare=False)
    """What readers know it as, such as `DACNet`; empty where nobody says."""
    about: str = field(default="", compare=False)
    """What is to be known of it, in words."""

    def __post_init__(self) -> None:
        # all as board.toml has it, so that a row keeps its name when it is written and read
        # a recipe has nested fields; of a model or a loss, a table is a value
        params = {section: flatten(v) if section == "recipe" else v for section, v in self.params.items()}
        object.__setattr__(self, "params", _without_null(params))

    @property
    def name(self) -> str:
        """`model--loss--recipe`, with six hex digits of the parameters where there are some; safe as a file name."""
        if self.control is not None:
            return f"control-{self.control}"
        parts = [shorten_name(self.model), self.loss, self.recipe]
        if self.params:
            parts.append(_digest(self.params))
        return file_name("--".join(parts))


def _digest(values: Mapping[str, Any]) -> str:
    """Six hex digits of plain data."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:6]


def file_name(text: str) -> str:
    """A text as a name for files, which can be no path and is not hidden."""
    return re.sub(r"^\.|[^A-Za-z0-9._-]", "_", text)


def combo_name(row: str, seed: int) -> str:
    """What a row with a seed is called, and its record."""
    return f"{row}--s{seed}"


@dataclass(frozen=True)
class Combo:
    """What is trained once: a row of a board with one seed."""

    dataset: str
    options: Mapping[str, Any]
    row: Row
    seed: int

    @property
    def name(self) -> str:
        """The row's name and the seed, by which its record is called."""
        return combo_name(self.row.name, self.seed)


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """A row that is made of the stored predictions of other rows: nothing is trained for it."""

    rows: tuple[str, ...] = ("*",)
    """Names of rows, or globs that match some."""
    average: Averaging = "probability"
    """What of their predictions is averaged."""
    greedy: int | None = None
    """In how many steps members are picked on validation; None where each row counts once."""
    title: str = field(default="", compare=False)
    """What readers know it as; empty where nobody says."""
    about: str = field(default="", compare=False)
    """What is to be known of it, in words."""

    @property
    def name(self) -> str:
        """`ensemble--` and six hex digits of what it is made of; safe as a file name."""
        asked = {"rows": sorted(set(self.rows)), "average": self.average, "greedy": self.greedy}
        return f"{ENSEMBLE}--{_digest(asked)}"

    @property
    def plain_rows(self) -> tuple[str, ...]:
        """The rows that are named, and not matched by a glob."""
        return tuple(row for row in dict.fromkeys(self.rows) if not GLOB.search(row))

    def takes(self, row: str) -> bool:
        """Whether a row of that name is among what it is made of."""
        return any(fnmatch.fnmatchcase(row, asked) for asked in self.rows)

    def explain_lack(self, rows: Collection[str]) -> str:
        """Say why no board of these rows can have it, by their names; empty where one can."""
        absent = [row for row in self.plain_rows if row not in rows]
        if absent:
            return f"it takes {', '.join(absent)}, which the board does not have"
        taken = sorted({row for row in rows if self.takes(row)})
        if len(taken) < 2:
            return f"of the rows that it takes, the board has {f'only {taken[0]}' if taken else 'none'}"
        return ""

    def as_row(self) -> Row:
        """What stands for it among rows that have a model, a loss and a recipe."""
        return Row(model=ENSEMBLE, loss="", recipe="", title=self.title, about=self.about)


@dataclass(frozen=True, kw_only=True)
class OutsideTest:
    """Another dataset that every finished row of a board is evaluated on: nothing is trained for it."""

    dataset: str
    options: Mapping[str, Any] = field(default_factory=dict)
    splits: tuple[str, ...] = ("test",)
    """Which of its splits are tested on."""
    title: str = field(default="", compare=False)
    """What readers know it as; empty where nobody says."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", _without_null(self.options))

    @property
    def key(self) -> str:
        """The dataset's name, with six hex digits of its options and splits where there are some; safe for files."""
        differing: dict[str, Any] = {"options": self.options} if self.options else {}
        if set(self.splits) != {"test"}:
            differing["splits"] = sorted(self.splits)
        return file_name("--".join([self.dataset, *([_digest(differing)] if differing else [])]))


@dataclass(frozen=True, kw_only=True)
class Board:
    """What `board.toml` says, checked; `folder` holds it."""

    folder: Path
    title: str
    about: str = ""
    objective: str
    seeds: tuple[int, ...] = (0,)
    metrics: tuple[str, ...]
    dataset: str
    options: dict[str, Any] = field(default_factory=dict)
    rows: tuple[Row, ...]
    """What is trained, control rows last; none on a board of submitted predictions alone."""
    prevalence: Mapping[str, float] = field(default_factory=dict)
    """Label -> the share of patients who have it where predictive values are asked for."""
    unit: Unit = "image"
    """What is scored."""
    pool: Pooling = "mean"
    """How the scores of a study's or a patient's images become one."""
    reference: str = ""
    """The folder, seen from this one, of the board that measures the same without the leak of image_level."""
    tests: tuple[OutsideTest, ...] = ()
    """Other datasets that finished rows are evaluated on."""
    ensembles: tuple[Ensemble, ...] = ()
    """Rows that are made of the stored predictions of others."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", _without_null(self.options))

    @property
    def systems(self) -> tuple[Row, ...]:
        """The rows that are compared: all but controls."""
        return tuple(row for row in self.rows if row.control is None)

    @cached_property
    def panel(self) -> PanelFiles | None:
        """Who reads beside networks, by `readers.toml`; None without it. Raises `UsageError` where that is wrong."""
        return read_panel(self.folder)

    @cached_property
    def row_names(self) -> frozenset[str]:
        """The names of all rows, ensembles too."""
        return self.trained_names | {one.name for one in self.ensembles}

    @cached_property
    def trained_names(self) -> frozenset[str]:
        """The names of the rows that are trained."""
        return frozenset(row.name for row in self.rows)

    def combos(self) -> tuple[Combo, ...]:
        """Every row with every seed, seed by seed, so that a first result of each row comes early."""
        pairs = itertools.product(self.seeds, self.rows)
        return tuple(Combo(self.dataset, self.options, row, seed) for seed, row in pairs)


def read_board(folder: Path) -> Board:
    """Read a board's definition. Raises `UsageError` that names the file and the line or key that is wrong."""
    path = folder / BOARD_FILE
    if not path.is_file():
        raise UsageError(
            f"{folder} is no board: it holds no {BOARD_FILE}; bundled boards are {', '.join(bundled_boards())}"
        )
    return parse_board(read_text(path), folder)


def read_text(path: Path) -> str:
    """Read a file of a board's folder. Raises `UsageError` that names one that cannot be read."""
    try:
        return decode_text(path.read_bytes())
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None


def parse_board(text: str, folder: Path) -> Board:
    """A board's definition from its TOML text; `folder` is where it belongs."""
    path = folder / BOARD_FILE
    try:
        parsed = BoardFile.model_validate(tomllib.loads(text))
    except ValidationError as error:
        raise UsageError(f"{path}: {explain(error)}") from None
    except (ValueError, RecursionError) as error:  # of a whole number with thousands of digits, a plain ValueError
        raise UsageError(f"{path} is not TOML: {error}") from None
    for number, entry in enumerate(parsed.rows):
        for section, values in entry.params.model_dump().items():
            _require_plain(f"{path}: rows.{number}.params.{section}", values)
    _require_plain(f"{path}: dataset", parsed.dataset.model_extra or {})
    rows = _gather_rows(path, [row for entry in parsed.rows for row in _product(entry)])
    ensembles = _gather_ensembles(path, parsed.ensembles, rows)
    return Board(
        folder=folder,
        title=parsed.title,
        about=parsed.about.strip(),
        objective=parsed.objective,
        seeds=tuple(parsed.seeds),
        metrics=tuple(dict.fromkeys([parsed.objective, *parsed.metrics, *(RATES if parsed.prevalence else ())])),
        dataset=parsed.dataset.name,
        options=dict(parsed.dataset.model_extra or {}),
        rows=add_controls(rows.values()) if parsed.controls else tuple(rows.values()),
        prevalence=parsed.prevalence,
        unit=parsed.unit,
        pool=parsed.pool,
        reference=parsed.reference,
        tests=_gather_tests(path, parsed.test),
        ensembles=ensembles,
    )


def _gather_tests(path: Path, asked: Iterable[TestTable]) -> tuple[OutsideTest, ...]:
    """Outside tests in their order. Raises `UsageError` for two that are the same, or are called the same."""
    tests = []
    for number, table in enumerate(asked):
        options = dict(table.model_extra or {})
        _require_plain(f"{path}: test.{number}", options)
        splits, title = tuple(table.splits), table.name.strip()
        tests.append(OutsideTest(dataset=table.dataset, options=options, splits=splits, title=title))
    keys, titles = [test.key for test in tests], [test.title or test.key for test in tests]
    for names, way_out in ((keys, "keep one of them"), (titles, "give each a name of its own")):
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"{path}: two [[test]] tables mean '{twice}'; {way_out}")
    return tuple(tests)


def _gather_rows(path: Path, asked: Iterable[Row]) -> dict[str, Row]:
    """Rows by their names, each once. Raises `UsageError` for two of one name or title."""
    rows: dict[str, Row] = {}
    for row in asked:
        before = rows.setdefault(row.name, row)
        if before != row:
            raise UsageError(
                f"{path}: two different rows would be named '{row.name}'; rename a component of one of them"
            )
        if (before.title, before.about) != (row.title, row.about):
            raise UsageError(f"{path}: two [[rows]] ask for {row.name} with another name or about; keep one of them")
    titles = [row.title or row.name for row in rows.values()]
    twice = next((title for title in titles if titles.count(title) > 1), None)
    if twice is not None:
        raise UsageError(f"{path}: two rows are called '{twice}'; give each a name of its own")
    return rows


def _gather_ensembles(path: Path, asked: Iterable[EnsembleTable], rows: Mapping[str, Row]) -> tuple[Ensemble, ...]:
    """Ensembles in their order.

    Raises `UsageError` for two of one name or title, and for a row by name that the board does not have.
    """
    ensembles = [
        Ensemble(
            rows=tuple(table.rows),
            average=table.average,
            greedy=table.greedy,
            title=table.name.strip(),
            about=table.about.strip(),
        )
        for table in asked
    ]
    names = [one.name for one in ensembles]
    if len(set(names)) < len(names):
        raise UsageError(f"{path}: two [[ensembles]] are made of the same; keep one of them")
    titles = [*(row.title or row.name for row in rows.values()), *(one.title or one.name for one in ensembles)]
    twice = next((one.title for one in ensembles if titles.count(one.title) > 1), None)
    if twice is not None:
        raise UsageError(f"{path}: two rows are called '{twice}'; give each a name of its own")
    for row in (row for one in ensembles for row in one.plain_rows):
        if row not in rows and not row.startswith(EXTERNAL_ROW):
            hint = suggest(row, rows)
            raise UsageError(f"{path}: [[ensembles]] names the row '{row}', which the board does not have{hint}")
    return tuple(ensembles)


def _require_plain(where: str, values: Mapping[str, Any]) -> None:
    """Raise `UsageError` for a value that no parameter has, such as a date or NaN."""
    for name, value in values.items():
        read_value(f"{where}.{name}", Any, value)


def add_controls(rows: Iterable[Row]) -> tuple[Row, ...]:
    """The rows with the controls of the first one after them."""
    systems = tuple(row for row in rows if row.control is None)
    return (*systems, *(replace(systems[0], control=control, title="", about="") for control in CONTROLS))


def _product(entry: RowsTable) -> Iterable[Row]:
    params = {section: values for section, values in entry.params.model_dump().items() if values}
    for model, loss, recipe in itertools.product(entry.models, entry.losses, entry.recipes):
        words = {"tuned": entry.tuned, "title": entry.name, "about": entry.about.strip()}
        yield Row(model=model, loss=loss, recipe=recipe, params=params, **words)


def _without_null(value: Any) -> Any:
    """Plain data as TOML holds them."""
    if isinstance(value, Mapping):
        return {name: _without_null(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_null(part) for part in value]
    return NULL if value is None else value


# --- finding and writing boards --------------------------------------------------------------------------------------


def bundled_boards() -> tuple[str, ...]:
    """Names of the boards that the harness brings along."""
    shelf = importlib.resources.files("harness.leaderboards")
    return tuple(sorted(entry.name for entry in shelf.iterdir() if (entry / BOARD_FILE).is_file()))


def bundled_text(name: str, file: str = BOARD_FILE) -> str | None:
    """A file of a bundled board, or None where it has no such file."""
    resource = importlib.resources.files("harness.leaderboards") / name / file
    return resource.read_text(encoding="utf-8") if resource.is_file() else None


def find_board(name: str) -> Path | str:
    """What a BOARD on the command line means: a folder, or the name of a bundled one.

    Raises `UnknownNameError` where it is neither.
    """
    if (Path(name) / BOARD_FILE).is_file():
        return Path(name)
    if name in bundled_boards():
        return name
    if Path(name).is_dir():
        raise UsageError(
            f"{name} is no board: it holds no {BOARD_FILE}; bundled boards are {', '.join(bundled_boards())}"
        )
    raise UnknownNameError("board", name, bundled_boards(), hint="or give a folder that holds a board.toml")


def open_board(name: str | Path) -> Board:
    """The board in a folder, to look at its results. Raises `UsageError` for a bundled one, which has none."""
    place = find_board(str(name))
    if isinstance(place, str):
        raise UsageError(
            f"'{place}' is the bundled definition, which has no records; make a board of it: harness run {place}"
        )
    return read_board(place)


def row_text(
    models: Sequence[str],
    losses: Sequence[str],
    recipes: Sequence[str],
    params: Params,
    *,
    title: str = "",
    about: str = "",
    tuned: str = "",
) -> str:
    """One `[[rows]]` table as TOML; `title` is its display name, `tuned` says what finding its parameters
    took.
    """
    lists = {"models": models, "losses": losses, "recipes": recipes}
    lines = [f"{name} = {toml_value(list(values))}" for name, values in lists.items()]
    if params:
        lines.append(f"params = {toml_value(params)}")
    words = {"name": title, "about": about, "tuned": tuned}
    lines += [f"{name} = {toml_value(text)}" for name, text in words.items() if text]
    return "\n".join(["[[rows]]", *lines, ""])


def ensemble_text(ensemble: Ensemble) -> str:
    """One `[[ensembles]]` table as TOML."""
    keys: dict[str, Any] = {"rows": list(ensemble.rows)}
    keys |= {} if ensemble.average == "probability" else {"average": ensemble.average}
    keys |= {} if ensemble.greedy is None else {"greedy": ensemble.greedy}
    keys |= {name: text for name, text in {"name": ensemble.title, "about": ensemble.about}.items() if text}
    return "\n".join(["[[ensembles]]", *(f"{name} = {toml_value(value)}" for name, value in keys.items()), ""])


def board_text(board: Board, rows: Sequence[str]) -> str:
    """A whole `board.toml`; `rows` are texts made by `row_text`."""
    head: dict[str, Any] = {"title": board.title}
    if board.about:
        head["about"] = board.about
    head |= {"objective": board.objective, "seeds": board.seeds, "metrics": board.metrics}
    if len(board.systems) < len(board.rows):
        head["controls"] = True
    lines = [f"{name} = {toml_value(value)}" for name, value in head.items()]
    if board.prevalence:
        lines.append(f"prevalence = {toml_value(board.prevalence)}")
    if board.unit != "image":
        lines += [f"unit = {toml_value(board.unit)}", f"pool = {toml_value(board.pool)}"]
    if board.reference:
        lines.append(f"reference = {toml_value(board.reference)}")
    lines += ["", "[dataset]", f"name = {toml_value(board.dataset)}"]
    lines += [f"{toml_key(name)} = {toml_value(value)}" for name, value in board.options.items()]
    for test in board.tests:
        keys: dict[str, Any] = {"dataset": test.dataset} | ({"name": test.title} if test.title else {})
        keys |= {} if test.splits == ("test",) else {"splits": list(test.splits)}
        keys |= test.options
        lines += ["", "[[test]]", *(f"{toml_key(name)} = {toml_value(value)}" for name, value in keys.items())]
    return "\n".join([*lines, "", "\n".join([*rows, *map(ensemble_text, board.ensembles)])])


def save_board(folder: Path, text: str) -> Board:
    """Check a definition, then write it to its folder; where `board.toml` is a link, to the file that it leads to."""
    board = parse_board(text, folder)
    write_atomically((folder / BOARD_FILE).resolve(), text)
    return board

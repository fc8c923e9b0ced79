"""Records of several machines or pull requests in one board; contradictions are shown, never settled silently."""

from __future__ import annotations

import dataclasses
import fnmatch
import itertools
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from harness.board import BOARD_FILE, Board, Ensemble, Row, add_controls, ensemble_text, read_board
from harness.definition import add_ensemble, add_rows, one_row_text
from harness.errors import UsageError
from harness.files import read_regular, write_atomically
from harness.results.artifacts import read_artifact, stage
from harness.results.layout import RUN_FILES, WEIGHTS, outside_file, record_path, resamples_path, run_path
from harness.results.outside import view_all, view_outside
from harness.results.record import DatasetPart, Record
from harness.results.staleness import current_fingerprint, why_uncounted
from harness.results.store import LARGEST, read_beside, read_records, run_folder, settle_artifacts, write_outside
from harness.text import count


@dataclass(frozen=True)
class Conflict:
    """Two records of one combo that say different things."""

    name: str
    source: str
    reason: str
    ours: float | None
    """The objective in this board's record."""
    theirs: float | None


@dataclass(frozen=True, kw_only=True)
class Merged:
    """What became of the records of other folders; each list has `ROW--sSEED`."""

    taken: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    measured: list[str] = field(default_factory=list)
    """What was taken of outside tests by records that are the same otherwise: `ROW--sSEED@TEST`."""
    left: list[str] = field(default_factory=list)
    """One line for each that was not taken, and why."""
    missing: dict[str, list[int]] = field(default_factory=dict)
    """The rows that board.toml lacks and that nobody asked to add, each with the seeds that are left."""
    added: list[str] = field(default_factory=list)
    """What was added to board.toml, one text for each row or ensemble."""
    conflicts: list[Conflict] = field(default_factory=list)


@dataclass(frozen=True, eq=False, kw_only=True)
class OtherFolder:
    """Another folder whose records are merged."""

    folder: Path
    board: Board
    """The board as it is with every row and ensemble that it lacks and this folder has."""
    lacking: Mapping[str, Row | Ensemble]
    """The rows and ensembles that board.toml lacks, by name."""
    others: Mapping[str, Row]
    """The rows that are called as another row of the board, by name."""
    add: bool
    """Whether rows that are lacking are to be added."""


def merge(board: Board, sources: Sequence[Path], replace: str | None = None, *, add: bool = False) -> Merged:
    """Take into a board what other folders of it have and it lacks: records, resamples, predictions and weights.

    A record replaces one that failed, or one that does not belong to the board any more, when it does itself. Same key
    and same numbers are the same. A record that was measured on other data than the board's own is left. Anything else
    of one name is a conflict: this board's stays, unless `replace`, a glob over names, says otherwise. A row that
    board.toml lacks is left, or added to it with `add` before its first record is taken; so is an ensemble, where its
    members are there then. Raises `UsageError` for a folder without records, and for one whose board.toml cannot be
    read.
    """
    merged = Merged()
    records = {record.combo.name: record for record in read_records(board.folder).records}
    data = _find_data(board, records.values())
    for folder in sources:
        there = read_records(folder)
        if not there.records and not there.problems:
            raise UsageError(f"{folder} holds no records; give the folder of a board")
        merged.left.extend(f"{folder}/{problem}" for problem in there.problems)
        source = _compare_rows(board, folder, there.records, add=add)
        data = data or _find_data(source.board, there.records)
        for theirs in itertools.chain(
            (record for record in there.records if record.ensemble is None),
            _settle_ensembles(source, there.records, records, merged),  # begins where all their members are settled
        ):
            if _merge_record(source, theirs, records.get(theirs.combo.name), data, replace, merged):
                records[theirs.combo.name] = theirs
        board = read_board(board.folder) if merged.added else board
    return merged


def _compare_rows(board: Board, folder: Path, records: Iterable[Record], *, add: bool) -> OtherFolder:
    """Find what another folder's rows are to a board, as its board.toml has them; without one, as its records do."""
    if (folder / BOARD_FILE).is_file():
        there = read_board(folder)
        theirs, ensembles = there.rows, there.ensembles
    else:
        found = [(r.combo.row, _row_of(r)) for r in records if r.external is None]
        ensembles = tuple({r.combo.row: r.ensemble.definition for r in records if r.ensemble is not None}.values())
        theirs = tuple(row for name, row in found if row.name == name)  # a family's model may have had a shorter name
    lacking = {row.name: row for row in theirs if row.name not in board.row_names}
    unnamed = {one.name: one for one in ensembles if one.name not in board.row_names}
    systems = [*board.systems, *(row for row in lacking.values() if row.control is None)]
    has_controls = any(row.control is not None for row in (*board.rows, *lacking.values()))
    rows = add_controls(systems) if has_controls else tuple(systems)
    named = {row.name: row for row in rows}
    others = {row.name: row for row in theirs if row != named[row.name]}
    whole = dataclasses.replace(board, rows=rows, ensembles=(*board.ensembles, *unnamed.values()))
    return OtherFolder(folder=folder, board=whole, lacking={**lacking, **unnamed}, others=others, add=add)


def _row_of(record: Record) -> Row:
    combo = record.combo
    return Row(model=combo.model, loss=combo.loss, recipe=combo.recipe, params=combo.params, control=combo.control)


def _settle_ensembles(
    source: OtherFolder, there: Sequence[Record], records: Mapping[str, Record], merged: Merged
) -> Iterator[Record]:
    """Give the records of another folder's ensembles that are to be merged, once `records` has all their members.

    An ensemble that board.toml lacks and whose members the board does not have is left, in one line; one without
    records is added here.
    """
    made = [record for record in there if record.ensemble is not None]
    lacking = [one for one in source.lacking.values() if isinstance(one, Ensemble)] if source.add else []
    rows = [row.name for row in read_board(source.board.folder).systems] if lacking else []
    rows += [record.combo.row for record in records.values() if record.external is not None]
    left = {one.name: why for one in lacking if (why := one.explain_lack(rows))}
    merged.left.extend(f"{source.folder}: the ensemble {name} is left: {why}" for name, why in left.items())
    for one in lacking:
        if one.name not in left and one.name not in {record.combo.row for record in made}:
            _add_row(source.board, one, merged)
    yield from (record for record in made if record.combo.row not in left)


def _merge_record(
    source: OtherFolder,
    theirs: Record,
    ours: Record | None,
    data: DatasetPart | None,
    replace: str | None,
    merged: Merged,
) -> bool:
    """Settle what becomes of one record, and note it; whether it was taken."""
    board, name = source.board, theirs.combo.name
    verdict, row = _judge(source, ours, theirs, data), source.lacking.get(theirs.combo.row)
    if verdict.startswith("stale: "):
        merged.left.append(f"{source.folder}: {name} is left: {verdict.removeprefix('stale: ')}")
    elif row is not None and not source.add:
        merged.missing.setdefault(row.name, []).append(theirs.combo.seed)
    elif ours is not None and verdict == "same":
        _add_row(board, row, merged)
        merged.same.append(name)
        _take_outside(board, source.folder, ours, theirs, merged)
    elif ours is None or verdict == "better" or (replace is not None and fnmatch.fnmatchcase(name, replace)):
        _add_row(board, row, merged)
        _copy(board.folder, source.folder, theirs)
        (merged.taken if ours is None else merged.replaced).append(name)
        return True
    elif verdict == "worse":
        merged.left.append(f"{source.folder}: {name} is left: it {theirs.status}, this board's is {ours.status}")
    else:
        values = (_value(record, board.objective) for record in (ours, theirs))
        merged.conflicts.append(Conflict(name, str(source.folder), verdict, *values))
    return False


def _add_row(board: Board, row: Row | Ensemble | None, merged: Merged) -> None:
    """Add a row or an ensemble that board.toml lacks still, and note what was written."""
    if isinstance(row, Row):
        merged.added.extend(map(one_row_text, add_rows(board.folder, [row])))
    elif row is not None and (text := ensemble_text(row)) not in merged.added:
        add_ensemble(board.folder, row)
        merged.added.append(text)


def _find_data(board: Board, records: Iterable[Record]) -> DatasetPart | None:
    """The data that a board's finished records were measured on; None where there are none."""
    done = [record for record in records if record.status == "done"]
    current = current_fingerprint(board, done)
    return next((record.dataset for record in done if record.dataset.fingerprint == current), None)


def _describe_difference(theirs: DatasetPart, ours: DatasetPart) -> str:
    """What differs between the data of two records that have different fingerprints."""
    differences = []
    if theirs.labels != ours.labels:
        differences.append(f"labels {', '.join(theirs.labels)} instead of {', '.join(ours.labels)}")
    for split in dict.fromkeys((*ours.splits, *theirs.splits)):
        counts = [part.splits[split].images if split in part.splits else 0 for part in (theirs, ours)]
        if counts[0] != counts[1]:
            differences.append(f"{count(counts[0], f'{split} image')} instead of {counts[1]:,}")
    if not differences:
        prints = f"fingerprint {theirs.fingerprint[:8]} instead of {ours.fingerprint[:8]}"
        differences.append(f"as many images, but other ones, or other labels or patients: {prints}")
    return f"it was measured on other data ({'; '.join(differences)}); keep it in a board of its own"


def _judge(source: OtherFolder, ours: Record | None, theirs: Record, data: DatasetPart | None) -> str:
    """`same`, `better`, `worse`, `stale: ` and why, or what the conflict is."""
    board, other = source.board, source.others.get(theirs.combo.row)
    if other is not None and theirs.external is None:
        mine = next(row for row in board.rows if row.name == other.name)
        return f"stale: another row has this name: {_describe_row(other)} there, {_describe_row(mine)} here"
    stale = why_uncounted(board, theirs, theirs.dataset.fingerprint)
    if stale is not None:
        return f"stale: {stale}"
    if data is not None and theirs.dataset.fingerprint != data.fingerprint:
        return f"stale: {_describe_difference(theirs.dataset, data)}"
    if ours is None:
        return "better"
    if ours.status != "done" or theirs.status != "done":
        if theirs.status == "done":
            return "better"
        return "worse" if ours.status == "done" else "same"
    if why_uncounted(board, ours, theirs.dataset.fingerprint) is not None:
        return "better"
    if ours.key != theirs.key:
        return "other choices, data or versions (another key)"
    return "same" if ours.metrics == theirs.metrics else "the same key and different numbers"


def _describe_row(row: Row) -> str:
    params = [f"{section}.{name}={value}" for section, values in row.params.items() for name, value in values.items()]
    return ", ".join([row.model, row.loss, row.recipe, *params])


def _value(record: Record, objective: str) -> float | None:
    part = record.metrics.get(objective) or record.metrics.get(f"{objective}@val-f1")
    return None if part is None else part.macro


def _copy(target: Path, source: Path, record: Record) -> None:
    """Stage what belongs to a record, each file that is what its digest says, then write the record."""
    name, key = record.combo.name, record.key
    for test, seen in view_all(record).items():
        _stage_beside(target, source, seen, test)
    if run_path(source, key).is_dir():
        run_folder(target, key)
        for file in RUN_FILES:
            _stage_run_file(target, source, record, file)
    write_atomically(record_path(target, name), read_regular(record_path(source, name), LARGEST))
    settle_artifacts(target, record)


def _take_outside(board: Board, source: Path, ours: Record, theirs: Record, merged: Merged) -> Record:
    """Take what the same record of another folder has of outside tests and this one lacks; gives what lies here then.

    Numbers of one test that differ are left, and told.
    """
    taken, asked = {}, {test.key for test in board.tests}
    for test, part in theirs.outside.items():
        mine = ours.outside.get(test)
        if test not in asked or part.status != "done" or ours.artifacts.get(WEIGHTS) != theirs.artifacts.get(WEIGHTS):
            continue
        if mine is None or mine.status == "failed":
            taken[test] = part
        elif mine.metrics != part.metrics:
            merged.left.append(
                f"{source}: what {ours.combo.name} has of the outside test {test} is left: its numbers are other than "
                "this board's"
            )
    if not taken:
        return ours
    for test in taken:
        view = view_outside(theirs, test)
        assert view is not None
        _stage_beside(board.folder, source, view, test)
    made = ours.model_copy(update={"outside": ours.outside | taken})
    merged.measured.extend(f"{ours.combo.name}@{test}" for test in taken)
    return write_outside(board.folder, made, {})


def _stage_beside(target: Path, source: Path, seen: Record, test: str) -> None:
    """Stage resamples, and for an outside test its predictions; each file that is what its digest says."""
    resamples = read_beside(source, seen, test)
    if resamples is not None:
        stage(resamples_path(target, seen.combo.name, test), resamples)
    if test and run_path(source, seen.key).is_dir():
        run_folder(target, seen.key)
        _stage_run_file(target, source, seen, outside_file(test))


def _stage_run_file(target: Path, source: Path, record: Record, file: str) -> None:
    there, here = (run_path(folder, record.key) / file for folder in (source, target))
    read_artifact(there, record.artifacts.get(file), partial(_stage_copy, here))


def _stage_copy(place: Path, path: Path) -> str:
    return stage(place, partial(shutil.copyfile, path))


def as_plain(merged: Merged) -> dict[str, Any]:
    """Return what became of the records as plain data for JSON."""
    plain = {name: list(value) for name, value in vars(merged).items()}
    return plain | {"conflicts": [vars(conflict) for conflict in merged.conflicts]}

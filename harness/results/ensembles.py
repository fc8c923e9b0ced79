"""What the ensembles of a board are to be made of now, and which of their records are made of something else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.board import Board, Ensemble, combo_name
from harness.errors import UnknownNameError, UsageError
from harness.results.layout import outside_file, predictions_file
from harness.results.record import Record
from harness.results.shadow import gather_pretraining
from harness.results.staleness import current_fingerprint, why_stale
from harness.results.store import read_records
from harness.text import agree

VERSION = 1
"""Version of how ensembles are made, raised when their numbers change."""
REMAKE = "harness run makes it again, without training"
"""The way out for an ensemble whose members have changed."""
SHARED_SEEDS = (
    "both are made of the same trained networks, seed by seed, and the test takes the seeds of two rows for "
    "independent: where the two rise and fall together, its interval is too wide and its p too large"
)
"""What to know of the difference between an ensemble and one of its members."""


@dataclass(frozen=True, kw_only=True)
class EnsemblePlan:
    """An ensemble of one seed."""

    ensemble: Ensemble
    seed: int
    candidates: tuple[Record, ...]
    """The records that it is made of, or picked from, in the order of their rows."""
    lacking: str
    """Why it cannot be made, in words; empty where it can."""
    absent: frozenset[str] = frozenset()
    """The rows that it takes which have no current result of its seed."""
    judged: tuple[object, ...] = ()
    """What members are picked by."""

    @property
    def name(self) -> str:
        """What its record is called."""
        return combo_name(self.ensemble.name, self.seed)

    @property
    def key(self) -> str:
        """16 hex digits of what it is made of: how, and the predictions of its candidates."""
        files = predictions_file("val"), predictions_file("test")
        identity = {
            "version": VERSION,
            "average": self.ensemble.average,
            "greedy": self.ensemble.greedy,
            "judged": self.judged,
            "candidates": [
                [
                    record.combo.row,
                    record.key,
                    [record.artifacts.get(file) for file in files],
                    [part.model_dump_json() for part in gather_pretraining(record)],
                ]
                for record in self.candidates
            ],
        }
        text = json.dumps([self.seed, identity], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def plan_ensembles(board: Board, records: Iterable[Record]) -> tuple[EnsemblePlan, ...]:
    """Find what each ensemble of a board is made of, seed by seed, by the records that belong to the board now."""
    if not board.ensembles:
        return ()
    records = tuple(records)
    fingerprint = current_fingerprint(board, records)
    usable = [
        record
        for record in sorted(records, key=lambda record: record.combo.row)
        if record.status == "done"
        and record.ensemble is None
        and record.combo.control is None
        and why_stale(board, record, fingerprint) is None
    ]
    names = sorted({*(row.name for row in board.systems), *(record.combo.row for record in usable)})
    return tuple(_plan(board, one, seed, names, usable) for one in board.ensembles for seed in board.seeds)


def _plan(board: Board, ensemble: Ensemble, seed: int, names: Sequence[str], usable: Sequence[Record]) -> EnsemblePlan:
    """`names` are those of all rows that could be part of an ensemble, with a record or without."""
    records = {record.combo.row: record for record in usable if record.combo.seed == seed}
    taken = [name for name in dict.fromkeys([*names, *ensemble.plain_rows]) if ensemble.takes(name)]
    judged: tuple[object, ...] = ()
    if ensemble.greedy is not None:  # a library of what there is
        taken = [name for name in taken if name in records and not records[name].is_without_validation]
        judged = (board.objective, board.unit, board.pool)
    absent = [name for name in taken if name not in records]
    lacking = ""
    if absent:
        lacking = tell_absent(absent)
    elif len(taken) < 2:
        lacking = f"it needs two rows with a result of this seed, and has {taken[0] if taken else 'none'}"
    return EnsemblePlan(
        ensemble=ensemble,
        seed=seed,
        candidates=tuple(records[name] for name in taken if name in records),
        lacking=lacking,
        absent=frozenset(absent),
        judged=judged,
    )


def tell_absent(rows: Sequence[str]) -> str:
    """Say of rows that they lack what an ensemble of one seed takes of them."""
    return f"{', '.join(rows)} {agree(len(rows), 'has', 'have')} no current result of this seed"


def require_makable(board: Board, ensemble: Ensemble) -> None:
    """Refuse an ensemble that no seed of the board has the results for.

    Raises `UnknownNameError` for a row that the board does not have, `UsageError` for one that is a control or an
    ensemble, and where no seed can be made.
    """
    records = read_records(board.folder).records
    submitted = {record.combo.row for record in records if record.external is not None}
    known = {*(row.name for row in board.systems), *submitted}
    for row in ensemble.plain_rows:
        if row not in known and row in board.row_names:
            kind = "a control" if row in board.trained_names else "an ensemble"
            raise UsageError(f"{row} is {kind}, which can be no member")
        if row not in known:
            raise UnknownNameError(f"row of {board.folder}", row, known)
    plans = plan_ensembles(dataclasses.replace(board, ensembles=(ensemble,)), records)
    if all(one.lacking for one in plans):
        raise UsageError(f"no seed of the board can have this ensemble; seed {plans[0].seed}: {plans[0].lacking}")


def find_outdated(board: Board, records: Iterable[Record]) -> Mapping[str, str]:
    """Records of ensembles that are made of something else than they would be now -> why."""
    records = tuple(records)
    made = {record.combo.name: record for record in records if record.ensemble is not None}
    outdated = {}
    for plan in plan_ensembles(board, records) if made else ():
        record = made.get(plan.name)
        if record is not None and plan.lacking:
            outdated[plan.name] = plan.lacking
        elif record is not None and record.key != plan.key:
            outdated[plan.name] = f"its members have changed; {REMAKE}"
    return outdated


def why_part_remade(board: Board, plan: EnsemblePlan, record: Record) -> str | None:
    """Say on which outside test a made ensemble could be measured by what its members have, and is not; or None."""
    assert record.ensemble is not None
    members = {member.row for member in record.ensemble.members}
    chosen = [one for one in plan.candidates if one.combo.row in members]
    for test in board.tests:
        key, part = outside_key(chosen, test.key), record.outside.get(test.key)
        if key is not None and (part is None or part.key != key):
            return f"not measured on {test.title or test.key} yet, or its members have changed there"
    return None


def outside_key(members: Sequence[Record], test: str) -> str | None:
    """What a part of an outside test is made of, as 16 hex digits; None where a member has no predictions of it."""
    parts = [member.outside.get(test) for member in members]
    file = outside_file(test)
    digests = [part.artifacts.get(file) if part is not None and part.status == "done" else None for part in parts]
    if not digests or None in digests:
        return None
    return hashlib.sha256(json.dumps([VERSION, digests]).encode()).hexdigest()[:16]

"""Records made again from their stored predictions: nothing is trained."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from harness.board import Board
from harness.choices import resolve_metrics
from harness.errors import ClaimLostError, DataError, WeightsError
from harness.evaluation.evaluate import Protocol, evaluate
from harness.evaluation.localization import NO_MAPS, NO_NETWORK, MapValues, load_map_values
from harness.evaluation.pooling import require_stored_units
from harness.evaluation.predictions import Predictions
from harness.evaluation.subgroups import MEASURED
from harness.execution.claims import Claims
from harness.execution.outside_parts import MadePart, evaluate_outside
from harness.execution.stored import load_stored
from harness.lease_files import FileLease
from harness.registry import Registry
from harness.results.artifacts import read_artifact, stage
from harness.results.description import describe_evaluation
from harness.results.layout import MAPS, outside_file, predictions_file, run_path
from harness.results.record import PretrainingPart, Record
from harness.results.store import read_record, read_records, write_record
from harness.scoring.reader_files import read_board_readers

MakeMaps = Callable[[Record], MapValues | str]
"""A finished record -> what its heat maps come to, or why there are none, in words."""
NOTHING: Mapping[str, Sequence[PretrainingPart]] = {}
NO_MAKERS: Mapping[str, MakeMaps] = {}


@dataclass(frozen=True)
class Rescored:
    """What became of a board's records."""

    done: tuple[str, ...]
    """Names of the records that were made again."""
    left: tuple[str, ...]
    """One line for each that could not be: it stays as it was."""


def rescore(
    board: Board,
    registry: Registry,
    tell: Callable[[str], None] = lambda name: None,
    only: Collection[str] | None = None,
    pretraining: Mapping[str, Sequence[PretrainingPart]] = NOTHING,
    make_maps: Mapping[str, MakeMaps] = NO_MAKERS,
    job: str | None = None,
) -> Rescored:
    """Evaluate the stored predictions of every finished record, or of those named, by the board's metrics of now.

    `tell` hears the name of each record before its turn; `pretraining` has, by names of records, what they say of it
    from now on, and `make_maps` what makes heat maps where a metric of them lacks some: without it such a record is
    left. `job` is the name of the job elsewhere that does this. Raises `HarnessError` for metrics that there are not; a
    record without its predictions, or with others than it was made of, is left and named.
    """
    metrics, in_groups = (resolve_metrics(names, registry) for names in (board.metrics, MEASURED))
    claims, done, left, readers = Claims(board.folder), [], [], read_board_readers(board)
    make_panel = None if readers is None else readers.make_panel
    for earlier in read_records(board.folder).records:
        name = earlier.combo.name
        if earlier.status != "done" or (only is not None and name not in only):
            continue
        tell(name)
        claim = claims.take(name, **({} if job is None else {"job": job}))
        if claim is None:
            left.append(f"{name}: it is being run; rescore it when it is done")
            continue
        try:
            record = read_record(board.folder, earlier.combo.row, earlier.combo.seed)  # a run may have made it again
            seed = (record or earlier).dataset.draw
            protocol = Protocol.of_board(board, metrics, in_groups, seed, make_panel)
            said = {"pretraining": list(pretraining[name])} if name in pretraining else {}
            record = (record or earlier).model_copy(update=said)
            _evaluate_again(board, record, protocol, claim, make_maps.get(name))
            done.append(name)
        except (DataError, WeightsError, ClaimLostError) as error:
            left.append(f"{name}: {error}")
        finally:
            claim.release()
    return Rescored(tuple(done), tuple(left))


def _evaluate_again(board: Board, record: Record, protocol: Protocol, claim: FileLease, make: MakeMaps | None) -> None:
    test = _load(board, record, "test")
    require_stored_units(test, board.unit)
    val = None if record.is_without_validation else _load(board, record, "val")
    maps = _find_maps(board, record, protocol, make)
    evaluation = evaluate(test, val, protocol, maps.values)
    outside = _evaluate_outside_again(board, record, val, protocol)
    parts = record.outside | {key: one.part for key, one in outside.items()}
    artifacts = {**record.artifacts, **maps.staged}
    made = Record(**(dict(record) | describe_evaluation(evaluation) | {"artifacts": artifacts, "outside": parts}))
    claim.require()
    drawn = {key: one.resamples for key, one in outside.items() if one.resamples is not None}
    write_record(board.folder, made, evaluation.resamples, drawn)


def _evaluate_outside_again(
    board: Board, record: Record, val: Predictions | None, protocol: Protocol
) -> dict[str, MadePart]:
    """The parts of finished outside tests that board.toml names, from their stored predictions.

    Where these are gone, a part stays as it is: the weights can make them again, see `harness.execution.outside`.
    """
    made = {}
    for test in board.tests:
        part = record.outside.get(test.key)
        if part is None or part.status != "done" or val is None:
            continue
        file = outside_file(test.key)
        with contextlib.suppress(DataError):
            stored = load_stored(board.folder, record.key, file, part.artifacts.get(file))
            made[test.key] = evaluate_outside(part, stored, val, protocol)
    return made


@dataclass(frozen=True)
class _Maps:
    """What a record's heat maps came to, or why there are none; and the digest of what was made of them now."""

    values: MapValues | str
    staged: Mapping[str, str] = field(default_factory=dict)


def _find_maps(board: Board, record: Record, protocol: Protocol, make: MakeMaps | None) -> _Maps:
    """Read what a record's heat maps came to, or make it. Raises `DataError` where it is neither there nor made."""
    wanted = {metric.name for metric in protocol.metrics if metric.on == "maps"}
    if not wanted or not record.is_trained:
        return _Maps(NO_MAPS)
    if record.combo.control == "prevalence":
        return _Maps(NO_NETWORK)
    path = run_path(board.folder, record.key) / MAPS
    stored = read_artifact(path, record.artifacts.get(MAPS), load_map_values)
    if stored is not None and wanted <= stored.metrics():
        return _Maps(stored)
    if make is not None:
        values = make(record)
        return _Maps(values, {} if isinstance(values, str) else {MAPS: stage(path, values.write)})
    reasons = {part.why_left_out for name, part in record.metrics.items() if name in wanted and part.maps is None}
    if wanted <= record.metrics.keys() and MAPS not in record.artifacts and reasons:
        return _Maps("; ".join(reason for reason in reasons if reason))
    raise DataError(
        f"{', '.join(sorted(wanted))} are of heat maps, which take the row's weights and images and are not in "
        f"{path.parent}: `harness run` on the board makes them without training again"
    )


def _load(board: Board, record: Record, split: str) -> Predictions:
    file = predictions_file(split)
    return load_stored(board.folder, record.key, file, record.artifacts.get(file))

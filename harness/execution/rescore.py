"""Records made again from their stored predictions: nothing is trained."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from harness.board import Board
from harness.choices import resolve_metrics
from harness.errors import ClaimLostError, DataError
from harness.evaluation.evaluate import Protocol, evaluate
from harness.evaluation.pooling import require_stored_units
from harness.evaluation.predictions import Predictions, load_predictions
from harness.evaluation.subgroups import MEASURED
from harness.execution.claims import Claims
from harness.lease_files import FileLease
from harness.registry import Registry
from harness.results.artifacts import read_artifact
from harness.results.description import describe_evaluation
from harness.results.layout import predictions_file, run_path
from harness.results.record import PretrainingPart, Record
from harness.results.store import read_record, read_records, write_record
from harness.scoring.reader_files import read_board_readers

NOTHING: Mapping[str, Sequence[PretrainingPart]] = {}


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
) -> Rescored:
    """Evaluate the stored predictions of every finished record, or of those named, by the board's metrics of now.

    `tell` hears the name of each record before its turn; `pretraining` has, by names of records, what they say of it
    from now on. Raises `HarnessError` for metrics that there are not; a record
    without its predictions, or with others than it was made of, is left and named.
    """
    metrics, in_groups = (resolve_metrics(names, registry) for names in (board.metrics, MEASURED))
    claims, done, left, readers = Claims(board.folder), [], [], read_board_readers(board)
    make_panel = None if readers is None else readers.make_panel
    for earlier in read_records(board.folder).records:
        name = earlier.combo.name
        if earlier.status != "done" or (only is not None and name not in only):
            continue
        tell(name)
        claim = claims.take(name)
        if claim is None:
            left.append(f"{name}: it is being run; rescore it when it is done")
            continue
        try:
            record = read_record(board.folder, earlier.combo.row, earlier.combo.seed)  # a run may have made it again
            seed = (record or earlier).dataset.draw
            protocol = Protocol.of_board(board, metrics, in_groups, seed, make_panel)
            said = {"pretraining": list(pretraining[name])} if name in pretraining else {}
            _evaluate_again(board, (record or earlier).model_copy(update=said), protocol, claim)
            done.append(name)
        except (DataError, ClaimLostError) as error:
            left.append(f"{name}: {error}")
        finally:
            claim.release()
    return Rescored(tuple(done), tuple(left))


def _evaluate_again(board: Board, record: Record, protocol: Protocol, claim: FileLease) -> None:
    test = _load(board, record, "test")
    require_stored_units(test, board.unit)
    val = None if record.is_without_validation else _load(board, record, "val")
    evaluation = evaluate(test, val, protocol)
    made = Record(**(dict(record) | describe_evaluation(evaluation)))
    claim.require()
    write_record(board.folder, made, evaluation.resamples)


def _load(board: Board, record: Record, split: str) -> Predictions:
    path = run_path(board.folder, record.key) / predictions_file(split)
    predictions = read_artifact(path, record.artifacts.get(path.name), load_predictions)
    if predictions is not None:
        return predictions
    if path.is_file():
        raise DataError(
            f"{path} is not what the record was made of; bring the right file, or run it again with --force"
        )
    raise DataError(f"its predictions are not in {path.parent}; bring them, or run it again with --force")

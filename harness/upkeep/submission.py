"""Somebody else's predictions as a row of a board: evaluated from the raw file, marked as not trained here.

The submitter gives scores alone. Images, patients and targets are the dataset's own, all of its test split.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from harness.board import EXTERNAL_ROW, Board, file_name
from harness.choices import resolve_metrics
from harness.components import Data
from harness.data.loading import Source, find_source, load_disjoint, require_units
from harness.data.prepare import prepare
from harness.data.pretraining import find_sources
from harness.data.splits import ALIKE
from harness.errors import DataError, UnknownNameError, UsageError
from harness.evaluation.evaluate import Evaluation, Protocol, evaluate
from harness.evaluation.predictions import Predictions
from harness.evaluation.subgroups import MEASURED, find_groups
from harness.files import file_digest
from harness.registry import Registry
from harness.results.artifacts import stage
from harness.results.description import describe_evaluation, describe_splits
from harness.results.identity import fingerprint, fingerprint_test
from harness.results.layout import RESAMPLES, predictions_file
from harness.results.provenance import describe_run, scrub
from harness.results.record import ComboPart, DatasetPart, PretrainingPart, Record, SubmissionPart
from harness.results.shadow import find_shadow
from harness.results.staleness import current_fingerprint
from harness.results.store import (
    read_beside,
    read_records,
    remove_record,
    run_folder,
    settle_artifacts,
    write_record,
)
from harness.scoring.alignment import require_distinct
from harness.scoring.prediction_files import read_predictions
from harness.scoring.reader_files import read_board_readers
from harness.scoring.sheets import Reading
from harness.text import agree, count

LONGEST = 200
"""Characters of a row's name, by which files are called that may have 255."""


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What is submitted."""

    name: str
    about: str
    """Who made it, how, and where that can be read."""
    tests: tuple[Path, ...]
    """Files of predictions on the test split, one for each seed."""
    vals: tuple[Path, ...] = ()
    """Files of predictions on the validation split, one for each seed, or none: then no threshold is fitted."""
    image_column: str | None = None
    """The column of these files that names the image; None for the usual ones."""
    subgroups: tuple[str, ...] | None = None
    """Columns by which images may be grouped; None for all that the dataset has. A mapping of rows to images may know
    the patient's sex and not which of the patient's images is which."""
    source: str | None = None
    """Where they are published: address and commit."""
    license: str | None = None
    trained_on: str | None = None
    """What the network was trained on."""
    pretrained_on: tuple[str, ...] = ()
    """Everything that the network has seen, by names of the table of pretraining; empty is unknown."""
    image_size: int | None = None
    """Pixels of a side of what the network reads."""


@dataclass(frozen=True, eq=False)
class _Seed:
    """One file, evaluated."""

    seed: int
    key: str
    test: Predictions
    val: Predictions | None
    evaluation: Evaluation


@dataclass(frozen=True, eq=False)
class Submitted:
    """What a submission has become."""

    records: tuple[Record, ...]
    """The records, one for each file."""
    notes: tuple[str, ...]
    """What has to be said about the files and the data, in sentences."""


def submit(
    board: Board, registry: Registry, submission: Submission, data_root: Path, cache: Path, *, replace_old: bool = False
) -> Submitted:
    """Evaluate the predictions as the board's own and write their records, one for each file.

    Raises `UsageError` for a name that is taken or a file whose copy is given too, `DataError` for predictions that are
    not of exactly the test split.
    """
    if not submission.name.strip() or not submission.about.strip():
        raise UsageError("--name and --about must say whose predictions they are and how they were made")
    if len(row_name(submission.name)) > LONGEST:
        raise UsageError(f"--name has {len(submission.name)} characters, and names a file: give a shorter one")
    if not submission.tests or len(submission.vals) not in (0, len(submission.tests)):
        raise UsageError(
            f"--val has {count(len(submission.vals), 'file')}, --predictions {len(submission.tests)}: give as many"
        )
    seen = find_sources(submission.pretrained_on, "--pretrained-on")
    source = find_source(registry.offer("dataset", board.dataset), board.options, data_root)
    data, data_fingerprint, left_out = _load_data(board, source, cache)
    require_units(source, data, board.unit)
    metrics, in_groups = (resolve_metrics(names, registry) for names in (board.metrics, MEASURED))
    readers = read_board_readers(board)
    make_panel = None if readers is None else readers.make_panel
    drawn_by = fingerprint_test(data) or data_fingerprint
    protocol = Protocol.of_board(board, metrics, in_groups, drawn_by, make_panel)
    left_out_columns = _leave_out_columns(data, submission.subgroups)
    tests = [_read(path, data, "test", submission) for path in submission.tests]
    require_distinct(tests)
    seeds = [_evaluate(submission, number, test, data, protocol) for number, test in enumerate(tests)]
    keys, about = {(one.seed, one.key) for one in seeds}, scrub(submission.about.strip())
    earlier = [r for r in read_records(board.folder).records if r.combo.row == row_name(submission.name)]
    other = [record for record in earlier if (record.combo.seed, record.key) not in keys]
    if other and not replace_old:
        raise UsageError(
            f"the board has other predictions of '{submission.name}'; choose another --name, or --replace them"
        )
    described = DatasetPart(
        name=source.dataset.name,
        about=source.dataset.about,
        fingerprint=data_fingerprint,
        test_fingerprint=fingerprint_test(data),
        labels=list(data.labels),
        splits=describe_splits(data, left_out),
        notes={name: scrub(text) for name, text in data.notes.items()},
    )
    notes = [f"patients of the dataset: {data.notes[ALIKE]}"] if ALIKE in data.notes else []
    notes += [note for one in seeds for each in (one.test, one.val) if each is not None for note in each.notes]
    known = SubmissionPart(
        source=submission.source and scrub(submission.source),
        license=submission.license,
        trained_on=submission.trained_on and scrub(submission.trained_on),
        image_size=submission.image_size,
        subgroups_left_out=left_out_columns,
    )
    shadow = find_shadow(seen, source, data, data_root, registry)
    made = [_make_record(board, submission, one, described, about, known, shadow) for one in seeds]
    for record in earlier:  # a row is of one submission: what is replaced goes first, and whole
        if record in other or record.external != about or record.submission != known:
            remove_record(board.folder, record)
    records = (_write(board.folder, earlier, record, one) for record, one in zip(made, seeds, strict=True))
    return Submitted(tuple(records), tuple(dict.fromkeys(notes)))


def _write(folder: Path, earlier: Sequence[Record], made: Record, one: _Seed) -> Record:
    """Write a record, unless one lies there that says the same: that keeps its provenance, so that its bytes stay."""
    resamples = one.evaluation.resamples
    artifacts = made.artifacts | {RESAMPLES: hashlib.sha256(resamples.as_bytes()).hexdigest()}
    said = made.model_copy(update={"artifacts": artifacts})
    for record in earlier:
        if record.model_copy(update={"provenance": made.provenance}) == said and read_beside(folder, record):
            settle_artifacts(folder, record)
            return record
    return write_record(folder, made, resamples)


def row_name(name: str) -> str:
    """What the row of a submission is called."""
    return file_name(f"{EXTERNAL_ROW}{name}")


def _evaluate(submission: Submission, seed: int, test: Predictions, data: Data, protocol: Protocol) -> _Seed:
    files = [submission.tests[seed], *submission.vals[seed : seed + 1]]
    val = _read(submission.vals[seed], data, "val", submission) if submission.vals else None
    identity = json.dumps([submission.name, protocol.seed, [file_digest(path) for path in files]])
    key = hashlib.sha256(identity.encode()).hexdigest()[:16]
    return _Seed(seed, key, test, val, evaluate(test, val, protocol))


def _make_record(
    board: Board,
    submission: Submission,
    one: _Seed,
    data: DatasetPart,
    about: str,
    known: SubmissionPart,
    shadow: list[PretrainingPart],
) -> Record:
    import torch

    folder, artifacts = run_folder(board.folder, one.key), {}
    for split, predictions in {"test": one.test, "val": one.val}.items():
        if predictions is not None:
            path = folder / predictions_file(split)
            artifacts[path.name] = stage(path, predictions.write)
    combo = ComboPart(
        dataset=board.dataset,
        options=dict(board.options),
        model=submission.name,
        loss="",
        recipe="",
        params={},
        seed=one.seed,
        row=row_name(submission.name),
        resolved={},
    )
    return Record(
        key=one.key,
        combo=combo,
        external=about,
        submission=known,
        pretraining=shadow,
        status="done",
        dataset=data,
        artifacts=artifacts,
        provenance=describe_run(torch.device("cpu")),
        **describe_evaluation(one.evaluation),
    )


def _leave_out_columns(data: Data, wanted: tuple[str, ...] | None) -> list[str]:
    """The columns of the dataset that are not wanted. Raises `UnknownNameError` for one that it lacks."""
    known = list(find_groups(data))
    for name in wanted or ():
        if name not in known:
            raise UnknownNameError("column of subgroups", name, known)
    return [] if wanted is None else [name for name in known if name not in wanted]


def _load_data(board: Board, source: Source, cache: Path) -> tuple[Data, str, Mapping[str, int]]:
    """The images in use and their fingerprint: by the label files or, where some are left out, by the images.

    With them, how many images of each split are left out.
    """
    data = load_disjoint(source)
    records = read_records(board.folder).records
    wanted = current_fingerprint(board, records)
    if wanted in (None, fingerprint(data)):
        return data, fingerprint(data), {}
    sizes = {r.combo.resolved["recipe"]["load_size"] for r in records if r.training is not None}
    for size in sorted(sizes):
        prepared = prepare(source, data, size, cache, decode_now=False)
        if fingerprint(prepared.data) == wanted:
            return prepared.data, str(wanted), prepared.left_out
    raise DataError(
        f"the data in {source.root} is not what the board was measured on (fingerprint {str(wanted)[:8]}); give the "
        "same images and label files with --data-root"
    )


def _read(path: Path, data: Data, split: str, submission: Submission) -> Predictions:
    """Predictions of exactly a split, in the dataset's order, with its targets and groups."""
    rows = np.flatnonzero(data.table["split"].to_numpy() == split)
    chosen = data.select(data.table["split"].to_numpy() == split)
    predictions = read_predictions(path, data=chosen, reading=Reading(image_column=submission.image_column), whole=True)
    places = {image: place for place, image in enumerate(predictions.image.tolist())}
    wanted = chosen.table["image"].astype(str).tolist()
    absent = [image for image in wanted if image not in places]
    if absent:
        raise DataError(
            f"{path}: {len(absent):,} of the {len(wanted):,} {split} images {agree(len(absent), 'has', 'have')} "
            f"no prediction, first {absent[0]}; a "
            "row is of all of them"
        )
    ordered = predictions.select(np.array([places[image] for image in wanted], dtype=np.intp))
    left_out = _leave_out_columns(data, submission.subgroups)
    columns = {name: values[rows] for name, values in find_groups(data).items() if name not in left_out}
    return replace(ordered, columns=columns)


def list_files(texts: Sequence[str]) -> tuple[Path, ...]:
    """List files in one text, with commas between."""
    return tuple(Path(part.strip()) for text in texts for part in text.split(",") if part.strip())

"""Runs a board's combos here, one after another, on one device."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from harness.board import Board, Combo
from harness.choices import Choices, resolve_metrics, resolve_rows
from harness.components import SPLITS, Data
from harness.data.loading import Source, find_source, load_disjoint
from harness.data.prepare import Prepared, prepare
from harness.errors import DataError, UnknownNameError, UsageError, WeightsError
from harness.evaluation.evaluate import Protocol
from harness.execution.combo import Bench, Job, OnEpoch, reason_to_skip, run_combo
from harness.execution.controls import shuffle_targets
from harness.execution.events import ComboFinished, ComboStarted, EpochFinished, Listener, Preparing
from harness.registry import Registry
from harness.results.identity import combo_key, fingerprint
from harness.results.record import Record
from harness.results.store import read_records, write_record
from harness.training import VERSION
from harness.training.engine import DEFAULT, Engine, set_up_process
from harness.training.weights import require_imagenet, weights_identity

IN_SUBGROUPS = ("auroc", "sensitivity")
"""Metrics by which subgroups are compared; the latter at the thresholds of validation."""


@dataclass(frozen=True)
class Settings:
    """Where a run finds and leaves things, and which part of a board it does."""

    data_root: Path
    cache: Path
    device: torch.device
    only: str | None = None
    """A glob over the names of rows."""
    seeds: tuple[int, ...] | None = None
    """Some of the board's seeds."""
    force: bool = False
    """Run what has a current record, too."""
    dry: bool = False
    """Only plan: decode nothing."""
    engine: Engine = DEFAULT


@dataclass(frozen=True)
class Planned:
    """A combo, and why it is to be run; no reason means that its record is current."""

    job: Job
    reason: str | None


@dataclass
class Shelf:
    """A board's data as its combos ask for it: label files read once, images prepared once a size."""

    source: Source
    settings: Settings
    listener: Listener
    data: Data
    shelves: dict[int, Shelved] = field(default_factory=dict)

    def at(self, load_size: int) -> Shelved:
        """The images at a size, and the fingerprint of those in use."""
        if load_size not in self.shelves:

            def progress(done: int, total: int) -> None:
                self.listener(Preparing(self.source.dataset.name, done, total))

            where, decode_now = self.settings.cache, not self.settings.dry
            started = time.perf_counter()
            prepared = prepare(self.source, self.data, load_size, where, progress, decode_now=decode_now)
            _require_splits(self.source, prepared.data)
            seconds = time.perf_counter() - started
            self.shelves[load_size] = Shelved(prepared, fingerprint(prepared.data), seconds)
        return self.shelves[load_size]


@dataclass(frozen=True, eq=False)
class Shelved:
    """Images of one size."""

    prepared: Prepared
    fingerprint: str
    seconds: float
    """That it took to have them."""


def plan(board: Board, registry: Registry, settings: Settings, listener: Listener) -> tuple[Planned, ...]:
    """Every combo that the settings choose, with the reason to run it where there is one.

    Raises `HarnessError` for anything that the board cannot mean, before any of it is run.
    """
    set_up_process(settings.engine, settings.cache)
    rows = resolve_rows(board, registry)
    names = [
        *board.metrics,
        *(
            name
            for choices in rows.values()
            for name in (choices.recipe.select_on, choices.recipe.schedule.watch)
            if name not in ("objective", "loss")
        ),
    ]
    metrics, in_groups = (resolve_metrics(wanted, registry) for wanted in (names, IN_SUBGROUPS))
    chosen = _choose(board, settings)
    # a weight file that is not there ends the run before it begins
    used = {combo.row.name: rows[combo.row.name] for combo in chosen}
    weights = {name: weights_identity(choices.model, choices.recipe.weights) for name, choices in used.items()}
    records = {(r.combo.row, r.combo.seed): r for r in read_records(board.folder).records}
    source = find_source(registry.offer("dataset", board.dataset), board.options, settings.data_root)
    shelf = Shelf(source, settings, listener, load_disjoint(source))
    _require_weights([used[combo.row.name] for combo in chosen if (combo.row.name, combo.seed) not in records])
    planned = []
    for combo in chosen:
        choices = rows[combo.row.name]
        shelved = shelf.at(choices.recipe.load_size)
        objective = next(m for m in metrics if m.name == board.objective.partition("@")[0])
        protocol = Protocol(metrics, board.metrics, board.objective, in_groups, seed=shelved.fingerprint)
        key = combo_key(
            source,
            shelved.fingerprint,
            choices,
            combo.seed,
            objective=objective.name,
            weights=weights[combo.row.name],
            engine=VERSION,
        )
        job = Job(
            combo,
            choices,
            key,
            source,
            shuffle_targets(shelved.prepared, combo.seed) if combo.row.control == "shuffled" else shelved.prepared,
            shelved.fingerprint,
            protocol,
            objective,
            board.folder,
            settings.device,
            settings.engine,
            shelved.seconds,
            resume=not settings.force,
        )
        planned.append(Planned(job, _reason(records.get((combo.row.name, combo.seed)), key, settings)))
    _refuse_if_all_are_skipped([item.job for item in planned])
    return tuple(planned)


def run(planned: Iterable[Planned], listener: Listener) -> tuple[Record, ...]:
    """Run what has a reason, writing each record as soon as it is there."""
    todo = [item.job for item in planned if item.reason is not None]
    todo.sort(key=lambda job: job.choices.recipe.load_size)  # stable: one placement serves all combos of a size
    records: list[Record] = []
    bench = Bench()
    for number, job in enumerate(todo, start=1):
        started = time.perf_counter()
        listener(ComboStarted(job.combo.name, number, len(todo), job.choices.recipe.epochs))
        result = run_combo(job, bench, _epoch_teller(job, listener))
        record = write_record(job.board_folder, result.record, result.resamples)
        records.append(record)
        listener(ComboFinished(record, time.perf_counter() - started))
    return tuple(records)


def _epoch_teller(job: Job, listener: Listener) -> OnEpoch:
    return lambda epoch: listener(EpochFinished(job.combo.name, epoch, job.choices.recipe.epochs))


def _choose(board: Board, settings: Settings) -> tuple[Combo, ...]:
    """The combos that `only` and `seeds` leave."""
    for seed in settings.seeds or ():
        if seed not in board.seeds:
            known = ", ".join(map(str, board.seeds))
            raise UsageError(
                f"--seeds {seed}: the board has the seeds {known}; add it to seeds in {board.folder / 'board.toml'}"
            )
    found = tuple(
        combo
        for combo in board.combos()
        if (settings.seeds is None or combo.seed in settings.seeds)
        and (settings.only is None or fnmatch.fnmatchcase(combo.row.name, settings.only))
    )
    if not found:
        raise UnknownNameError("row", settings.only or "", {row.name for row in board.rows})
    return found


def _reason(record: Record | None, key: str, settings: Settings) -> str | None:
    if record is None:
        return "no record"
    if record.key != key:
        return "stale: data, choices or versions have changed"
    if settings.force:
        return "forced"
    return f"failed before: {record.failure.kind}" if record.status == "failed" and record.failure else None


def _require_weights(lacking: list[Choices]) -> None:
    """Refuse to prepare images for combos none of which could get its weights."""
    if not lacking or any(choices.recipe.weights != "imagenet" for choices in lacking):
        return
    errors = []
    for choices in {(c.model.name, c.recipe.size): c for c in lacking}.values():
        try:
            require_imagenet(choices.model, choices.recipe.size, choices.model_params)
        except WeightsError as error:
            errors.append(error)
        else:
            return
    raise errors[0]


def _require_splits(source: Source, data: Data) -> None:
    """Refuse a dataset with an empty split: there would be nothing to train on, to decide on or to measure."""
    there = set(data.table["split"])
    empty = [split for split in SPLITS if split not in there]
    if empty:
        raise DataError(
            f"dataset '{source.dataset.name}' has no images in {' and '.join(empty)}; choose another split or more data"
        )


def _refuse_if_all_are_skipped(jobs: list[Job]) -> None:
    reasons = [reason_to_skip(job) for job in jobs]
    if reasons and all(reasons):
        raise UsageError(f"nothing can be run: {reasons[0]}")

"""Plans what a board lacks, and runs it on this machine."""

from __future__ import annotations

import contextlib
import fnmatch
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import torch

from harness.board import Board, Combo
from harness.choices import Choices, resolve_metrics, resolve_rows
from harness.components import SPLITS, Data
from harness.data.loading import Source, find_source, load_disjoint
from harness.data.prepare import Prepared, prepare
from harness.errors import ClaimLostError, DataError, UnknownNameError, UsageError, WeightsError
from harness.evaluation.evaluate import Protocol
from harness.evaluation.predictive import require_prevalence
from harness.evaluation.subgroups import MEASURED
from harness.execution.claims import LEASE
from harness.execution.combo import Bench, Job, Result, reason_to_skip, run_combo
from harness.execution.controls import shuffle_targets
from harness.execution.dispatch import Dispatch, Task
from harness.execution.events import Listener, Preparing, ProcessUnfit
from harness.execution.interruption import Interrupted, Interruption
from harness.execution.pool import POLL, Crew, Pool
from harness.execution.supervision import Inbox
from harness.execution.worker import why_unfit
from harness.registry import Registry
from harness.results.identity import combo_key, fingerprint
from harness.results.provenance import scrub_paths
from harness.results.record import Record
from harness.results.store import read_records
from harness.training import VERSION
from harness.training.engine import DEFAULT, Engine, set_up_process
from harness.training.weights import require_imagenet, weights_identity

if TYPE_CHECKING:
    from harness.training.fit import Epoch


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
    before: Record | None = None
    """The record that there is."""


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
    _require_no_folders(board)
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
    metrics, in_groups = (resolve_metrics(wanted, registry) for wanted in (names, MEASURED))
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
        require_prevalence(board.prevalence, shelved.prepared.data.labels)
        protocol = Protocol(
            metrics,
            board.metrics,
            board.objective,
            in_groups,
            seed=shelved.fingerprint,
            prevalence=board.prevalence,
        )
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
        before = records.get((combo.row.name, combo.seed))
        planned.append(Planned(job, _reason(before, key, settings), before))
    _refuse_if_all_are_skipped([item.job for item in planned])
    return tuple(planned)


def run(
    planned: Sequence[Planned], listener: Listener, crew: Crew | None = None, *, lease: float = LEASE, retries: int = 0
) -> tuple[Record, ...]:
    """Run what has a reason, writing each record as soon as it is there; gives them in the order of the plan.

    By a crew's worker processes, or without one in this process, where a plugin that crashes ends everything. Processes
    that run one board share its combos: a record that another one has made is given, too. Failures that may pass are
    tried again up to `retries` times.

    Raises `Interrupted` after Ctrl-C, with what is left; `StorageError` where nothing can be written.
    """
    inbox: Inbox = SimpleQueue()
    dispatch = Dispatch(planned, listener, lease=lease, retries=retries)

    def tell() -> None:
        """From within a signal's handler: what it may say itself is little."""
        inbox.put((None, None))
        if crew is None:
            threading.Thread(target=dispatch.stop).start()

    with dispatch, Interruption(tell) as interruption:
        try:
            if crew is None:
                _run_here(dispatch, interruption)
            else:
                Pool(crew, dispatch, interruption, inbox).run()
        except KeyboardInterrupt:
            raise Interrupted(dispatch.unfinished()) from None
        if interruption.asked:
            raise Interrupted(dispatch.unfinished())
    return dispatch.results()


def _run_here(dispatch: Dispatch, interruption: Interruption) -> None:
    """One combo after another, in this process; what plugins print goes to standard error."""
    bench, load_size, unfit = Bench(), None, None
    while dispatch.todo and not interruption.asked:
        task = dispatch.take(load_size)
        if task is None:
            dispatch.wait()
            time.sleep(POLL if dispatch.todo else 0)
            continue
        load_size = task.job.choices.recipe.load_size
        try:
            with contextlib.redirect_stdout(sys.stderr):
                result = _run_task(task, bench, dispatch, interruption)
                while not dispatch.finish(task, result):
                    result = _run_task(task, bench, dispatch, interruption)
        except ClaimLostError:
            dispatch.lose(task)
        if unfit is None:
            unfit = why_unfit(task.job.device)
            if unfit is not None:
                dispatch.listener(ProcessUnfit(str(task.job.device), unfit, replaced=False))


def _run_task(task: Task, bench: Bench, dispatch: Dispatch, interruption: Interruption) -> Result:
    def advance(epoch: Epoch) -> None:
        dispatch.advance(task, epoch)
        if interruption.asked:
            raise KeyboardInterrupt

    task.claim.tell(device=str(task.job.device))
    return run_combo(replace(task.job, guard=task.claim.require, resume=task.resume), bench, advance)


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


def _require_no_folders(board: Board) -> None:
    """Refuse to publish with every record where something lies on this machine."""
    for name, value in board.options.items():
        if isinstance(value, str) and scrub_paths(value) != value:
            raise UsageError(
                f"{name} = {value!r} of the dataset is a path of this machine, which records would publish; put it "
                "under --data-root, which they do not, and name it from there"
            )


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

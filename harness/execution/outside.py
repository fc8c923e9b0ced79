"""Outside tests: each finished row's network predicts another dataset once, and nothing is trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from harness.board import Board
from harness.data.outside import OutsideData
from harness.data.overlap import Learned, Overlap, find_shared_names, find_shared_pixels
from harness.data.prepare import Prepared, describe_left_out, prepare
from harness.errors import ClaimLostError, DataError, HarnessError, StorageError
from harness.execution.claims import Claims
from harness.execution.controls import find_prevalence
from harness.execution.dispatch import POLL
from harness.execution.events import Listener, Noted, OutsideMeasured, Preparing, Waiting
from harness.execution.failures import explain_failure
from harness.execution.interruption import Left
from harness.execution.job import Job
from harness.execution.outside_parts import (
    MadePart,
    PreparedTest,
    evaluate_outside,
    explain,
    identify_part,
    make_part,
)
from harness.execution.outside_plan import TestPlan, Wanted, lost_predictions
from harness.execution.stored import load_stored, read_stored
from harness.files import is_full
from harness.lease_files import FileLease
from harness.leases import Keeper
from harness.registry import Registry
from harness.results.artifacts import discard, stage
from harness.results.layout import WEIGHTS, outside_file, predictions_file, run_path
from harness.results.provenance import describe_run
from harness.results.record import FailurePart, PretrainingPart, Record
from harness.results.shadow import find_shadow, is_told
from harness.results.store import read_record, run_folder, write_outside
from harness.training.memory import DeviceData
from harness.training.restore import Restored, restore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness.execution.planning import Settings

VAL = predictions_file("val")
SAME_PEOPLE = "a drop takes them for other people, so that its interval is too wide"


class OutsideTests:
    """Measures what is wanted: each test's data are checked, prepared and placed once for all rows of a size."""

    def __init__(
        self, board: Board, registry: Registry, settings: Settings, listener: Listener, warn: Callable[[str], None]
    ) -> None:
        self.board, self.registry, self.settings = board, registry, settings
        self.listener, self.warn = listener, warn
        self.claims, self.keeper, self.on_device = Claims(board.folder), Keeper(), DeviceData()
        self.learned: dict[int, Learned] = {}
        """What networks have learned from, by size."""
        self.waiting: tuple[str, ...] = ()
        self.todo: list[Wanted] = []
        self.shadows: dict[tuple[str, ...], list[PretrainingPart]] = {}
        """What of a test networks had seen, for each list of sources: label files are read once."""
        self.left: list[str] = []
        """One line for each row that could not be measured on a test."""

    def measure(self, wanted: Sequence[Wanted]) -> tuple[str, ...]:
        """Measure them, writing each record as soon as it has a part more; gives a line for each that has no number.

        Raises `StorageError` where nothing can be written.
        """
        todo = [one for one in wanted if one.reason is not None]
        by_size = sorted(  # test by test, so that its images are placed once
            range(len(todo)),
            key=lambda n: (self.board.tests.index(todo[n].plan.test), todo[n].planned.job.choices.recipe.load_size, n),
        )
        self.todo = [todo[number] for number in by_size]
        with self.keeper:
            while self.todo:
                self._go_through()
        return tuple(self.left)

    def _go_through(self) -> None:
        """Measure what nobody else is at; where others are at all of it, look again a moment later."""
        for one in tuple(self.todo):
            if self._measure(one.plan, one.planned.job):
                self.todo.remove(one)
        if self.todo:
            names = tuple(dict.fromkeys(one.planned.job.combo.name for one in self.todo))
            if names != self.waiting:
                self.listener(Waiting(names))
            self.waiting = names
            time.sleep(POLL)

    def _tell(self, line: str) -> None:
        """Say why a row has no number."""
        self.left.append(line)
        self.warn(line)

    def unfinished(self) -> tuple[Left, ...]:
        """What is left of it."""
        return tuple(Left(f"{one.planned.job.combo.name} on {one.plan.title}", 0, 0) for one in self.todo)

    def _measure(self, plan: TestPlan, job: Job) -> bool:
        """Measure one combo on one test, if it is finished; whether nobody else is at it."""
        name = job.combo.name
        record = read_record(self.board.folder, job.combo.row.name, job.combo.seed)
        if record is None or record.status != "done" or (record.key != job.key and job.missing is None):
            return True
        claim = self.claims.take(name)
        if claim is None:
            return False
        self.keeper.keep(claim)
        started = time.perf_counter()
        try:
            record = read_record(self.board.folder, job.combo.row.name, job.combo.seed)  # as it is under the claim
            if record is None or record.status != "done":
                return True
            measured = self._make(plan, job, record)
            if measured is not None:
                self._write(plan, record, measured, claim)
                self.listener(OutsideMeasured(name, plan.title, measured.part, time.perf_counter() - started))
                if measured.part.status == "failed" and measured.part.failure is not None:
                    self._tell(f"{name} on {plan.title}: {measured.part.failure.message}")
        except (HarnessError, ClaimLostError) as error:
            if isinstance(error, StorageError):
                raise
            self._tell(f"{name} on {plan.title}: {error}")
        finally:
            self.keeper.drop(claim)
        return True

    def _make(self, plan: TestPlan, job: Job, record: Record) -> MadePart | None:
        """What the combo is worth there; None where its part is that already."""
        before, took_part = record.outside.get(plan.test.key), {"plugins": list(job.plugins), "data_root": True}
        if plan.found is not None:
            took_part["data_root"] = not plan.found.source.dataset.drawn
        provenance = describe_run(torch.device(self.settings.device)).model_copy(update=took_part)
        make = partial(make_part, plan.test, provenance)
        try:
            of = self._prepare(plan, job)
        except DataError as error:
            if before is not None and before.status == "done":
                raise
            return MadePart(part=make("failed", explain("data", str(error))))
        key = identify_part(of.found, of.fingerprint, record)
        seen = [] if before is None else before.pretraining
        seen = self._find_shadow(of, job) if job.missing is None else seen
        current = before if before is not None and before.key == key and before.status != "failed" else None
        if current is not None and not lost_predictions(self.board, record, plan.test):
            told = current.status != "done" or is_told(seen, current.pretraining)
            return None if told else MadePart(part=current.model_copy(update={"pretraining": seen}))
        if (failure := of.refused) is not None:
            return MadePart(part=make("failed", failure, of, key))
        if (failure := of.why_skipped(self.board.unit)) is not None:
            return MadePart(part=make("skipped", failure, of, key))
        val = load_stored(self.board.folder, record.key, VAL, record.artifacts.get(VAL))
        network = None if record.combo.control == "prevalence" else self._restore(record)
        if (failure := _why_no_table(network, of)) is not None:
            return MadePart(part=make("skipped", failure, of, key))
        try:
            test = of.make_predictions(self._predict(network, of, job)[:, _place_labels(job, of)])
            return evaluate_outside(
                make("done", None, of, key, notes=_list_notes(of, network), pretraining=seen), test, val, job.protocol
            )
        except (Exception, SystemExit) as error:
            if is_full(error) or isinstance(error, StorageError):
                raise StorageError(f"{job.combo.name} on {plan.title}: {error}; make room") from error
            return MadePart(part=make("failed", explain_failure(error, job.choices), of, key))

    def _find_shadow(self, of: PreparedTest, job: Job) -> list[PretrainingPart]:
        """Hold the test against what the row's network had seen before its training."""
        place = (of.fingerprint, *(one.model_dump_json() for one in job.seen))
        if place not in self.shadows:
            root, data = self.settings.data_root, of.prepared.data
            self.shadows[place] = find_shadow(job.seen, of.found.source, data, root, self.registry)
        return self.shadows[place]

    def _restore(self, record: Record) -> Restored:
        """The network of a record, by the weights that the record speaks of."""
        load = partial(restore, registry=self.registry, device=torch.device(self.settings.device))
        return read_stored(self.board.folder, record.key, WEIGHTS, record.artifacts.get(WEIGHTS), load, "weights are")

    def _predict(self, network: Restored | None, of: PreparedTest, job: Job) -> NDArray[np.float32]:
        """Logits (N, C) of all labels of the board."""
        if network is None:
            return np.tile(find_prevalence(job.used.data), (len(of.prepared.images), 1))
        settings, device = self.settings, torch.device(self.settings.device)
        engine = replace(settings.engine, compile="on" if network.compiled else "off")
        placed = self.on_device.place(of.prepared, device, settings.engine.placement)
        return network.predict_placed(placed, of.prepared.data.table if network.codes else None, engine=engine)

    def _prepare(self, plan: TestPlan, job: Job) -> PreparedTest:
        """The test's images as the combo loads them, compared with those that it has learned from.

        Raises `DataError` where they cannot be had.
        """
        if plan.found is None:
            raise DataError("its data cannot be had" if plan.problem is None else plan.problem.message)
        size = job.choices.recipe.load_size
        if size not in plan.sizes:

            def progress(done: int, total: int) -> None:
                self.listener(Preparing(plan.title, done, total))

            def remark(text: str) -> None:
                self.listener(Noted(f"outside test {plan.title}: {text}"))

            prepared = prepare(plan.found.source, plan.found.data, size, self.settings.cache, progress, remark)
            if (left_out := describe_left_out(prepared)) is not None and not plan.sizes:
                remark(left_out)
            overlap, notes = self._compare(plan.found, prepared, job)
            plan.sizes[size] = PreparedTest(found=plan.found, prepared=prepared, overlap=overlap, notes=notes)
        return plan.sizes[size]

    def _compare(self, found: OutsideData, prepared: Prepared, job: Job) -> tuple[Overlap, tuple[str, ...]]:
        """What of the test the networks have learned from, and what could not be looked for."""
        own, size = job.prepared, job.choices.recipe.load_size
        splits = own.data.table["split"]
        chosen, tested = splits.isin(("train", "val")).to_numpy(), (splits == "test").to_numpy()
        named, twice = (
            find_shared_names(job.source, own.data.select(part), found.source, prepared.data)
            for part in (chosen, tested)
        )
        notes = [f"{twice.describe('the own test')}: {SAME_PEOPLE}"] if twice else []
        if named:
            return named, tuple(notes)
        if size not in self.learned:
            self.learned[size] = Learned(own, np.flatnonzero(chosen), torch.device(self.settings.device))
        overlap, why = find_shared_pixels(self.learned[size], prepared)
        notes += [] if why is None else [why]
        if job.source.stretch != found.source.stretch:
            stretched, plain = ("training", "this test") if job.source.stretch else ("this test", "training")
            notes.append(f"images of {stretched} are each stretched to their own range, those of {plain} are not")
        return overlap, tuple(notes)

    def _write(self, plan: TestPlan, record: Record, measured: MadePart, claim: FileLease) -> None:
        """Write the record with the part, and what belongs to it, unless it has one that says the same."""
        key, folder = plan.test.key, self.board.folder
        part, before = measured.part, record.outside.get(plan.test.key)
        if before is not None and before.model_copy(update={"provenance": part.provenance}) == part:
            return
        claim.require()
        path, digest = run_path(folder, record.key) / outside_file(key), None
        if measured.predictions is not None:
            run_folder(folder, record.key)
            digest = stage(path, measured.predictions.write)
            part = part.model_copy(update={"artifacts": {path.name: digest}})
        made = record.model_copy(update={"outside": record.outside | {key: part}})
        try:
            claim.require()
            write_outside(folder, made, {} if measured.resamples is None else {key: measured.resamples})
        except (StorageError, ClaimLostError):
            if digest is not None:
                discard(path, digest)
            raise


def _place_labels(job: Job, of: PreparedTest) -> list[int]:
    """Which of the board's labels the test has."""
    return [job.prepared.data.labels.index(label) for label in of.prepared.data.labels]


def _why_no_table(network: Restored | None, of: PreparedTest) -> FailurePart | None:
    """Why a network cannot be told of these images what it wants to know beside them."""
    lacking = [c.name for c in network.codes if c.name not in of.prepared.data.table] if network is not None else []
    if not lacking:
        return None
    name = of.found.source.dataset.name
    return explain("data", f"the network gets {', '.join(lacking)} beside each image, which '{name}' does not tell")


def _list_notes(of: PreparedTest, network: Restored | None) -> list[str]:
    """What is to be known of the numbers."""
    return [*of.notes, *(network.changes if network is not None else ())]

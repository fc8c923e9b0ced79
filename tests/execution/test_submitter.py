"""What a submitter makes of an engine's answers: an engine whose functions are never run, but answered for."""

from __future__ import annotations

import concurrent.futures
import json
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.board import Board, Row, board_text, row_text, save_board
from harness.components import Executor
from harness.errors import HarnessError, OrderRefusedError, StorageError
from harness.execution import carrying, crew, local, planning, submitter
from harness.execution.claims import Claims
from harness.execution.dispatch import Dispatch
from harness.execution.elsewhere import run_by
from harness.execution.engines import Destination
from harness.execution.events import ComboFinished, ComboRetried, Event, JobEnded, JobsSubmitted, Noted
from harness.execution.interruption import Interrupted
from harness.execution.jobs import JobBook, JobNote
from harness.execution.order import Order
from harness.execution.parcels import pack_result
from harness.execution.planning import Settings
from harness.execution.submitter import Elsewhere
from harness.registry import load_registry
from harness.results.record import Record
from harness.results.store import read_records

TOY = Path(__file__).parents[1] / "fixtures" / "toy.py"
Answer = Callable[[Mapping[str, Any]], Any]


class Answering:
    """Gives futures that hold an answer to an order already."""

    capacity = 1

    def __init__(self, answer: Answer) -> None:
        self.answer, self.orders = answer, 0

    def submit(self, function, /, *arguments):
        self.orders += 1
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            future.set_result(self.answer(json.loads(arguments[0])))
        except (RuntimeError, concurrent.futures.CancelledError) as error:
            future.set_exception(error)
        return future

    def close(self):
        pass


@pytest.fixture(autouse=True)
def _no_time_passes(monkeypatch):
    monkeypatch.setattr(submitter, "POLL", 0.01)
    monkeypatch.setattr(crew, "LINGER", 0.0)


@pytest.fixture
def board(tmp_path) -> Board:
    row = Row(model="toy-net", loss="bce", recipe="toy")
    made = Board(folder=tmp_path / "b", title="t", objective="auroc", metrics=("auroc",), dataset="toy", rows=(row,))
    save_board(made.folder, board_text(made, [row_text([row.model], [row.loss], [row.recipe], {})]))
    return made


@pytest.fixture
def run(board, tmp_path):
    """Run the board by an engine; gives records and events."""

    def go(
        engine: Any, *, shared: bool = True, retries: int = 0, seeds: tuple[int, ...] = (0,)
    ) -> tuple[tuple[Record, ...], list[Event]]:
        registry = load_registry([TOY])
        events: list[Event] = []
        settings = Settings(data_root=tmp_path, cache=tmp_path / "cache", device="cpu", dry=True)
        to = Destination(executor=Executor(name="answering", open=lambda needs: engine), shared=shared)
        elsewhere = Elsewhere(to=to, settings=settings, registry=registry, plugins=(TOY,), device="cpu")
        planned = planning.plan(replace(board, seeds=seeds), registry, settings, lambda event: None)
        return local.run(planned, events.append, run_by(elsewhere), retries=retries), events

    return go


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> dict[str, Any]:
    """What comes back of the board's combo."""
    folder = tmp_path_factory.mktemp("made")
    row = Row(model="toy-net", loss="bce", recipe="toy")
    made = Board(folder=folder, title="t", objective="auroc", metrics=("auroc",), dataset="toy", rows=(row,))
    settings = Settings(data_root=folder, cache=folder / "cache", device="cpu")
    (record,) = local.run(planning.plan(made, load_registry([TOY]), settings, lambda event: None), lambda event: None)
    return {"outcome": "done", "folder": str(folder), **pack_result(folder, record)}


@pytest.mark.parametrize("shared", [True, False])
def test_a_refusal_ends_the_run_with_its_sentence(run, board, shared):
    engine = Answering(lambda order: {"outcome": "refused", "message": "n1 has torch 1.0, and so on"})
    with pytest.raises(HarnessError, match=r"^answering: n1 has torch 1\.0, and so on$"):
        run(engine, shared=shared)
    assert engine.orders == 1
    assert [note.ended for note in JobBook(board.folder).read()] == ["refused"]


def test_jobs_that_end_before_they_begin_are_not_submitted_for_ever(run):
    engine = Answering(lambda order: {"outcome": "crashed", "message": "KeyError: 'x'", "advanced": 0})
    with pytest.raises(HarnessError, match=r"2 jobs in a row ended before they had begun: KeyError: 'x'"):
        run(engine)
    assert engine.orders == 2


@pytest.mark.parametrize(
    ("error", "kind"), [(RuntimeError("gone"), "crashed"), (concurrent.futures.CancelledError(), "interrupted")]
)
def test_a_combo_whose_job_is_lost_is_tried_again_and_then_has_failed(run, error, kind):
    def answer(order):
        raise error

    engine = Answering(answer)
    (record,), events = run(engine, shared=False, retries=2)
    assert engine.orders == 3
    assert record.failure is not None
    assert (record.failure.kind, record.failure.where) == (kind, "on another machine")
    assert [event.retry for event in events if isinstance(event, ComboRetried)] == [1, 2]
    assert len([event for event in events if isinstance(event, JobEnded)]) == 3


def test_what_an_engine_says_of_its_own_errors_is_the_kind_of_the_failure(run):
    def answer(order):
        raise RuntimeError("the scheduler says so")

    engine = Answering(answer)
    engine.explain = lambda error: "timeout"  # type: ignore[attr-defined]
    (record,), _ = run(engine, shared=False)
    assert record.failure is not None
    assert (record.failure.kind, record.failure.message) == ("timeout", "the job that ran it came to its time limit")


def test_a_result_that_comes_back_whole_is_written_as_it_was_made(run, board, packed):
    (record,), events = run(Answering(lambda order: packed), shared=False)
    assert (board.folder / "records" / f"{record.combo.name}.json").read_text() == packed["record"]
    for name, content in packed["files"].items():
        place = board.folder / "records" / f"{record.combo.name}.npz"
        assert (place if name == "resamples.npz" else board.folder / "runs" / record.key / name).read_bytes() == content
    assert [type(event) for event in events if isinstance(event, ComboFinished | JobsSubmitted)] == [
        JobsSubmitted,
        ComboFinished,
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"files": {"weights.safetensors": b"other bytes"}}, "are not those that the record speaks of"),
        ({"record": "{}"}, "no result of a combination"),
        ({"files": None}, "no result of a combination"),
    ],
)
def test_a_result_that_was_damaged_on_its_way_is_a_failure_that_says_so(run, board, packed, change, said):
    (record,), _ = run(Answering(lambda order: packed | change), shared=False)
    assert record.failure is not None
    assert record.failure.kind == "crashed"
    assert said in record.failure.message
    assert not (board.folder / "runs" / record.key / "weights.safetensors").exists()


def leave_out(*seeds: int) -> dict[str, Any]:
    """What a job tells that would have made other results of some combos."""
    told = {"kind": "data", "message": "other weights", "where": "before it began"}
    return {"machine": "n1", "differing": {f"toy-net--bce--toy--s{seed}": told for seed in seeds}}


@pytest.mark.parametrize("shared", [True, False])
def test_a_combo_that_would_be_another_there_has_failed_and_the_others_are_done(run, board, packed, shared):
    def answer(order):
        asked = list(order["task"]["combos"])
        if "toy-net--bce--toy--s0" in asked:
            shutil.copytree(packed["folder"], board.folder, dirs_exist_ok=True)
        return packed if asked == ["toy-net--bce--toy--s0"] else {"outcome": "done", "advanced": 1} | leave_out(1)

    engine = Answering(answer)
    records, events = run(engine, shared=shared, retries=2, seeds=(0, 1))
    assert [record.status for record in records] == ["done", "failed"]
    assert records[1].failure is not None
    assert (records[1].failure.kind, records[1].failure.message) == ("data", "other weights")
    assert engine.orders == (1 if shared else 2)
    assert [str(event) for event in events if isinstance(event, Noted)] == [
        str(Noted("toy-net--bce--toy--s1 is left out on n1: other weights"))
    ]


def test_a_combo_that_one_machine_leaves_out_is_left_to_another_that_is_at_work(run, board, packed):
    class Two(Answering):
        capacity = 2

        def submit(self, function, /, *arguments):
            self.orders += 1
            future: concurrent.futures.Future[Any] = concurrent.futures.Future()
            if self.orders == 1:
                future.set_result({"outcome": "done", "advanced": 1} | leave_out(0))
            else:
                threading.Timer(0.5, self.end, [future]).start()
            return future

        def end(self, future) -> None:
            shutil.copytree(packed["folder"], board.folder, dirs_exist_ok=True)
            future.set_result({"outcome": "done", "advanced": 1} | leave_out(1))

    records, _ = run(Two(lambda order: None), seeds=(0, 1))
    assert [record.status for record in records] == ["done", "failed"]


def test_what_an_engine_refuses_in_words_is_said_as_it_is_and_leaves_no_job(run, board):
    class Refusing(Answering):
        def submit(self, function, /, *arguments):
            raise HarnessError("there is no partition 'gpu'")

    with pytest.raises(HarnessError, match=r"^there is no partition 'gpu'$"):
        run(Refusing(lambda order: None))
    assert JobBook(board.folder).read() == ()


def test_an_engine_that_takes_nothing_is_opened_again_and_then_named(run):
    class Refusing(Answering):
        def submit(self, function, /, *arguments):
            self.orders += 1
            raise OSError("no route to the scheduler")

    engine = Refusing(lambda order: None)
    with pytest.raises(HarnessError, match="does not take what is submitted: OSError: no route to the scheduler"):
        run(engine)
    assert engine.orders == 2


class Faltering:
    """An engine that takes one job after another, and raises at the second, once or always; jobs go on without it."""

    capacity = None

    def __init__(self, answer: Answer, errors: int) -> None:
        self.answer, self.errors, self.opened = answer, errors, 0
        self.taken: list[str] = []
        """The combos of all jobs that it has taken."""
        self.jobs: dict[str, concurrent.futures.Future[Any]] = {}

    def submit(self, function, /, *arguments):
        order = json.loads(arguments[0])
        if len(self.taken) == 1 and self.errors:
            self.errors -= 1
            raise OSError("the scheduler was restarted")
        self.taken += order["task"]["combos"]
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        future.job = str(len(self.taken))  # type: ignore[attr-defined]
        future.set_result(self.answer(order))
        self.jobs[str(len(self.taken))] = future
        return future

    def find(self, job):
        return self.jobs.get(job)

    def close(self):
        self.opened += 1


def interrupt(order):
    return {"outcome": "interrupted", "message": "it was told to end"}


def test_an_engine_that_falters_is_not_given_again_what_it_has_taken(run, board):
    engine = Faltering(interrupt, errors=1)
    records, _ = run(engine, shared=False, seeds=(0, 1, 2))
    assert sorted(engine.taken) == [f"toy-net--bce--toy--s{seed}" for seed in (0, 1, 2)]
    assert [record.failure.kind for record in records if record.failure] == ["interrupted"] * 3
    assert sorted(str(note.job) for note in JobBook(board.folder).read()) == ["1", "2", "3"]


def test_what_was_taken_before_an_engine_gave_up_is_found_again(run, board):
    engine = Faltering(interrupt, errors=2)
    with pytest.raises(HarnessError, match="does not take what is submitted: OSError: the scheduler was restarted"):
        run(engine, shared=False, seeds=(0, 1, 2))
    (note,) = JobBook(board.folder).find_open()
    assert note.job == "1"
    assert list(note.combos) == engine.taken
    records, events = run(engine, shared=False, seeds=(0, 1, 2))
    assert len(records) == 3
    assert len(engine.taken) == 3, "nothing twice"
    assert [event.again for event in events if isinstance(event, JobsSubmitted)] == [True, False]


def test_an_engine_that_is_opened_again_gives_the_jobs_that_it_had_taken(run):
    class Connection(Faltering):
        """What it has given says nothing any more once it is closed."""

        def close(self):
            super().close()
            for future in self.jobs.values():
                future.done = self.fail  # type: ignore[method-assign]

        def fail(self) -> bool:
            raise OSError("the connection is closed")

        def find(self, job):
            future: concurrent.futures.Future[Any] = concurrent.futures.Future()
            future.set_result(self.jobs[job].result())
            return future

    engine = Connection(interrupt, errors=1)
    records, _ = run(engine, shared=False, seeds=(0, 1))
    assert [record.failure.kind for record in records if record.failure] == ["interrupted"] * 2
    assert len(engine.taken) == 2


def test_an_engine_that_does_not_answer_for_long_is_named_and_its_jobs_are_left(run, board, monkeypatch):
    class Silent(Answering):
        def submit(self, function, /, *arguments):
            future = super().submit(function, *arguments)

            def done() -> bool:
                raise OSError("the database is away")

            future.done = done
            return future

    monkeypatch.setattr(crew, "PATIENCE", 0.05)
    with pytest.raises(HarnessError, match="does not answer: OSError: the database is away; what was submitted may go"):
        run(Silent(lambda order: None))
    assert len(JobBook(board.folder).find_open()) == 1


def test_a_job_that_somebody_has_cancelled_ends_the_run_and_is_not_replaced(run, board):
    class Ended(Answering):
        def submit(self, function, /, *arguments):
            future = super().submit(function, *arguments)

            def done() -> bool:
                book = JobBook(board.folder)
                book.end(book.read()[0], "cancelled")
                return True

            future.done = done
            return future

    def answer(order):
        raise RuntimeError("ended from outside")

    engine = Ended(answer)
    with pytest.raises(Interrupted) as interrupted:
        run(engine, retries=5)
    assert engine.orders == 1
    assert [left.name for left in interrupted.value.left] == ["toy-net--bce--toy--s0"]


class Queue:
    """An engine in which one job waits: that of an earlier command."""

    capacity = 1

    def __init__(self, packed: Mapping[str, Any]) -> None:
        self.job: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self.answer, self.orders = packed, 0

    def find(self, job):
        return self.job if job == "1" else None

    def submit(self, function, /, *arguments):
        self.orders += 1
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        future.set_result(self.answer)
        return future

    def close(self):
        pass


def note_job(board: Board, work: str, combos: Mapping[str, str]) -> JobBook:
    book = JobBook(board.folder)
    book.write(JobNote(name="before", work=work, executor="answering", job="1", combos=combos))
    return book


def test_jobs_of_other_rows_belong_to_the_command_that_has_left_them(run, board, packed):
    book, engine = note_job(board, "combo", {"another--bce--toy--s0": "k"}), Queue(packed)
    (record,), _ = run(engine, shared=False)
    assert record.status == "done"
    assert engine.orders == 1
    assert not engine.job.cancelled()
    assert [note.name for note in book.find_open()] == ["before"]


def test_a_job_of_an_earlier_command_that_has_more_to_do_is_not_ended(run, board, packed):
    combo, key = "toy-net--bce--toy--s0", json.loads(packed["record"])["key"]
    book, engine = note_job(board, "run", {combo: key, "another--bce--toy--s0": "k"}), Queue(packed)

    def make_record() -> None:
        shutil.copytree(packed["folder"], board.folder, dirs_exist_ok=True)

    threading.Timer(0.5, make_record).start()
    (record,), events = run(engine)
    assert record.status == "done"
    assert [event.again for event in events if isinstance(event, JobsSubmitted)] == [True]
    assert not engine.job.cancelled()
    assert [note.name for note in book.find_open()] == ["before"]


def test_jobs_that_come_to_nothing_end_none_that_is_at_work(run, board):
    class Mixed(Answering):
        capacity = 3

        def submit(self, function, /, *arguments):
            self.orders += 1
            future: concurrent.futures.Future[Any] = concurrent.futures.Future()
            if self.orders == 1:
                job, self.at_work = json.loads(arguments[0])["job"], future
                assert Claims(board.folder).take("toy-net--bce--toy--s0", job=job, epoch=1, epochs=2) is not None
                threading.Timer(1.0, future.set_exception, [RuntimeError("the node went away")]).start()
            else:
                future.set_exception(concurrent.futures.CancelledError())
            return future

    engine = Mixed(lambda order: None)
    with pytest.raises(HarnessError, match="2 jobs in a row ended before they had begun"):
        run(engine, seeds=(0, 1, 2))
    assert engine.orders == 5, "two at first, and two others after the first job"
    assert not engine.at_work.cancelled()
    (record,) = read_records(board.folder).records
    assert record.failure is not None
    assert record.failure.where == "after epoch 1 of 2"


def test_a_job_that_another_command_waits_for_is_left_to_it(run, board, packed):
    combo, key = "toy-net--bce--toy--s0", json.loads(packed["record"])["key"]
    book, engine = note_job(board, "combo", {combo: key}), Queue(packed)
    theirs = Claims(board.folder).take(combo, process=os.getpid())
    assert theirs is not None
    released = threading.Timer(0.5, theirs.release)
    released.start()
    (record,), _ = run(engine, shared=False)
    assert record.status == "done"
    assert not engine.job.cancelled()
    assert [note.name for note in book.find_open()] == ["before"]


def test_an_engine_keeps_a_result_until_it_is_written(run, board, packed, monkeypatch):
    class Keeping(Answering):
        def __init__(self, answer: Answer) -> None:
            super().__init__(answer)
            self.kept: dict[str, Any] = {}

        def submit(self, function, /, *arguments):
            future = super().submit(function, *arguments)
            future.job = str(self.orders)
            self.kept[future.job] = future
            return future

        def find(self, job):
            return self.kept.get(job)

        def forget(self, job):
            del self.kept[job]

    def fill_up(*_: Any) -> None:
        raise StorageError("the disk is full")

    engine = Keeping(lambda order: packed)
    with monkeypatch.context() as patch:
        patch.setattr(carrying, "unpack_result", fill_up)
        with pytest.raises(StorageError, match="the disk is full"):
            run(engine, shared=False)
    assert [note.job for note in JobBook(board.folder).find_open()] == ["1"]
    (record,), _ = run(engine, shared=False)
    assert (record.status, engine.orders, engine.kept) == ("done", 1, {})


def test_a_job_that_was_cancelled_before_it_began_does_not_begin(board):
    book = note_job(board, "run", {})
    book.end(book.read()[0], "cancelled")
    with pytest.raises(OrderRefusedError, match="cancelled before it began"), book.sign_in("before"):
        raise AssertionError


def test_a_job_that_is_begun_again_elsewhere_goes_on_with_what_it_had_claimed(board, tmp_path):
    settings = Settings(data_root=tmp_path, cache=tmp_path / "cache", device="cpu")
    planned = planning.plan(board, load_registry([TOY]), settings, lambda event: None)
    name = planned[0].job.combo.name
    assert Claims(board.folder).take(name, machine="another", process=1, job="the-job") is not None
    for job in ("another-job", None):
        with Dispatch(planned, lambda event: None, job=job) as dispatch:
            assert dispatch.take(None) is None
    with Dispatch(planned, lambda event: None, job="the-job") as dispatch:
        assert dispatch.take(None) is not None


def test_an_order_names_what_there_was_of_each_combo(board, tmp_path, run):
    seen: list[Mapping[str, Any]] = []

    def answer(order):
        seen.append(order)
        return {"outcome": "refused", "message": "enough"}

    with pytest.raises(HarnessError, match="enough"):
        run(Answering(answer))
    (order,) = seen
    assert set(order) == set(Order.__dataclass_fields__)
    (combo,) = order["task"]["combos"].values()
    assert (combo["before"], combo["reason"]) == (None, "no record")
    assert (order["device"], order["board"]) == ("cpu", str(board.folder))


def never_open(needs):
    raise AssertionError


def test_a_run_without_work_opens_no_engine(board, tmp_path):
    registry = load_registry([TOY])
    settings = Settings(data_root=tmp_path, cache=tmp_path / "cache", device="cpu")
    local.run(planning.plan(board, registry, settings, lambda event: None), lambda event: None)
    planned = planning.plan(board, registry, settings, lambda event: None)
    to = Destination(executor=Executor(name="never", open=never_open))
    run_by(Elsewhere(to=to, settings=settings, registry=registry))(board, Dispatch(planned, lambda event: None)).run()

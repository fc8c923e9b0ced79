"""Several processes run one board together, and each can end at any time."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
from pathlib import Path

import psutil
import pytest

from harness.board import Board, Row
from harness.errors import StorageError
from harness.execution import local, planning
from harness.execution.claims import Claims
from harness.execution.dispatch import Dispatch
from harness.execution.events import ComboFinished, ComboLost, ComboRetried, ComboStarted, EpochFinished, Event, Waiting
from harness.execution.planning import Settings
from harness.registry import Registry, load_registry
from harness.results.store import read_records, write_record

TOY = Path(__file__).parents[1] / "fixtures" / "toy.py"
NEW = ("run", "--dataset", "toy", "--losses", "bce", "--recipes", "toy", "--board", "b")

SLOW = """
import time
from pathlib import Path

import numpy as np
import pandas as pd
from harness import Data, Dataset, hookimpl

def decode(path):
    time.sleep(0.1)
    return np.zeros((8, 8), np.uint8)

def load(root):
    names = [str(number) for number in range(500)]
    table = pd.DataFrame({"image": names, "patient": names, "split": (["train", "val", "test"] * 500)[:500]})
    targets = np.arange(500, dtype=np.float32)[:, None] % 2
    return Data(labels=("label",), images=[Path(__file__)] * 500, targets=targets, table=table, decode=decode)

@hookimpl
def harness_datasets():
    return [Dataset(name="slow", load=load, about="takes its time")]
"""


@pytest.fixture(scope="module")
def toys() -> Registry:
    return load_registry([TOY])


def make_plan(folder: Path, toys: Registry, *models: str, epochs: int = 3, **changes):
    rows = tuple(Row(model=model, loss="bce", recipe="toy", params={"recipe": {"epochs": epochs}}) for model in models)
    board = Board(
        folder=folder / "board", title="Toys", objective="auroc", metrics=("auroc",), dataset="toy", rows=rows
    )
    settings = dataclasses.replace(Settings(data_root=folder / "data", cache=folder / "cache", device="cpu"), **changes)
    return planning.plan(board, toys, settings, lambda event: None)


def test_a_combo_that_another_process_made_meanwhile_is_not_run_again(toys, tmp_path):
    planned = make_plan(tmp_path, toys, "toy-net", "tiny-cnn")
    (one, *_) = made = local.run(make_plan(tmp_path, toys, "toy-net"), lambda event: None)
    events: list[Event] = []
    records = local.run(planned, events.append)
    assert [event.name for event in events if isinstance(event, ComboStarted)] == [planned[1].job.combo.name]
    assert records[0] == one == made[0]
    assert records[1].combo.model == "tiny-cnn"


def test_a_failure_that_another_process_has_met_is_not_met_again(toys, tmp_path):
    planned = make_plan(tmp_path, toys, "toy-raising", "toy-net")
    local.run(make_plan(tmp_path, toys, "toy-raising"), lambda event: None)
    events: list[Event] = []
    failed, done = local.run(planned, events.append)
    assert (failed.status, done.status) == ("failed", "done")
    assert sum(isinstance(event, ComboStarted) for event in events) == 1


def test_what_another_process_runs_is_waited_for(toys, tmp_path):
    planned = make_plan(tmp_path, toys, "toy-net", "tiny-cnn")
    name, folder = planned[0].job.combo.name, planned[0].job.board_folder
    elsewhere = Claims(folder).take(name)
    (theirs,) = local.run(make_plan(tmp_path / "elsewhere", toys, "toy-net"), lambda event: None)
    told: list[Event] = []

    def listen(event: Event) -> None:
        told.append(event)
        if isinstance(event, Waiting):
            assert elsewhere is not None
            write_record(folder, theirs)
            elsewhere.release()

    records = local.run(planned, listen)
    assert [record.status for record in records] == ["done", "done"]
    assert records[0].provenance == theirs.provenance
    assert [event.names for event in told if isinstance(event, Waiting)] == [(name,)]


def test_a_combo_that_was_taken_over_is_dropped_and_its_result_is_the_others(toys, tmp_path):
    planned = make_plan(tmp_path, toys, "toy-net")
    folder = planned[0].job.board_folder
    (theirs,) = local.run(make_plan(tmp_path / "elsewhere", toys, "toy-net"), lambda event: None)
    claims, told = folder / "runs" / "claims", []

    def listen(event: Event) -> None:
        told.append(event)
        if isinstance(event, EpochFinished) and event.epoch.number == 2:
            (path,) = claims.iterdir()
            path.unlink()
            path.write_text("the token of somebody else\n{}\n")
        if isinstance(event, ComboLost):
            assert not (folder / "records").exists()
            write_record(folder, theirs)
            next(claims.iterdir()).unlink()

    (record,) = local.run(planned, listen)
    assert record.provenance == theirs.provenance
    assert not any(isinstance(event, ComboFinished) for event in told)
    assert [path.name for path in (folder / "runs" / planned[0].job.key).iterdir()] == ["resume.safetensors"]


def test_a_training_whose_record_cannot_be_written_is_kept_and_not_trained_again(toys, tmp_path, monkeypatch):
    planned = make_plan(tmp_path, toys, "toy-net")
    resume = tmp_path / "board" / "runs" / planned[0].job.key / "resume.safetensors"

    def fail(*arguments: object) -> None:
        raise StorageError("no space")

    with monkeypatch.context() as patched:
        patched.setattr("harness.execution.dispatch.write_record", fail)
        with pytest.raises(StorageError):
            local.run(planned, lambda event: None)
    kept = resume.read_bytes()
    told: list[Event] = []

    def listen(event: Event) -> None:
        told.append(event)
        if isinstance(event, EpochFinished):
            assert resume.read_bytes() == kept  # epochs are told again, none is trained

    (record,) = local.run(planned, listen)
    (straight,) = local.run(make_plan(tmp_path / "straight", toys, "toy-net"), lambda event: None)
    assert (record.metrics, record.artifacts) == (straight.metrics, straight.artifacts)
    assert not resume.exists()


def test_what_may_pass_is_tried_again_and_what_may_not_is_not(toys, tmp_path):
    planned = make_plan(tmp_path, toys, "toy-greedy", "toy-raising", "toy-nan")
    events: list[Event] = []
    records = local.run(planned, events.append, retries=2)
    retried = [(event.name.partition("--")[0], event.retry) for event in events if isinstance(event, ComboRetried)]
    assert retried == [("toy-greedy", 1), ("toy-greedy", 2)]
    assert [record.status for record in records] == ["failed"] * 3


def test_the_longest_is_begun_first_by_what_was_measured(toys, tmp_path):
    local.run(make_plan(tmp_path, toys, "toy-net", "tiny-cnn"), lambda event: None)
    folder = tmp_path / "board"
    (slow,) = (record for record in read_records(folder).records if record.combo.model == "tiny-cnn")
    cost = slow.efficiency.model_copy(update={"seconds": {"train": 1e6}})
    write_record(folder, slow.model_copy(update={"efficiency": cost}))
    planned = make_plan(tmp_path, toys, "toy-net", "tiny-cnn", force=True)
    events: list[Event] = []
    records = local.run(planned, events.append)
    begun = [event.name.partition("--")[0] for event in events if isinstance(event, ComboStarted)]
    assert begun == ["tiny-cnn", "toy-net"]
    assert [record.combo.model for record in records] == ["toy-net", "tiny-cnn"]
    longer = (*make_plan(tmp_path / "b", toys, "toy-net"), *make_plan(tmp_path / "b", toys, "toy-net", epochs=4))
    with Dispatch(longer, events.append) as dispatch:
        task = dispatch.take(None)
        assert task is not None
        assert task.job.choices.recipe.epochs == 4


@pytest.mark.exhaustive
@pytest.mark.slow
def test_two_processes_share_a_board_and_run_nothing_twice(start, tmp_path):
    models = ("--models", "toy-net,tiny-cnn", "--seeds", "0,1,2,3,4", "--set", "recipe.epochs=20")
    start(*NEW, *models, "--dry-run").communicate()
    runs = [start(*NEW, *models, HARNESS_WORKERS="0") for _ in range(2)]
    done = [run.communicate(timeout=100)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], done
    finished = [re.findall(r"✓ (\S+ seed \d)", text) for text in done]
    assert len(finished[0]) + len(finished[1]) == 10
    assert len({*finished[0], *finished[1]}) == 10
    assert len(read_records(tmp_path / "b").records) == 10
    assert not list((tmp_path / "b").rglob(".tmp-*"))


@pytest.mark.slow
def test_ctrl_c_keeps_the_epoch_under_way_and_the_same_command_goes_on(start, tmp_path, wait_until):
    command = (*NEW, "--models", "toy-net", "--seeds", "0,1", "--set", "recipe.epochs=80")
    run = start(*command)
    wait_until(lambda: [h for h in Claims(tmp_path / "b").read() if h.about.get("epoch", 0) >= 3])
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130, errors
    found = re.search(r"2 left to do \((toy-net--\S+--s0) after epoch (\d+) of 80\)\. Continue with: harness", errors)
    assert found, errors
    assert list((tmp_path / "b").rglob("resume.safetensors"))
    assert Claims(tmp_path / "b").read() == ()
    assert not list((tmp_path / "b").rglob(".tmp-*"))
    again = start(*command)
    _, errors = again.communicate(timeout=100)
    assert again.returncode == 0, errors
    straight = start(*command[:-2], "--board", "c", *command[-2:])
    straight.communicate(timeout=100)
    numbers = [
        {
            r.combo.seed: (r.metrics, {n: d for n, d in r.artifacts.items() if n != "log"})
            for r in read_records(f).records
        }
        for f in (tmp_path / "b", tmp_path / "c")
    ]
    assert numbers[0] == numbers[1]
    assert len(numbers[0]) == 2


@pytest.mark.slow
def test_a_run_without_workers_says_that_it_is_stopping(start, tmp_path, wait_until):
    run = start(*NEW, "--models", "toy-net", "--set", "recipe.epochs=1000", HARNESS_WORKERS="0")
    wait_until(lambda: [held for held in Claims(tmp_path / "b").read() if held.about.get("epoch", 0) >= 2])
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "stopping after this epoch of toy-net--" in errors
    assert "Continue with: harness run --dataset toy" in errors


@pytest.mark.slow
def test_ctrl_c_while_images_are_decoded_says_how_to_go_on(start, tmp_path, wait_until):
    (tmp_path / "slow.py").write_text(SLOW)
    command = ("--dataset", "slow", "--models", "tiny-cnn", "--losses", "bce", "--recipes", "demo", "--board", "b")
    run = start("run", *command, HARNESS_PLUGIN=str(tmp_path / "slow.py"))
    wait_until(lambda: list((tmp_path / "cache").glob("slow*")))
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130
    assert f"interrupted; decoded images are kept. Continue with: harness run {' '.join(command)}" in errors


@pytest.mark.slow
def test_a_worker_that_somebody_kills_costs_its_combo_an_interruption(start, tmp_path, wait_until):
    run = start(*NEW, "--models", "toy-net", "--set", "recipe.epochs=300")
    wait_until(lambda: [held for held in Claims(tmp_path / "b").read() if held.about.get("epoch", 0) >= 2])
    (held,) = Claims(tmp_path / "b").read()
    os.kill(held.about["worker"], signal.SIGTERM)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 1, errors
    (record,) = read_records(tmp_path / "b").records
    assert record.failure is not None
    assert (record.failure.kind, "killed from outside (SIGTERM)" in record.failure.message) == ("interrupted", True)


@pytest.mark.slow
def test_a_scheduler_that_signals_every_process_makes_no_failure(start, tmp_path, wait_until):
    run = start(*NEW, "--models", "toy-net", "--set", "recipe.epochs=1000")
    wait_until(lambda: [held for held in Claims(tmp_path / "b").read() if held.about.get("epoch", 0) >= 2])
    (held,) = Claims(tmp_path / "b").read()
    for process in (run.pid, held.about["worker"]):
        os.kill(process, signal.SIGTERM)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130, errors
    assert "1 left to do (toy-net--" in errors
    assert read_records(tmp_path / "b").records == ()


@pytest.mark.slow
def test_a_second_ctrl_c_does_not_wait(start, tmp_path, wait_until):
    run = start(*NEW, "--models", "sleep", "--json")
    wait_until(lambda: [held for held in Claims(tmp_path / "b").read() if "worker" in held.about])
    (held,) = Claims(tmp_path / "b").read()
    worker = psutil.Process(held.about["worker"])
    run.send_signal(signal.SIGINT)
    assert run.stderr is not None
    wait_until(lambda: "stopping after this epoch" in (run.stderr.readline() if run.stderr else ""))
    run.send_signal(signal.SIGINT)
    output, errors = run.communicate(timeout=30)
    assert run.returncode == 130
    assert output == ""
    assert "1 left to do. Continue with: harness run --dataset toy --losses bce --recipes toy --board b" in errors
    wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    assert Claims(tmp_path / "b").read() == ()


@pytest.mark.slow
def test_a_killed_run_leaves_no_worker_and_the_next_one_takes_over_at_once(start, tmp_path, wait_until):
    command = (*NEW, "--models", "toy-net", "--set", "recipe.epochs=300", "--json")
    run = start(*command)
    wait_until(lambda: [held for held in Claims(tmp_path / "b").read() if held.about.get("epoch", 0) >= 2])
    (held,) = Claims(tmp_path / "b").read()
    worker = psutil.Process(held.about["worker"])
    run.kill()
    run.communicate()
    wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    again = start(*command)
    output, errors = again.communicate(timeout=100)
    assert again.returncode == 0, errors
    assert json.loads(output)["rows"][0]["status"] == "done"
    assert not list((tmp_path / "b").rglob(".tmp-*"))
    shutil.rmtree(tmp_path / "b")

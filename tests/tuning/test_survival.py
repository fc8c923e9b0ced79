"""Studies whose workers are killed, and studies that several share."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from harness.tuning.slots import count_trials
from harness.tuning.storage import open_storage

FIXTURES = Path(__file__).parents[1] / "fixtures"
PLUGINS = os.pathsep.join(str(FIXTURES / name) for name in ("toy.py", "search.py", "afar.py"))
TUNE = (
    *("tune", "--dataset", "toy", "--option", "count=480"),
    *("--models", "tiny-cnn", "--losses", "bce", "--recipes"),
)
SPACE = ("--search", "recipe.lr=1e-3..1e-1:log", "--set", "recipe.epochs=6", "--set", "recipe.weight_decay=0.0")


def start(folder: Path, *more: str, recipe: str = "toy") -> subprocess.Popen[bytes]:
    code = "import sys; from harness.cli.main import main; sys.argv[0] = 'harness'; main()"
    environment = os.environ | {
        "HARNESS_CACHE_DIR": str(folder / "cache"),
        "HARNESS_PLUGIN": PLUGINS,
        "HARNESS_DEVICE": "cpu",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", code, *TUNE, recipe, *SPACE, "--board", "b", "--study", "s", *more]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


@contextlib.contextmanager
def opened(folder: Path, url: str | None = None):
    """The study, or None where it is not made yet."""
    import optuna

    storage = open_storage(url, folder / "b", "s")
    try:
        yield optuna.load_study(study_name="s", storage=storage)
    except KeyError:
        yield None
    finally:
        if isinstance(storage, optuna.storages.RDBStorage):
            storage.remove_session()
            storage.engine.dispose()


def await_trials(folder: Path, count: int, url: str | None = None) -> None:
    """Until so many trials are over."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        with opened(folder, url) as study:
            if study is not None and len(count_trials(study).finished) >= count:
                return
        time.sleep(0.2)
    raise AssertionError((folder / "log").read_text())


def require_exact(folder: Path, total: int, url: str | None = None) -> None:
    """Every trial that counts is finished, once, with its values; what was lost was tried again."""
    with opened(folder, url) as study:
        tally, trials = count_trials(study), study.trials
    assert len(tally.finished) == total, (folder / "log").read_text()
    assert not tally.running
    assert all(trial.user_attrs["values"] for trial in tally.finished)
    tried_again = Counter(t.user_attrs["retry_of"] for t in trials if "retry_of" in t.user_attrs)
    assert all(count == 1 for count in tried_again.values())


@pytest.mark.slow
@pytest.mark.parametrize("workers", [pytest.param("0", marks=pytest.mark.exhaustive), "2"])
def test_a_killed_study_goes_on_to_exactly_its_trials(tmp_path, workers):
    for reached in (2, 5):
        process = start(tmp_path, "--trials", "10", "--workers", workers)
        await_trials(tmp_path, reached)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(tmp_path, "--trials", "10", "--workers", workers).wait() == 0
    require_exact(tmp_path, 10)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_killed_worker_costs_its_study_nothing(tmp_path):
    import psutil

    process = start(tmp_path, "--trials", "10", "--workers", "2")
    await_trials(tmp_path, 2)
    psutil.Process(process.pid).children()[0].kill()
    assert process.wait() == 0
    require_exact(tmp_path, 10)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_two_processes_share_a_journal(tmp_path):
    processes = [start(tmp_path, "--trials", "12", "--workers", "0") for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    require_exact(tmp_path, 12)


@pytest.mark.service
def test_two_processes_share_a_real_database_though_one_is_killed(tmp_path, postgres):
    share = ("--trials", "12", "--storage", postgres, "--workers")
    first, second = start(tmp_path, *share, "0"), start(tmp_path, *share, "0")
    await_trials(tmp_path, 3, postgres)
    first.kill()
    first.wait()
    third = start(tmp_path, *share, "1")
    assert (second.wait(), third.wait()) == (0, 0)
    require_exact(tmp_path, 12, postgres)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_second_ctrl_c_is_not_needed_and_the_study_goes_on(tmp_path):
    process = start(tmp_path, "--trials", "8", "--workers", "0")
    await_trials(tmp_path, 2)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert b"interrupted; finished trials are kept. Continue with: harness tune" in (tmp_path / "log").read_bytes()
    assert start(tmp_path, "--trials", "8", "--workers", "0").wait() == 0
    require_exact(tmp_path, 8)


@pytest.mark.slow
def test_a_trial_whose_worker_is_stopped_by_ctrl_c_is_given_back_however_often(tmp_path):
    for _ in range(2):
        process = start(tmp_path, "--trials", "2", "--workers", "1", "--set", "recipe.epochs=2000")
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with opened(tmp_path) as study:
                if study is not None and any(trial.intermediate_values for trial in count_trials(study).running):
                    break
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    with opened(tmp_path) as study:
        tally = count_trials(study)
    assert [len(group) for group in (tally.finished, tally.running, tally.waiting)] == [0, 0, 1]
    assert "retry_of" not in tally.waiting[0].user_attrs

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from harness.plugins.ray_executor import open_ray

from harness import Needs, UsageError
from tests.cluster.ray_nodes import _two_nodes as _two_nodes  # noqa: PLC0414 - a fixture
from tests.cluster.ray_nodes import nodes as nodes  # noqa: PLC0414 - a fixture
from tests.cluster.ray_nodes import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.service]

SUBMIT = """
import os, sys, time
from pathlib import Path
from harness import Needs
from harness.plugins.ray_executor import open_ray
engine = open_ray(Needs(name="harness-x", folder=Path(sys.argv[1]), workers=1, gpus=0), address=sys.argv[2])
jobs = [engine.submit(os.getpid), engine.submit(time.sleep, 3)]
print(*(job.job for job in jobs), flush=True)
time.sleep(60)
"""


@pytest.fixture
def open_engine(nodes, tmp_path, monkeypatch):
    engines = []

    def open_it(**options):
        engines.append(
            open_ray(
                Needs(name="harness-x", folder=tmp_path, workers=2, gpus=0), **{"address": nodes.address} | options
            )
        )
        return engines[-1]

    yield open_it
    for engine in engines:
        engine.close()


def sign_in(engine, file: Path, seconds: float):
    """Submit a function that leaves a line in a file, its process and its node, and takes a while."""
    return engine.submit(os.system, f"echo $PPID $HARNESS_DATA_ROOT >> {file}; exec sleep {seconds}")


def read_lines(file: Path, count: int):
    return wait_for(lambda: file.exists() and len(lines := file.read_text().splitlines()) >= count and lines)


def end_of(engine, future):
    """What a function gave, or the kind of failure that its end is."""
    try:
        return future.result(timeout=60)
    except Exception as error:  # noqa: BLE001 - it is told by `explain`
        return engine.explain(error)


def test_a_function_runs_there_with_what_it_has_to_know_of_the_environment(open_engine, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    engine = open_engine()
    assert engine.capacity == 2
    asked = [engine.submit(os.getenv, name) for name in ("HF_HUB_OFFLINE", "HARNESS_DATA_ROOT", "OMP_NUM_THREADS")]
    offline, data_root, threads = (future.result(timeout=60) for future in asked)
    assert (offline, Path(data_root).parent.name[:4], threads) == ("1", "node", "1")


def test_no_file_of_the_current_folder_is_run(open_engine, tmp_path, monkeypatch):
    (tmp_path / "came_with_a_board.py").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="came_with_a_board"):
        open_engine().submit(importlib.import_module, "came_with_a_board").result(timeout=60)


def test_what_a_function_raises_is_raised_here_and_is_no_error_of_the_engine(open_engine):
    engine = open_engine()
    with pytest.raises(FileNotFoundError) as caught:
        engine.submit(os.stat, "/nowhere").result(timeout=60)
    assert engine.explain(caught.value) is None


def test_to_cancel_ends_the_process_and_what_waits(open_engine, tmp_path):
    engine = open_engine()
    jobs = [sign_in(engine, tmp_path / "signed", 60) for _ in range(3)]
    pids = [int(line.split()[0]) for line in read_lines(tmp_path / "signed", 2)]
    with pytest.raises(TimeoutError):
        jobs[0].result(timeout=0.1)
    assert [job.cancel() for job in jobs] == [True] * 3
    # Ray ends what a process has started before the process, which may live to see it: status 9 of a child
    assert {end_of(engine, job) for job in jobs[:2]} <= {"interrupted", signal.SIGKILL}
    assert end_of(engine, jobs[2]) == "interrupted"
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    assert not jobs[0].cancel()


def test_jobs_go_on_when_their_submitter_is_killed_and_are_found_again(open_engine, nodes, tmp_path):
    command = [sys.executable, "-c", SUBMIT, str(tmp_path), nodes.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as submitter:
        assert submitter.stdout is not None
        jobs = submitter.stdout.readline().split()
        submitter.send_signal(signal.SIGKILL)
    engine = open_engine()
    short = engine.find(jobs[0])
    assert short.result(timeout=60) > 0
    engine.close()
    engine = open_engine()
    assert [engine.find(job).result(timeout=60) is None for job in jobs] == [False, True], "what was told is kept"
    for job in jobs:
        engine.forget(job)
    engine.close()
    engine = open_engine()
    assert [engine.find(job) for job in (*jobs, "another/job")] == [None] * 3, "what was forgotten is not"


def test_a_worker_that_is_killed_is_started_again_as_often_as_wanted(open_engine, tmp_path):
    signed = tmp_path / "signed"
    for retries, end in ((0, "crashed"), (1, 0)):
        signed.unlink(missing_ok=True)
        engine = open_engine(retries=retries)
        job = sign_in(engine, signed, 2)
        os.kill(int(read_lines(signed, 1)[0].split()[0]), signal.SIGKILL)
        assert end_of(engine, job) == end
        assert len(read_lines(signed, 1)) == 1 + retries


@pytest.mark.parametrize(("retries", "end"), [(0, "interrupted"), (1, 0)])
def test_work_of_a_lost_node_is_done_by_another(open_engine, nodes, tmp_path, retries, end):
    engine, signed = open_engine(retries=retries), tmp_path / "signed"
    jobs = [sign_in(engine, signed, 5) for _ in range(2)]
    lines = read_lines(signed, 2)
    assert len({line.split()[1] for line in lines}) == 2, "each node has one"
    nodes.lose_second()
    assert sorted((end_of(engine, job) for job in jobs), key=str) == [0, end]
    assert len(read_lines(signed, 2)) == 2 + retries


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"address": "127.0.0.1:1"}, "no cluster answers at 127.0.0.1:1"),
        ({"address": "somewhere"}, "HOST:PORT"),
        ({"cpus": 2}, r"no node has what a worker needs \(CPU 2\); the nodes have: CPU 1; CPU 1"),
        ({"resource": "a100"}, "no node has what a worker needs .*a100"),
        ({"retries": -1}, "0 or more"),
    ],
)
def test_what_cannot_work_is_said_at_once(open_engine, options, message):
    with pytest.raises(UsageError, match=message):
        open_engine(**options)


def test_workers_stay_on_nodes_that_have_a_resource(open_engine):
    assert open_engine(resource="slot").capacity == 2


def test_a_process_is_in_one_cluster(open_engine):
    open_engine()
    with pytest.raises(UsageError, match=r"in the cluster at 127\.0\.0\.2:.* already"):
        open_engine(address="127.0.0.9:6379")

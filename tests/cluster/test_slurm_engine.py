"""The engine of SLURM beside a real SLURM, with accounts and without."""

from __future__ import annotations

import math
import time

import pytest
from harness.plugins.slurm_executor import open_engine
from harness.plugins.slurm_executor.jobs import SlurmError

from harness import Needs
from tests.cluster.conftest import wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.service]


@pytest.fixture(params=["slurm", "bare_slurm"])
def engine(request, tmp_path, monkeypatch):
    cluster = request.getfixturevalue(request.param)
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    return open_engine(Needs(name="harness-test", folder=tmp_path, workers=2, gpus=0), poll=0.5)


def read_end(engine, future):
    with pytest.raises(SlurmError) as caught:
        future.result(timeout=60)
    return engine.explain(caught.value), str(caught.value)


def test_jobs_of_an_array_give_their_results_and_are_found_again(engine):
    with engine.batch():
        futures = [engine.submit(math.sqrt, float(number)) for number in (4, 9, -1)]
    assert [future.result(timeout=60) for future in futures[:2]] == [2.0, 3.0]
    kind, message = read_end(engine, futures[2])
    assert kind == "crashed"
    assert message.endswith("ValueError: math domain error")
    assert engine.find(futures[1].job).result(timeout=60) == 3.0
    assert engine.find("999") is None


def test_a_cancelled_job_is_an_interruption(engine):
    future = engine.submit(time.sleep, 100)
    wait_until(lambda: future.state == "RUNNING")
    assert not future.done()
    assert engine.find(future.job).cancel()
    kind, message = read_end(engine, future)
    assert kind == "interrupted"
    assert "ended as CANCELLED" in message


def test_a_job_that_waits_is_not_over_until_it_is_cancelled(engine):
    futures = [engine.submit(time.sleep, 100) for _ in range(3)]  # for two processors
    wait_until(lambda: [future.state for future in futures[:2]] == ["RUNNING", "RUNNING"])
    assert futures[2].state == "PENDING"
    assert all(future.cancel() for future in reversed(futures))
    assert {read_end(engine, future)[0] for future in futures} == {"interrupted"}


def test_the_harness_proves_its_executor(slurm, finish):
    code, said, told = finish("check", "slurm", "--option", "poll=1", **slurm.environment)
    assert code == 0, said + told
    assert "runs a board" in said

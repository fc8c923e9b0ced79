"""Searches on a real SLURM have exactly their trials."""

from __future__ import annotations

import pytest

from harness.execution.jobs import JobBook
from tests.tuning.test_survival import await_trials, require_exact, start

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.service, pytest.mark.timeout(300)]


def test_a_search_has_its_total_of_trials_although_a_job_is_cancelled(slurm, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    search = start(tmp_path, "--trials", "10", "--on", "slurm", "--on-option", "poll=1", "--jobs", "2")
    await_trials(tmp_path, 2)
    slurm.ask("scancel", JobBook(tmp_path / "b").read()[0].job)
    assert search.wait(250) == 0, (tmp_path / "log").read_text()
    require_exact(tmp_path, 10)

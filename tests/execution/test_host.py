"""The memory that there is, and who has to go when it is short."""

from __future__ import annotations

from dataclasses import replace

import psutil
import pytest

from harness.execution import host
from harness.execution.host import HostMemory, measure_memory
from harness.execution.pool import judge_memory

GIB = 2**30


def test_memory_is_the_hosts(monkeypatch):
    monkeypatch.setattr(host, "CONTROL_GROUPS", ())
    assert measure_memory().total == psutil.virtual_memory().total
    assert 0 < measure_memory().available < measure_memory().total


@pytest.mark.parametrize(("limit", "total"), [(str(GIB), GIB), ("max", None)])
def test_memory_of_a_container_is_what_it_may_have(monkeypatch, tmp_path, limit, total):
    files = [tmp_path / name for name in ("max", "current", "stat")]
    for file, text in zip(files, (limit, str(GIB // 2), f"anon 5\ninactive_file {GIB // 4}\n"), strict=True):
        file.write_text(text)
    monkeypatch.setattr(host, "CONTROL_GROUPS", ((*map(str, files), "inactive_file"),))
    found = measure_memory()
    assert found.total == (total or psutil.virtual_memory().total)
    if total:
        assert found.available == min(GIB - GIB // 2 + GIB // 4, psutil.virtual_memory().available)


def test_the_largest_worker_goes_over_its_limit_or_when_the_host_has_nothing_left():
    plenty, short = HostMemory(64 * GIB, 32 * GIB), HostMemory(64 * GIB, GIB)
    assert judge_memory(40 * GIB, 50 * GIB, None, plenty) is None
    assert judge_memory(3 * GIB, 3 * GIB, 2 * GIB, plenty) == (
        "the worker process held 3.0 GiB, more than the 2.0 GiB of --memory"
    )
    assert "1.0 GiB of the host's 64.0 GiB were left" in str(judge_memory(40 * GIB, 50 * GIB, None, short))
    assert judge_memory(GIB, 2 * GIB, None, short) is None  # it is others who hold the memory
    assert replace(plenty, available=0).is_short

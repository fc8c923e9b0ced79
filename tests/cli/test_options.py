"""What the command line's options accept, and what they say otherwise."""

from __future__ import annotations

import pytest

from harness import UsageError
from harness.cli import option_values
from harness.cli.option_values import find_devices, parse_duration, parse_memory


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200)])
def test_a_duration_has_a_unit_or_is_in_seconds(text, seconds):
    assert parse_duration("--timeout", text) == seconds


@pytest.mark.parametrize(("text", "size"), [("900M", 900 * 2**20), ("1.5G", 3 * 2**29), ("2GiB", 2**31)])
def test_a_size_has_a_unit(text, size):
    assert parse_memory("--memory", text) == size


@pytest.mark.parametrize("text", ["", "0", "-5", "5d", "m", "1e9"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(UsageError, match=r"--timeout .*: give seconds, or 90s, 15m, 2h"):
        parse_duration("--timeout", text)


@pytest.mark.parametrize("text", ["", "0G", "5", "5T", "G"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError, match=r"--memory .*: give 900M or 12G"):
        parse_memory("--memory", text)


def test_devices_are_one_or_several_or_all(monkeypatch):
    monkeypatch.setattr(option_values, "count_gpus", lambda: 3)
    assert find_devices("all") == ("cuda:0", "cuda:1", "cuda:2")
    assert find_devices("cuda:0, cuda:2") == ("cuda:0", "cuda:2")
    assert find_devices("auto") == ("cuda",)
    assert find_devices("cpu") == ("cpu",)
    for text, says in {
        "cuda:3": "no such GPU",
        "cuda:1,cuda:1": "stands there twice",
        "": "give auto",
        "tpu": "give auto",
        "cuda:01": "give auto",
        "cuda:-1": "give auto",
    }.items():
        with pytest.raises(UsageError, match=says):
            find_devices(text)
    monkeypatch.setattr(option_values, "count_gpus", lambda: 0)
    with pytest.raises(UsageError, match="there is no GPU here"):
        find_devices("all")
    assert find_devices("auto") == ("cpu",)


def test_limits_need_worker_processes(harness):
    command = ("run", "demo", "--workers", "0", "--dry-run")
    code, _, err = harness(*command, "--timeout", "5m")
    assert (code, "without --timeout and --memory" in err) == (2, True)

"""Whatever a combo does, the others are done, and its failure says what it was."""

from __future__ import annotations

import json

import psutil
import pytest

from harness.results.store import read_records

HEALTHY = ("healthy", "toy-net", "shout", "fork", "fork-a-copy")
KINDS = {
    "raise-error": ("plugin", "RuntimeError: this network does not want to"),
    "give-nan": ("not_finite", "stopped being a number in epoch 1"),
    "hoard": ("out_of_memory", "more than the 1.5 GiB of --memory"),
    "abort": ("crashed", "the worker process crashed (SIGABRT)"),
    "leave": ("crashed", "the worker process ended with exit code 0"),
    "exit-politely": ("plugin", "SystemExit: bye"),
    "sleep": ("timeout", "took more than 15 s, the limit of --timeout"),
}


def descendants_of_plugins() -> set[int]:
    """Processes that the plugin started in sessions of their own."""
    return {process.pid for process in psutil.process_iter(["cmdline"]) if process.info["cmdline"] == ["sleep", "3600"]}


@pytest.mark.slow
def test_every_healthy_combo_is_done_and_every_other_says_why_not(start, tmp_path):
    before = descendants_of_plugins()
    models = ",".join([*HEALTHY, *KINDS])
    run = start(
        "run", "--dataset", "toy", "--models", models, "--losses", "bce", "--recipes", "toy", "--board", "b",
        "--timeout", "15", "--memory", "1536M", "--json",
    )  # fmt: skip
    output, errors = run.communicate(timeout=150)
    assert run.returncode == 1, errors
    document = json.loads(output)
    status = {row["name"].partition("--")[0]: row["status"] for row in document["rows"]}
    assert status == dict.fromkeys(HEALTHY, "done") | dict.fromkeys(KINDS, "failed")
    records = {record.combo.model: record for record in read_records(tmp_path / "b").records}
    assert len(records) == 12
    for model, (kind, message) in KINDS.items():
        failure = records[model].failure
        assert failure is not None
        assert (failure.kind, message in failure.message) == (kind, True), failure
    assert records["healthy"].metrics == records["fork-a-copy"].metrics == records["shout"].metrics
    page = (tmp_path / "b" / "index.html").read_text()
    assert all(f"failed ({kind})" in page for kind, _ in KINDS.values())
    assert "x" * 10_000 in errors
    assert "Traceback" not in errors
    assert not list((tmp_path / "b").rglob(".tmp-*"))
    assert not list((tmp_path / "b" / "runs" / "claims").iterdir())
    assert descendants_of_plugins() == before

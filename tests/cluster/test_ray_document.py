"""From nothing to a running board on Ray, as docs/clusters.md says."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.results.store import read_records
from tests.cluster.ray_nodes import wait_for
from tests.execution.conftest import start as start  # noqa: PLC0414 - a fixture
from tests.execution.test_killed import outcome

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.service, pytest.mark.timeout(300)]

DOCUMENT = (Path(__file__).parents[2] / "docs" / "clusters.md").read_text()
SECTION = DOCUMENT.partition("\n## Ray\n")[2].partition("\n## ")[0]
(BLOCK,) = re.findall(r"```sh\n(.*?)```", SECTION, flags=re.DOTALL)
LINES = [shlex.split(line, comments=True) for line in BLOCK.splitlines()]
HEAD = "127.0.0.4"
SMALLER = "--num-cpus 1 --object-store-memory 80000000 --block --node-ip-address 127.0.0."
LIGHTER = "--seeds 0 --only tiny-cnn--* --option train=48 --option val=60 --option test=120 --set recipe.epochs=1"
RAY = [sys.executable, "-u", "-m", "ray.scripts.scripts"]


@pytest.fixture
def type_line(start, tmp_path, monkeypatch):
    """Type a line of the document at home in the test's folder; nodes go on until the test is over."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    nodes: list[subprocess.Popen[bytes]] = []

    def start_node(words):
        log = tmp_path / f"node{len(nodes)}.log"
        words = [*(word.replace("10.0.0.1", HEAD) for word in words), *f"{SMALLER}{4 + len(nodes)}".split()]
        with log.open("w") as file:
            nodes.append(subprocess.Popen([*RAY, *words], stdout=file, stderr=file))
        return wait_for(lambda: "Ray runtime started" in (said := log.read_text()) and said)

    def type_it(words):
        match words:
            case ["pip", *_]:
                return "installed"
            case ["export", setting]:
                return monkeypatch.setenv(*setting.split("="))
            case ["ray", "start", *_]:
                return start_node(words[1:])
            case ["ray", *_]:
                return subprocess.run([*RAY, *words[1:]], check=True, capture_output=True, text=True).stdout
        more = shlex.split(LIGHTER) if "--jobs" in words else []
        process = start(*words[1:], *more, RAY_ADDRESS=f"{HEAD}:6379")
        said, errors = process.communicate(timeout=200)
        assert process.returncode == 0, errors
        return said + errors

    yield type_it
    for node in reversed(nodes):
        node.send_signal(signal.SIGTERM)
        node.wait(timeout=60)


@pytest.mark.exhaustive
def test_the_lines_of_the_document_run_a_board_with_the_records_of_a_local_run(type_line, start, tmp_path):
    assert len(LINES) <= 10
    said = [type_line(line) for line in LINES]
    (shown,) = [text for line, text in zip(LINES, said, strict=True) if line[:3] == ["harness", "plugins", "show"]]
    table = set(re.findall(r"^\| `(\w+)` \|", SECTION, re.MULTILINE))
    assert table | {"shared"} == set(re.findall(r"^    (\w+) = ", shown, re.MULTILINE)), "the document has each option"
    assert any("submitted 2 jobs to ray" in (text or "") for text in said)
    here = start("run", "demo", *shlex.split(LIGHTER), "--board", "here")
    assert here.wait(200) == 0
    there = outcome(tmp_path / "demo-board")
    assert len(read_records(tmp_path / "demo-board").records) == 2
    assert there == outcome(tmp_path / "here")

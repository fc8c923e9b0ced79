"""harness serve: what it refuses, and what it prints before the page is there."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import shutil
import socket
from typing import Any

import pytest

from harness.results.store import read_records
from harness.serving import server
from tests.serving.conftest import call


@pytest.fixture
def served(monkeypatch) -> list[Any]:
    """Apps that would be served, with their sockets; nothing is."""
    made: list[Any] = []

    def serve(app: Any, listening: socket.socket) -> None:
        made.append((app, listening.getsockname()))
        listening.close()

    monkeypatch.setattr(server, "serve", serve)
    return made


def test_the_address_is_printed_before_the_page_is_served(harness, toy_board, served):
    code, out, error = harness("serve", f"{toy_board}::toy-net--bce--toy", "--port", "0")
    assert (code, error) == (0, "")
    [(_, (host, port))] = served
    assert host == "127.0.0.1"
    assert out == f"open http://127.0.0.1:{port}/ (Ctrl+C ends it)\n"


def test_on_an_address_that_others_reach_the_page_has_a_new_token_each_time(harness, toy_board, served):
    tokens = set()
    for _ in range(2):
        _, out, _ = harness("serve", f"{toy_board}::toy-net--bce--toy", "--host", "0.0.0.0", "--port", "0")
        found = re.fullmatch(r"open http://\S+:\d+/\?token=([\w-]{32}) \(Ctrl\+C ends it\)\n", out)
        assert found, out
        tokens.add(found[1])
    assert len(tokens) == 2


def test_data_that_have_moved_are_said_on_the_page_which_does_without_examples(harness, toy_board, served, tmp_path):
    board = shutil.copytree(toy_board, tmp_path / "a-board")
    (board / "runs" / "local.toml").write_text('data_root = "/gone"\n')
    code, _, error = harness("serve", f"{board}::toy-net--bce--toy", "--port", "0")
    assert (code, error) == (0, "")
    found = asyncio.run(call(served[0][0], "/api/examples")).json
    assert found["examples"] == []
    assert "the data are in /gone, which is not there any more; give --data-root DIR" in found["reason"]


def test_a_seed_whose_weights_are_gone_is_left_out_and_said(harness, toy_board, served, tmp_path):
    board, row = shutil.copytree(toy_board, tmp_path / "a-board"), "toy-net--bce--toy"
    first, second = sorted(
        (record for record in read_records(board).records if record.combo.row == row), key=lambda one: one.combo.seed
    )
    (board / "runs" / first.key / "weights.safetensors").unlink()
    code, _, error = harness("serve", f"{board}::{row}", "--port", "0")
    assert code == 0
    assert "the weights of seed 0 are not here; make them: harness run" in error
    page = asyncio.run(call(served[0][0], "/")).body.decode()
    assert f"{row}, seed 1</option>" in page
    assert "with seed 1, of the 2 that it has" in page
    assert f"{row}, seed 0" not in page
    assert "mean of" not in page
    (board / "runs" / second.key / "weights.safetensors").unlink()
    code, _, error = harness("serve", f"{board}::{row}", "--port", "0")
    assert code == 2
    assert "seed 0: its weights are not in" in error


def test_a_port_that_is_taken_and_a_host_that_is_not_there_are_one_sentence(harness, toy_board):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, _, error = harness("serve", f"{toy_board}::toy-net--bce--toy", "--port", port)
    assert code == 2
    assert re.search(rf"127\.0\.0\.1 cannot be listened at on port {port}: address already in use; give", error)
    code, _, error = harness("serve", f"{toy_board}::toy-net--bce--toy", "--host", "203.0.113.7")
    assert code == 2
    assert "203.0.113.7 cannot be listened at" in error


def test_without_its_packages_the_extra_is_named(harness, toy_board, monkeypatch):
    whole = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "uvicorn" else whole(name, *more)
    )
    code, _, error = harness("serve", f"{toy_board}::toy-net--bce--toy")
    assert code == 2
    assert error.strip().endswith("harness serve needs uvicorn; pip install 'cxr-harness[app]'")


def test_an_unknown_row_policy_or_board_is_refused(harness, toy_board, served):
    for arguments in (
        (f"{toy_board}::toy-nut--bce--toy",),
        (f"{toy_board}::toy-net--bce--toy", "--policy", "val-f2"),
        ("nothing",),
    ):
        code, _, error = harness("serve", *arguments)
        assert code == 2
        assert len(error.splitlines()) == 1
    assert not served

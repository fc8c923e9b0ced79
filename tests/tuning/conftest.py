"""Studies with nothing trained."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.board import Board, Row
from harness.components import Choice, Float
from harness.tuning.space import Dimension
from harness.tuning.study import Plan

DIMENSIONS = {
    "recipe.lr": Dimension("recipe.lr", Float(1e-4, 1e-1, log=True), "recipe 'toy'"),
    "recipe.optimizer": Dimension("recipe.optimizer", Choice(("adam", "sgd")), "--search"),
}


@pytest.fixture
def make_plan(tmp_path):
    def make(**changes) -> Plan:
        row = Row(model="toy-net", loss="bce", recipe="toy")
        board = Board(
            folder=tmp_path / "board", title="t", objective="auroc", metrics=("auroc",), dataset="toy", rows=(row,)
        )
        values: dict[str, Any] = {
            "name": "s",
            "board": board,
            "row": row,
            "dimensions": DIMENSIONS,
            "defaults": {"recipe.lr": 0.01, "recipe.optimizer": "adam"},
            "objective": "auroc",
            "higher_is_better": True,
            "fingerprint": "f",
            "epochs": 3,
        }
        return Plan(**(values | changes))

    return make


@pytest.fixture
def postgres(tmp_path):
    """The URL of a PostgreSQL server of its own."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        pytest.skip("PostgreSQL is not installed")
    binaries = found[-1]
    import shutil
    import socket
    import tempfile

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    as_owner: list[str] = []
    if os.geteuid() == 0:  # it refuses to be run by root
        shutil.chown(folder, "postgres")
        as_owner = ["runuser", "-u", "postgres", "--"]
    data = str(folder / "data")
    control = [*as_owner, str(binaries / "pg_ctl"), "-D", data, "-w"]
    listen = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    make = [*as_owner, str(binaries / "initdb"), "-D", data, "-U", "harness", "-A", "trust"]
    subprocess.run(make, check=True, cwd="/", stdout=subprocess.DEVNULL)
    subprocess.run([*control, "-l", str(folder / "log"), "-o", listen, "start"], check=True, cwd="/")
    try:
        yield f"postgresql+psycopg://harness@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, cwd="/")
        shutil.rmtree(folder, ignore_errors=True)

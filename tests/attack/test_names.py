"""A user, a host or a label with an odd name changes no value of a record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

TOY = Path(__file__).parents[1] / "fixtures" / "toy.py"


@pytest.mark.parametrize("name", ["toy-net", "adamw", "corners", "float32", "/"])
def test_a_record_holds_what_was_chosen_whatever_user_and_host_are_called(harness, tmp_path, monkeypatch, name):
    plugin = tmp_path / "named.py"
    plugin.write_text(TOY.read_text().replace('"third")', '"x /y")').replace("width=8", "width=8, kind='corners'"))
    monkeypatch.setenv("HARNESS_PLUGIN", str(plugin))
    for variable in ("LOGNAME", "USER", "HOME"):
        monkeypatch.setenv(variable, name)
    monkeypatch.setattr("socket.gethostname", lambda: name)
    chosen = ["--dataset", "toy", "--models", "toy-net", "--losses", "bce", "--recipes", "toy", "--seeds", "0"]
    assert harness("run", *chosen, "--set", "model.kind=corners", "--board", "b")[0] == 0
    for path in (tmp_path / "b" / "records").glob("*.json"):
        record = json.loads(path.read_text())
        resolved = record["combo"]["resolved"]
        assert (resolved["recipe"]["optimizer"], resolved["recipe"]["precision"]) == ("adamw", "float32")
        assert resolved["model"] == {"width": 8, "kind": "corners"}
        assert record["dataset"]["labels"] == ["first", "second", "x /y"]
    code, out, _ = harness("validate", "b")
    assert (code, "path" in out) == (0, False), out

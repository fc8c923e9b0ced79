"""The doctor says what is there, and what is missing for what."""

from __future__ import annotations

import shutil

import pytest

from harness.registry import load_registry
from harness.testing import doctor


@pytest.fixture
def facts(tmp_path):
    def examine(*plugins):
        found = doctor.examine_machine(load_registry(plugins), tmp_path / "cache", tmp_path / "data")
        return {fact.name: fact for fact in found}

    return examine


def test_versions_devices_folders_and_plugins_are_named(facts, tmp_path):
    import torch

    (tmp_path / "cache" / "deep").mkdir(parents=True)
    (tmp_path / "cache" / "deep" / "file").write_bytes(bytes(3 * 2**20))
    found = facts()
    assert found["torch"].value == torch.__version__.partition("+")[0] or found["torch"].value == torch.__version__
    assert "3.0 MiB" in found["cache"].value
    assert found["data"].missing.startswith("No data folder ")
    assert found["bundled"].value.endswith("plugins")
    assert {"python", "cuda", "free for the cache", "chromium", "hub"} <= set(found)


def test_a_broken_plugin_is_named_with_its_error(facts, tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("import nothing_of_that_name")
    assert "nothing_of_that_name" in facts(file)[str(file)].missing


def test_offline_mode_is_said_and_asks_no_network(facts, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "unset HF_HUB_OFFLINE" in facts()["hub"].missing


def test_a_hub_that_does_not_answer_is_missing_for_weights(facts, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "recipe.weights=FILE" in facts()["hub"].missing


def test_a_browser_is_found_by_any_of_its_names(facts, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/chrome" if name == "chrome" else None)
    assert facts()["chromium"].value == "/usr/bin/chrome"


@pytest.mark.parametrize(("count", "text"), [(0, "0.0 MiB"), (2**20, "1.0 MiB"), (2**31, "2.0 GiB")])
def test_bytes_are_said_for_people(count, text):
    assert doctor.describe_bytes(count) == text

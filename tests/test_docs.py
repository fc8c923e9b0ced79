"""What the documents show works as they show it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from harness.hookspecs import harness_datasets
from harness.registry import HOOKS, load_registry

ROOT = Path(__file__).parents[1]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", CONTRIBUTING, flags=re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """Every `harness` command in the code blocks of a document."""
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)).replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in blocks.splitlines() if line.startswith("harness ")]


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_of_a_plugin_loads_and_offers_something(tmp_path, number):
    path = tmp_path / "example.py"
    path.write_text(EXAMPLES[number])
    registry = load_registry([path])
    assert registry.problems == ()
    assert any(offer.origin == "local" for offers in registry.offers.values() for offer in offers.values())


def test_there_is_an_example_of_each_kind(tmp_path):
    files = [tmp_path / f"example{number}.py" for number in range(len(EXAMPLES))]
    for path, text in zip(files, EXAMPLES, strict=True):
        path.write_text(text)
    registry = load_registry(files)
    kinds = {kind for kind, offers in registry.offers.items() for offer in offers.values() if offer.origin == "local"}
    assert kinds == set(HOOKS.values())


def test_the_examples_train_together(tmp_path, monkeypatch):
    import torch

    from harness.board import Board, Row
    from harness.execution import local
    from harness.execution.local import Settings

    files = [tmp_path / f"example{number}.py" for number in range(len(EXAMPLES))]
    for path, text in zip(files, EXAMPLES, strict=True):
        path.write_text(text)
    row = Row("my-net", "hinge", "longer", {"recipe": {"epochs": 2, "size": 32}})
    board = Board(tmp_path / "b", "t", "", "auroc", (0,), ("auroc", "accuracy"), "bright", {}, (row,))
    settings = Settings(tmp_path, tmp_path / "cache", torch.device("cpu"))
    (record,) = local.run(local.plan(board, load_registry(files), settings, lambda _: None), lambda _: None)
    assert record.status == "done"
    assert record.metrics["auroc"].macro == 1.0
    assert "accuracy@val-f1" in record.metrics


def test_every_hook_is_documented_under_its_signature():
    for hook, kind in HOOKS.items():
        assert f"### {hook}() -> Iterable[{kind.capitalize()}]" in CONTRIBUTING
    assert harness_datasets.__doc__


@pytest.mark.parametrize("command", commands(README) + commands(CONTRIBUTING), ids=" ".join)
def test_a_command_of_the_documents_uses_verbs_and_flags_that_exist(command):
    from typer.main import get_command

    from harness.cli import app

    found = get_command(app)
    words = command[1:]
    while hasattr(found, "commands") and words and words[0] in found.commands:
        found = found.commands[words.pop(0)]
    assert not hasattr(found, "commands") or not words, command
    flags = {flag for parameter in found.params for flag in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= flags


def test_the_readme_names_every_bundled_component(registry):
    for offers in registry.offers.values():
        for name in offers:
            assert f"`{name}`" in README or name == "timm/*", name

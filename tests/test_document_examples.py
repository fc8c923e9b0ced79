"""What the documents show works as they show it."""

from __future__ import annotations

import inspect
import re
import shlex
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import harness
from harness import hookspecs
from harness.board import parse_board
from harness.choices import resolve_rows
from harness.components import KINDS, Augment, Data, Inputs, Schedule
from harness.data.loading import CORE_OPTIONS
from harness.data.outside import find_outside
from harness.panels import read_panel
from harness.parameters import defaults
from harness.registry import HOOKS, load_registry

ROOT = Path(__file__).parents[1]
GENERATED = "docs/cli.md"
MANUAL = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in ("README.md", *MANUAL, "CONTRIBUTING.md", "ARCHITECTURE.md")
    if name != GENERATED
}
"""Every document that is written by hand, in the order in which a reader meets them."""
PLUGINS = DOCUMENTS["docs/plugins.md"]
BLOCKS = re.findall(r"```python\n(.*?)```", PLUGINS, flags=re.DOTALL)
EXAMPLES = [block for block in BLOCKS if "hookimpl" in block]
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


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

    from harness.board import Board, Row
    from harness.execution import local, planning
    from harness.execution.planning import Settings

    files = [tmp_path / f"example{number}.py" for number in range(len(EXAMPLES))]
    for path, text in zip(files, EXAMPLES, strict=True):
        path.write_text(text)
    row = Row(model="my-net", loss="hinge", recipe="longer", params={"recipe": {"epochs": 2, "size": 32}})
    board = Board(
        folder=tmp_path / "b",
        title="t",
        objective="auroc",
        metrics=("auroc", "accuracy"),
        dataset="bright",
        rows=(row,),
    )
    settings = Settings(data_root=tmp_path, cache=tmp_path / "cache", device="cpu")
    (record,) = local.run(planning.plan(board, load_registry(files), settings, lambda _: None), lambda _: None)
    assert record.status == "done"
    assert record.metrics["auroc"].macro == 1.0
    assert "accuracy@val-f1" in record.metrics


def test_every_hook_is_documented_under_its_signature():
    known = {name: function for name, function in vars(hookspecs).items() if hasattr(function, "harness_spec")}
    assert set(known) == set(HOOKS)
    for name, function in known.items():
        signature = f"{name}{inspect.signature(function)}".replace("'", "")
        assert f"### {signature}\n" in PLUGINS, f"docs/plugins.md: no heading says {signature}"
        assert function.__doc__


def test_numbers_of_commands_and_hooks_are_as_many_as_there_are():
    (tutorial,) = [block for block in re.findall(r"```sh\n(.*?)```", PLUGINS, flags=re.DOTALL) if "new" in block]
    typed = tutorial.strip().splitlines()
    assert len(typed) < 8
    count = NUMBERS[len(typed)]
    said = re.findall(r"(\w+) commands, (?:a few|measured)", PLUGINS)
    assert said == [count.capitalize()] * 2, f"docs/plugins.md: the tutorial has {count} commands"
    assert f"## The {NUMBERS[len(HOOKS)]} hooks\n" in PLUGINS


FIELDS = [
    (document, field)
    for document, text in DOCUMENTS.items()
    for field in sorted(set(re.findall(r"`([a-z_]+)=[^`\s]+`", text)))
]


@pytest.mark.parametrize(("document", "field"), FIELDS)
def test_a_field_that_a_sentence_sets_is_one_of_a_component_a_table_or_a_function(registry, document, field):
    known = {one.name for kind in (*KINDS.values(), Augment, Schedule, Inputs, Data) for one in fields(kind)}
    known |= CORE_OPTIONS.keys()
    known |= {option for name in registry.offers["dataset"] for option in defaults(registry.dataset(name).load)}
    known |= {name for function in (harness.run, harness.score) for name in inspect.signature(function).parameters}
    assert field in known, f"{document} is untrue, there is no field {field}"


@pytest.mark.parametrize("command", [one for text in DOCUMENTS.values() for one in commands(text)], ids=" ".join)
def test_a_command_of_the_documents_is_one_that_the_command_line_takes(command):
    found, words = find_command(command[1:])
    of_all = {flag for parameter in found.params for flag in parameter.opts}  # such as --install-completion
    assert not hasattr(found, "commands") or set(words) <= of_all, f"there is no such verb: {' '.join(command)}"
    if words and not hasattr(found, "commands"):
        found.make_context("harness", list(words))  # raises for a flag, a value or an argument that it does not take


def find_command(words):
    """The command that words begin with, and the words that are left for it."""
    from typer.main import get_command

    from harness.cli.main import app

    found, left = get_command(app), list(words)
    while hasattr(found, "commands") and left and left[0] in found.commands:
        found = found.commands[left.pop(0)]
    return found, left


def all_flags(command) -> set[str]:
    own = {flag for parameter in command.params for flag in parameter.opts}
    return own.union(*(all_flags(inner) for inner in getattr(command, "commands", {}).values()))


OTHER_TOOLS = {"--editable", "--head", "--address", "--disable-usage-stats", "--generate", "--nthreads", "--resources"}
QUOTED = [
    (document, number, line)
    for document, text in DOCUMENTS.items()
    for number, line in enumerate(text.splitlines(), start=1)
    if "--" in line or "harness " in line
]


@cache
def find_flags_and_verbs() -> tuple[set[str], set[str]]:
    command, _ = find_command([])
    return all_flags(command), set(command.commands)


@pytest.mark.parametrize(("document", "number", "line"), QUOTED, ids=lambda value: str(value)[:60])
def test_a_sentence_of_the_documents_names_flags_and_verbs_that_exist(document, number, line):
    flags, known = find_flags_and_verbs()
    unknown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", line)) - flags - OTHER_TOOLS
    verbs = set(re.findall(r"`harness ([a-z]+)", line)) - known
    assert not unknown | verbs, f"{document}:{number} is untrue, there is no {', '.join(unknown | verbs)}: {line}"


def test_the_network_of_the_tutorial_is_what_harness_new_writes(registry):
    from harness.testing.scaffold import make_skeleton

    (text,) = make_skeleton("model", "my-net", registry).files.values()
    assert text == BLOCKS[0]


def test_the_line_for_a_plugins_own_tests_makes_tests():
    (text,) = [block for block in BLOCKS if "hookimpl" not in block]
    names: dict[str, Any] = {}
    exec(text, names)
    (mark,) = names["test_contract"].pytestmark
    assert "model tiny-cnn: learns" in {case.id for case in mark.args[1]}


def test_the_page_of_plugins_names_every_bundled_component(registry):
    for offers in registry.offers.values():
        for name in offers:
            assert f"`{name}`" in PLUGINS or name.endswith("/*"), name


def test_the_page_of_data_names_every_option_that_each_dataset_has():
    _, _, section = DOCUMENTS["docs/data.md"].partition("## Options of every dataset\n")
    named = re.findall(r"`([a-z_]+)=", section.partition("\n## ")[0])
    assert set(named) == set(CORE_OPTIONS)


def test_the_files_of_a_board_that_a_page_shows_can_be_read(tmp_path, registry):
    shown = re.findall(r"```toml\n(.*?)```", DOCUMENTS["docs/board.md"], flags=re.DOTALL)
    (board,) = [text for text in shown if "[dataset]" in text]
    (readers,) = [text for text in shown if "[[readers]]" in text]
    (outside,) = [text for text in shown if "[[test]]" in text]
    assert set(shown) == {board, readers, outside}
    for test in parse_board(board + outside, tmp_path).tests:
        find_outside(registry.offer("dataset", test.dataset), test.options, tmp_path)
    parsed = parse_board(board, tmp_path)
    assert len(parsed.rows) == 5
    assert resolve_rows(parsed, registry)
    others = [f'[[readers]]\nname = "Dr. {name}"\ndecisions = "{name}.csv"\n' for name in "BC"]  # it shows one of three
    (tmp_path / "readers.toml").write_text("".join([readers, *others]))
    panel = read_panel(tmp_path)
    assert panel is not None
    assert panel.truth == "leave-one-out"


def test_the_readme_is_read_in_two_minutes():
    assert len(DOCUMENTS["README.md"].splitlines()) <= 150

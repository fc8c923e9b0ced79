"""What `--help` says: sentences, groups, examples that work, and one spelling for each thing."""

from __future__ import annotations

import re
import shlex

import pytest
from typer.main import get_command

from harness.cli.main import app
from harness.cli.verb_help import EXAMPLES, FIRST, MOST_USED

ROOT = get_command(app)


def list_verbs(command=ROOT, name=""):
    """Each verb with its name, those of groups too."""
    yield name, command
    for inner, verb in getattr(command, "commands", {}).items():
        yield from list_verbs(verb, f"{name} {inner}".strip())


VERBS = dict(list_verbs())
OPTIONS = [
    pytest.param(option, id=f"{name} {option.name}")
    for name, verb in VERBS.items()
    for option in verb.params
    if option.name not in ("install_completion", "show_completion")
]


@pytest.mark.parametrize("option", OPTIONS)
def test_the_help_of_an_option_is_made_of_sentences(option):
    assert re.match(r"[A-Z].*\.$", option.help, flags=re.DOTALL), option.help
    assert not re.match(r"(Of|By|That|With|Likewise|Whose)\b", option.help), option.help


@pytest.mark.parametrize("name", [name for name in VERBS if name])
def test_the_help_of_a_verb_is_made_of_sentences(name):
    text = VERBS[name].help
    assert re.match(r"[A-Z].*\.$", text, flags=re.DOTALL), text


@pytest.mark.parametrize("thing", ["model", "loss", "dataset", "recipe", "metric", "label", "plugin", "option"])
def test_a_thing_is_spelled_in_one_way_by_every_verb(thing):
    flags = {flag for verb in VERBS.values() for option in verb.params for flag in option.opts}
    spellings = {f"--{thing}", f"--{thing}s", f"--{thing}es"} & flags
    assert len(spellings) == 1, spellings


def test_what_accepts_several_names_with_commas_is_plural_in_each_verb():
    for verb in ("run", "tune"):
        flags = {flag for option in VERBS[verb].params for flag in option.opts}
        assert {"--models", "--losses", "--recipes"} <= flags
    assert {"--losses", "--recipes"} <= {flag for option in VERBS["speed"].params for flag in option.opts}


@pytest.mark.parametrize("name", ["run", "tune"])
def test_the_five_options_that_are_used_most_come_first_and_all_have_a_heading(harness, name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    _, out, _ = harness(name, "--help")
    headings = re.findall(r"╭─ (.*?) ─", out)
    assert headings[:3] == ["Arguments", MOST_USED, "What to compare"]
    assert {"Data", "Machine", "Run and output"} < set(headings)
    assert "Options" not in headings
    most_used = out.partition(MOST_USED)[2].partition("What to compare")[0]
    assert re.findall(r"│ --([a-z-]+)", most_used) == [one.replace("_", "-") for one in FIRST[name]]
    assert len(EXAMPLES[name]) == 3
    assert all(what in out for what, _ in EXAMPLES[name])


def test_a_verb_of_few_options_has_one_heading_for_them(harness):
    _, out, _ = harness("status", "--help")
    assert re.findall(r"╭─ (.*?) ─", out) == ["Arguments", "Options"]


@pytest.mark.parametrize(("verb", "command"), [(v, c) for v, known in EXAMPLES.items() for _, c in known])
def test_an_example_in_the_help_is_a_command_that_the_verb_takes(verb, command):
    assert command.startswith(f"harness {verb} ")
    words = shlex.split(command)[1 + len(verb.split()) :]
    VERBS[verb].make_context("harness", words)

"""The parts of the manual that are made from the code are what the code says, and lack no description."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from typer.main import get_command

from harness.cli.main import app

ROOT = Path(__file__).parents[1]


def load_reference():
    spec = importlib.util.spec_from_file_location("reference", ROOT / ".github" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = load_reference()
VERBS = list(reference.list_verbs(get_command(app), "harness"))
KEYS = [
    pytest.param(field, id=f"{name}: {key}")
    for name, model in reference.TABLES.items()
    for key, field in model.model_fields.items()
]


@pytest.mark.parametrize("page", [reference.CLI_PAGE, reference.BOARD_PAGE], ids=lambda page: page.name)
@pytest.mark.parametrize(("width", "color"), [("40", "NO_COLOR"), ("300", "FORCE_COLOR")])
def test_a_page_is_what_the_code_says_whatever_the_terminal_is(page, width, color, monkeypatch):
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setenv(color, "1")
    text = reference.make_pages()[page]
    assert text == page.read_text(encoding="utf-8"), f"{page.name} is out of date; run make reference"


@pytest.mark.parametrize("field", KEYS)
def test_a_key_of_a_file_has_a_sentence(field):
    assert field.description
    assert field.description[0].isupper()
    assert field.description.endswith(".")


@pytest.mark.parametrize(("name", "verb"), VERBS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_verb_and_its_options_have_a_description(name, verb):
    assert verb.help
    assert not [one.name for one in verb.params if not one.hidden and not one.help]


def test_every_verb_and_every_option_stands_on_its_page():
    page = reference.CLI_PAGE.read_text(encoding="utf-8")
    for name, verb in VERBS[1:]:
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        flags = {flag for one in verb.params for flag in one.opts if flag.startswith("--") and not one.hidden}
        assert flags - {"--help"} <= set(section.replace("`", " ").replace(",", " ").split()), name


def test_a_page_without_the_place_for_a_table_is_refused():
    with pytest.raises(SystemExit, match=r"has no place for board\.toml"):
        reference.put_between("# Boards", "board.toml", "| key |")

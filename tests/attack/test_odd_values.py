"""Values that mean nothing, in options of verbs and keys of board.toml: refused in one line, and nothing is made."""

from __future__ import annotations

import functools
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from harness import registry
from harness.board import parse_board
from harness.choices import resolve_rows
from harness.cli.main import app
from harness.data.loading import find_source
from harness.errors import HarnessError

HUGE = "1" + "0" * 30
LONG = "9" * 5000
ODD = (
    "nan", "inf", "-1", "0", "", "1", "true", "[]", "{}", "['a']", "1e308", HUGE, LONG, "a\0b", "~", "folder",
    "absent/file", ",", "=",
)  # fmt: skip
NEW = "run --dataset toy --models toy-net --losses bce --recipes toy --board new --dry-run"
TUNE = "tune b --models toy-net --trials 1 --dry-run"
VERBS = (
    "run b --dry-run", TUNE, "show b::toy-net--bce--toy", "diff b b", "status b", "validate b",
    "submit b p.npz --name x", "score p.npz", "compare p.npz q.npz", "plugins show toy-net", "data stats toy",
    "data check toy", "data prepare toy", "data clean",
)  # fmt: skip
QUICK = (
    *(f"run b --dry-run --workers {value}" for value in ("-1", "nan", HUGE, LONG)),
    *(f"{NEW} --timeout {value}" for value in ("-1", "0", "nan", HUGE, LONG)),
    *(f"{NEW} --memory {value}" for value in ("1", "nan", f"{HUGE}G", f"{LONG}G")),
    *(f"{TUNE} --seeds-per-trial {value}" for value in ("0", "nan", HUGE)),
    *(f"{TUNE} --budget {value}" for value in ("inf", HUGE, LONG)),
    *(f"{TUNE} --search recipe.lr={value}" for value in ("nan..1", f"1..{LONG}", "1e-5..inf", "true,false")),
    *(f"{NEW} --set recipe.lr={value}" for value in ("nan", "inf", "[nan]", "true", "''", LONG, "2020-01-01")),
    *(f"{NEW} --set model.width={value}" for value in ("nan", "1.0", "none", "'1'", "[1]", "{a=1}")),
    *(f"{NEW} --option {value}" for value in ("count=nan", "bits=true", "bits='8'", "unreadable_limit=nan", "leak=1")),
    *(f"score p.npz --prevalence Mass={value}" for value in ("nan", "0", "true", "'0.1'", "[0.1]")),
    *(f"compare p.npz q.npz --margin {value}" for value in ("nan", "inf", "0")),
    *(f"compare p.npz q.npz --resamples {value}" for value in ("0", HUGE)),
    *(f"speed toy-net --plain-seconds {value}" for value in ("nan", "inf", "-1", "1e308")),
    "speed toy-net --size 0",
    f"speed toy-net --size {HUGE}",
)  # fmt: skip


def list_options(verb: str) -> list[str]:
    """The options of a verb that take a value."""
    command: Any = typer.main.get_command(app)
    for word in verb.split():
        command = getattr(command, "commands", {}).get(word, command)
    return [found.opts[0] for found in command.params if found.param_type_name == "option" and not found.is_flag]


def list_files(folder: Path) -> set[Path]:
    """All files and folders but those of the cache, in which what was decoded may stay."""
    return {path for path in folder.rglob("*") if "cache" not in path.relative_to(folder).parts}


@pytest.fixture
def attempt(harness, board, save_predictions, tmp_path, monkeypatch) -> Callable[..., int]:
    """Run a command line, which may not fail in another way than by one message, and then has made nothing."""
    cached = functools.cache(registry.load_registry)
    monkeypatch.setattr(registry, "load_registry", lambda files=(): cached(tuple(files)))
    for number, name in enumerate(("p.npz", "q.npz")):
        save_predictions(name, number)
    (tmp_path / "folder").mkdir()

    def run(*arguments: str) -> int:
        before = list_files(tmp_path)
        monkeypatch.setattr("sys.stdin", io.StringIO())  # nobody answers a question
        code: int
        code, _, err = harness(*arguments)
        made = list_files(tmp_path) - before
        assert code in (0, 1, 2), arguments
        assert "Traceback" not in err, arguments
        assert code != 2 or not made, (arguments, made)
        assert code != 2 or err.count("error:") + err.count("Error ─") == 1, (arguments, err)
        for path in sorted(made, reverse=True):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return code

    return run


def test_an_odd_value_is_refused_in_one_line_and_nothing_is_made(attempt):
    accepted = [line for line in QUICK if attempt(*line.split()) != 2]
    assert accepted == []


@pytest.mark.slow
@pytest.mark.parametrize("verb", [*VERBS, pytest.param(NEW, marks=pytest.mark.exhaustive)])
def test_no_odd_value_of_any_option_ends_in_a_traceback_or_half_a_folder(attempt, verb):
    for number, option in enumerate(list_options(verb)):
        for value in ODD[number % 3 :: 3]:  # each option gets a third of them, and each value a third of the options
            attempt(*verb.split(), option, value)


BOARD = {
    "title": '"t"', "about": '""', "objective": '"auroc"', "seeds": "[0]", "metrics": '["auroc"]', "controls": "false",
    "prevalence": "{ first = 0.1 }", "dataset.name": '"toy"', "dataset.count": "48", "dataset.unknown": "false",
    "dataset.bits": "8", "dataset.unreadable_limit": "0.1", "rows.models": '["toy-net"]', "rows.losses": '["focal"]',
    "rows.recipes": '["toy"]', "rows.tuned": '""', "rows.params": "{}", "rows.params.model.width": "4",
    "rows.params.loss.gamma": "2.0", "rows.params.recipe.lr": "0.1", "rows.params.recipe.epochs": "1",
    "rows.params.recipe.betas": "[0.9, 0.9]", "rows.params.recipe.augment.flip": "true",
    "rows.params.recipe.patience": '"none"', "rows.params.recipe.optimizer": '"sgd"',
}  # fmt: skip
"""Every key of board.toml, or one of each kind, with a value that it takes."""
VALUES = (
    "nan", "-inf", "-1", "0", '""', '"1"', "1", "1.0", "true", "[]", "{}", '["a"]', "1e308", HUGE, LONG, '"a\\u0000b"',
    '"~"', "2020-01-01", "[[]]", "[nan]", "{ a = nan }", "[" * 2000,
)  # fmt: skip


def write_board(**changes: str) -> str:
    """A board's text, with other values of some keys."""
    values = BOARD | changes
    rows = [f"{key.removeprefix('rows.')} = {value}" for key, value in values.items() if key.startswith("rows.")]
    rows = rows if "rows.params" in changes else [line for line in rows if not line.startswith("params = ")]
    rows = [line for line in rows if "rows.params" not in changes or not line.startswith("params.")]
    dataset = [f"{key[8:]} = {value}" for key, value in values.items() if key.startswith("dataset.")]
    head = [f"{key} = {value}" for key, value in values.items() if "." not in key]
    return "\n".join([*head, "[dataset]", *dataset, "[[rows]]", *rows])


@pytest.mark.parametrize("key", BOARD)
def test_an_odd_value_in_a_board_file_is_read_or_refused_by_name(key):
    known = registry.load_registry([Path(__file__).parents[1] / "fixtures" / "toy.py"])
    for value in VALUES:
        try:
            board = parse_board(write_board(**{key: value}), Path("b"))
            resolve_rows(board, known)
            source = find_source(known.offer("dataset", board.dataset), board.options, Path())
        except HarnessError as error:
            said = str(error)
            assert "\n" not in said
            assert key.rpartition(".")[2] in said or "is not TOML" in said or said.startswith("unknown "), (value, said)
            continue
        assert value not in ("nan", "-inf", "[nan]", "{ a = nan }", "2020-01-01", LONG), key
        assert source.options

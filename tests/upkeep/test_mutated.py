"""Damaged and foreign files are refused cleanly or worked around: no traceback, no hang, no lost result."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.results.store import read_records

VALUES: tuple[object, ...] = (
    None,
    -1,
    0,
    1e308,
    -0.5,
    10**40,
    "",
    "../../up",
    "\u0000",
    "x" * 300,
    [],
    {},
    True,
    [[]],
    "NaN",
    "é",
)
RENDERED = {"index.html", "board.csv"}


def mutate(path: Path, chance: random.Random) -> None:
    """Damage a file as disks, editors, merges and strangers do."""
    content = path.read_bytes()
    place = chance.randrange(len(content) + 1)
    length = chance.choice([1, 2, 16, 400])
    kind = chance.choice(["truncate", "flip", "cut", "repeat", "noise", "empty", "value", "value", "token", "token"])
    if kind == "value" and path.suffix == ".json" and path.parent.name == "records":
        path.write_text(json.dumps(replace_value(json.loads(content), chance)))
        return
    if kind == "token":
        tokens = [
            b"0",
            b"-1",
            b"nan",
            b"1e999",
            b"[",
            b"]",
            b"}",
            b'"',
            b",",
            b"\n",
            b"=",
            b"null",
            b"true",
            b"\xff",
            b"'",
        ]
        path.write_bytes(content[:place] + chance.choice(tokens) + content[place + length :])
        return
    damaged = {
        "truncate": content[:place],
        "flip": content[:place]
        + bytes(b ^ (1 << chance.randrange(8)) for b in content[place : place + 1])
        + content[place + 1 :],
        "cut": content[:place] + content[place + length :],
        "repeat": content[:place] + content[max(0, place - length) :],
        "noise": content[:place] + chance.randbytes(length) + content[place + length :],
        "empty": b"",
    }
    path.write_bytes(damaged.get(kind, content[:place]))


def replace_value(document, chance: random.Random):
    """A JSON document with another value, or a missing or unknown key, somewhere in it."""
    if isinstance(document, dict) and document and chance.random() < 0.9:
        name = chance.choice(sorted(document))
        if chance.random() < 0.1:
            return {key: value for key, value in document.items() if key != name}
        if chance.random() < 0.1:
            return document | {"unknown": chance.choice(VALUES)}
        return document | {name: replace_value(document[name], chance)}
    if isinstance(document, list) and document and chance.random() < 0.7:
        place = chance.randrange(len(document))
        return [*document[:place], replace_value(document[place], chance), *document[place + 1 :]]
    return chance.choice(VALUES)


VERBS = {
    "leaderboard": ("leaderboard", "b"),
    "status": ("status", "b"),
    "validate": ("validate", "b"),
    "show": ("show", "b"),
    "show row": ("show", "b::toy-net--bce--toy"),
    "rescore": ("rescore", "b"),
    "merge": ("merge", "other", "b"),
    "merge into": ("merge", "b", "other"),
    "clean": ("clean", "b", "--json"),
    "diff": ("diff", "other", "b"),
    "compare": ("compare", "b::toy-net--bce--toy", "b::tiny-cnn--bce--toy"),
    "compare predictions": ("compare", "b::toy-net--bce--toy", "scores.npz", "--dataset", "toy"),
    "plan": ("run", "b", "--dry-run"),
    "run": ("run", "b"),
    "score": ("score", "scores.csv", "--targets", "targets.csv", "--resamples", "200"),
    "submit": ("submit", "b", "--name", "x", "--about", "y", "--predictions", "scores.npz"),
}


@pytest.fixture
def folder(harness, toy_board, tmp_path) -> Path:
    """Two copies of a board with a page, a table of published numbers and an interrupted training, and predictions."""
    board = shutil.copytree(toy_board, tmp_path / "original" / "b")
    (board / "published.toml").write_text(
        '[[splits]]\nname = "s"\ntitle = "t"\ncompares = "c"\n\n'
        '[[rows]]\nname = "r"\nsplit = "s"\nsource = "x"\nauroc = 0.5\n'
    )
    claims = board / "runs" / "claims"
    claims.mkdir(exist_ok=True)
    (claims / "toy-net--bce--toy--s0.json").write_text('token\n{"machine": "m", "epoch": 1, "epochs": 2}\n')
    run = next(path for path in (board / "runs").iterdir() if (path / "weights.safetensors").exists())
    shutil.copy(run / "weights.safetensors", run / "resume.safetensors")
    shutil.copytree(board, tmp_path / "original" / "other")
    predictions = next((board / "runs").glob("*/predictions-test.npz"))
    shutil.copy(predictions, tmp_path / "original" / "scores.npz")
    with np.load(predictions) as stored:
        lines = [f"{image},{a},{b},{c}" for image, (a, b, c) in zip(stored["image"], stored["targets"], strict=True)]
    for name in ("scores.csv", "targets.csv"):
        (tmp_path / "original" / name).write_text("\n".join(["image,first,second,third", *lines, ""]))
    original: Path = tmp_path / "original"
    return original


def results(board: Path, damaged: Path) -> dict[str, object]:
    """The numbers of the records that were not damaged."""
    found = read_records(board).records
    return {path: r.metrics for r in found if (path := r.combo.name) != damaged.stem}


def examine(harness, folder: Path, chance: random.Random) -> None:
    """Damage one file, let one verb work on it, and see that the others are as they were."""
    here = folder.parent
    for name in ("b", "other"):
        shutil.rmtree(here / name, ignore_errors=True)
    shutil.copytree(folder, here, dirs_exist_ok=True)
    verb = chance.choice(sorted(VERBS))
    files = [path for path in sorted((here / "b").rglob("*")) if path.is_file() and path.name not in RENDERED]
    if verb in ("score", "submit", "compare predictions"):
        files = sorted(here.glob("*.csv")) if verb == "score" else [here / "scores.npz"]
    for path in (here / "b" / "runs" / "claims").iterdir():
        os.utime(path, (time.time() - 100,) * 2)
    damaged = chance.choice(files)
    mutate(damaged, chance)
    content, numbers = damaged.read_bytes(), results(here / "b", damaged)
    before = {path: path.read_bytes() for path in files if path != damaged and "claims" not in path.parts}
    code, _, err = harness(*VERBS[verb])
    assert code in (0, 1, 2), (verb, damaged, err)
    assert sum(line.startswith("error:") for line in err.splitlines()) == (code == 2), (verb, damaged, err)
    assert "Traceback" not in err
    if verb in ("rescore", "merge into", "run", "submit"):
        now = results(here / "b", damaged)
        assert all(now.get(name) == kept for name, kept in numbers.items()), (verb, damaged)
        return
    assert all(path.read_bytes() == kept for path, kept in before.items()), (verb, damaged)
    assert damaged.read_bytes() == content, (verb, damaged)


PARTS = 4
"""For as many processes of pytest-xdist."""


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_a_thousand_mutated_files_lose_nothing(harness, folder, part):
    @settings(max_examples=1000 // PARTS, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.integers(0, 2**32))
    def check(number: int) -> None:
        examine(harness, folder, random.Random(PARTS * number + part))  # parts are given the same numbers

    check()


@pytest.mark.slow
def test_a_few_mutated_files_lose_nothing(harness, folder):
    for seed in range(12):
        examine(harness, folder, random.Random(seed))

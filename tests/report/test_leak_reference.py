"""Which board may be the reference of a leaking one, and that a terminal says what is not ranked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.board import read_board
from harness.report.leak import LeakSummary, measure_leak
from harness.report.summary import read_results

BOARD = """
title = "{half}"
metrics = ["auroc"]
{reference}
[dataset]
name = "phantom"
train = 80
val = 30
test = {test}
size = 16
{image_level}

[[rows]]
models = ["toy-net"]
losses = ["bce"]
recipes = ["toy"]
"""


@pytest.fixture
def write(harness, tmp_path):
    """Writes a board of one row, which is trained for a moment where it is to be measured."""

    def board(name: str, half: str, *, reference: str = "", test: int = 80, measured: bool = True) -> Path:
        folder: Path = tmp_path / name
        folder.mkdir()
        named = f'reference = "{reference}"' if reference else ""
        level = f'image_level = "{half}"' if half else ""
        text = BOARD.format(half=half or "plain", reference=named, image_level=level, test=test)
        (folder / "board.toml").write_text(text)
        if measured:
            code, _, said = harness("run", name)
            assert code == 0, said
        return folder

    return board


def measure(folder: Path, reference: str) -> LeakSummary:
    """The leak of a board beside the reference of that name."""
    text = (folder / "board.toml").read_text().replace('reference = "../a"', f'reference = "{reference}"')
    (folder / "board.toml").write_text(text)
    found = measure_leak(read_results(read_board(folder)).summary)
    assert found is not None
    (folder / "board.toml").write_text(text.replace(f'reference = "{reference}"', 'reference = "../a"'))
    return found


@pytest.mark.slow
def test_only_the_other_half_on_the_same_test_is_a_reference(write, tmp_path):
    leaking = write("leaking", "leaking", reference="../a")
    for name, half, changes, says in (
        ("right", "reference", {}, ""),
        (
            "plain",
            "",
            {"measured": False},
            'The board "plain" is no reference: it needs image_level = "reference" under [dataset]',
        ),
        ("smaller", "reference", {"test": 70}, 'The reference "reference" has another test: its [dataset] must be'),
        ("other", "reference", {"measured": False}, "The reference has no result of toy-net + bce"),
    ):
        write(name, half, **changes)
        found = measure(leaking, f"../{name}")
        assert bool(found.rows) == (not says)
        assert [remark.startswith(says) for remark in found.remarks] == [True] * bool(says), found.remarks
    for itself in (".", "../leaking"):
        assert measure(leaking, itself).remarks[0].startswith('The board "leaking" is no reference')
    assert measure(leaking, "../gone").remarks == ('The reference "../gone" is no board: it holds no board.toml',)
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "board.toml").write_text("title = 3 = 4")
    (remark,) = measure(leaking, "../gone").remarks
    assert remark.startswith('The reference "../gone" cannot be read: ')
    assert str(tmp_path) not in remark
    backwards = measure(write("backwards", "reference", reference="../a", measured=False), "../leaking")
    assert not backwards.rows
    assert 'only a board with image_level = "leaking" has one' in backwards.remarks[0]


def test_a_terminal_says_that_a_leaking_board_is_not_ranked_and_counts_what_it_measured(write, harness):
    write("leaking", "leaking")
    write("reference", "reference", measured=False)
    said = "not ranked, as the splits leak: "
    assert said in " ".join(harness("leaderboard", "leaking")[1].split())
    assert said not in harness("leaderboard", "reference")[1]
    assert "patients are in more than one split" in json.loads(harness("leaderboard", "leaking", "--json")[1])["leak"]
    over_all = harness("leaderboard", ".")[1]
    assert f"leaking: 1 of 1 rows has a result, {said}" in over_all
    assert "reference: 0 of 1 rows have a result\n" in over_all

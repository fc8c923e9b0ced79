"""What rows are called: short, in the field's words, no two alike."""

from __future__ import annotations

import pytest

from harness.board import board_text, row_text, save_board
from harness.report.summary import summarize


def read_titles(build, *texts: str) -> list[str]:
    board = save_board(build.folder, board_text(build.board(), list(texts)))
    return sorted(row.title for row in summarize(board, []).rows)


@pytest.mark.parametrize(
    ("texts", "titles"),
    [
        ([(["a", "b"], ["bce"], ["demo"], {})], ["a + bce", "b + bce"]),
        ([(["a"], ["bce"], ["demo", "long"], {})], ["a + bce, demo recipe", "a + bce, long recipe"]),
        (
            [
                (["a"], ["bce"], ["demo"], {"recipe": {"lr": 0.01}}),
                (["a"], ["bce"], ["demo"], {"model": {"width": 32}}),
            ],
            ["a + bce, lr 0.01", "a + bce, width 32"],
        ),
        (  # what all share is not repeated
            [(["a", "b"], ["bce"], ["demo"], {"recipe": {"lr": 0.01, "schedule": {"kind": "cosine"}}})],
            ["a + bce", "b + bce"],
        ),
    ],
)
def test_a_row_is_called_by_what_tells_it_from_others(build, texts, titles):
    assert read_titles(build, *(row_text(*text) for text in texts)) == titles


def test_a_title_of_the_boards_own_is_taken_as_it_is_and_its_double_gets_the_whole_name(build):
    own = row_text(["a"], ["bce"], ["demo"], {}, title="b + bce")
    assert read_titles(build, own, row_text(["b"], ["bce"], ["demo"], {})) == ["a--bce--demo", "b--bce--demo"]


def test_a_control_is_called_a_control(build):
    record = build.record("a")
    combo = record.combo.model_copy(update={"control": "shuffled", "row": "control-shuffled"})
    records = [record, record.model_copy(update={"combo": combo})]
    titles = {row.name: row.title for row in summarize(build.board("a", seeds=(0,)), records).rows}
    assert titles == {"a--bce--demo": "a + bce", "control-shuffled": "control: shuffled"}

"""What `harness run` makes of its arguments: a board, written only when it is known to mean something."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.board import read_board
from harness.definition import BoardRequest, define
from harness.errors import UnknownNameError, UsageError


def parts(folder: Path, **changes) -> BoardRequest:
    values = {
        "dataset": "phantom",
        "models": ("a", "b"),
        "losses": ("bce",),
        "recipes": ("demo",),
        "seeds": (0, 1),
        **changes,
    }
    return BoardRequest(folder=folder, **values)


def test_a_new_board_is_written_from_its_parts(tmp_path):
    definition = define(parts(tmp_path / "new", options={"size": 32}, params={"recipe": {"epochs": 1}}))
    assert not (tmp_path / "new").exists()
    definition.write()
    board = read_board(tmp_path / "new")
    assert (board.dataset, board.options, board.seeds) == ("phantom", {"size": 32}, (0, 1))
    assert [row.model for row in board.rows] == ["a", "b"]
    assert all(row.params == {"recipe": {"epochs": 1}} for row in board.rows)


def test_the_same_request_again_changes_nothing(tmp_path):
    define(parts(tmp_path)).write()
    assert define(parts(tmp_path)).text is None


def test_an_existing_board_keeps_its_text_and_gains_rows(tmp_path):
    define(parts(tmp_path)).write()
    path = tmp_path / "board.toml"
    path.write_text("# mine\n" + path.read_text())
    define(parts(tmp_path, models=("b", "c"))).write()
    assert path.read_text().startswith("# mine\n")
    assert [row.model for row in read_board(tmp_path).rows] == ["a", "b", "c"]


def test_set_on_a_board_adds_its_rows_with_the_parameter(tmp_path):
    define(parts(tmp_path)).write()
    define(BoardRequest(board=str(tmp_path), params={"recipe": {"epochs": 1}})).write()
    rows = read_board(tmp_path).rows
    assert [row.params for row in rows] == [{}, {}, {"recipe": {"epochs": 1}}, {"recipe": {"epochs": 1}}]


@pytest.mark.parametrize(
    "changes",
    [
        {"params": {"recipe": {"patience": None, "augment": {"flip": True}}}},
        {"params": {"model": {"width": None, "shares": (1, None)}}},
        {"options": {"bits": None}},
    ],
)
def test_what_is_set_to_none_is_the_same_when_it_is_written_and_read(tmp_path, changes):
    define(parts(tmp_path)).write()
    (tmp_path / "board.toml").write_text(
        (tmp_path / "board.toml").read_text().replace("[[rows]]", "bits = 'none'\n[[rows]]", 1)
    )
    once = define(BoardRequest(board=str(tmp_path), **changes))
    once.write()
    assert read_board(tmp_path).rows == once.board.rows
    again = define(BoardRequest(board=str(tmp_path), **changes))
    assert (again.text, again.added) == (None, ())


MIXED = {"models": ("tiny-cnn",), "losses": ("bce", "focal", "weighted-bce")}


def test_a_losss_parameter_goes_to_the_rows_that_have_it_and_the_others_are_named(tmp_path, registry):
    weights = {"Mass": 2.0, "Pleural Other": 3}
    request = parts(tmp_path, **MIXED, params={"loss": {"weights": weights}, "recipe": {"augment.flip": False}})
    definition = define(request, registry)
    definition.write()
    flip = {"recipe": {"augment.flip": False}}
    rows = {row.loss: row.params for row in read_board(tmp_path).rows}
    assert rows == {"bce": flip, "focal": flip, "weighted-bce": {"loss": {"weights": weights}} | flip}
    assert definition.remarks == ("--set loss.weights does not apply to rows of bce and focal: no such parameter",)
    assert define(request, registry).text is None


def test_a_parameter_set_on_a_board_adds_only_rows_that_have_it(tmp_path, registry):
    define(parts(tmp_path, **MIXED)).write()
    define(BoardRequest(board=str(tmp_path), params={"loss": {"gamma": 1.0}}), registry).write()
    rows = [(row.loss, row.params) for row in read_board(tmp_path).rows]
    assert rows == [("bce", {}), ("focal", {}), ("weighted-bce", {}), ("focal", {"loss": {"gamma": 1.0}})]


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"loss": {"gama": 1.0}}, "parameter of loss 'bce' or 'focal' or 'weighted-bce' 'gama': did you mean 'gamma'"),
        ({"model": {"witdh": 3}}, "parameter of model 'tiny-cnn' 'witdh'.*'width'"),
    ],
)
def test_a_parameter_that_no_row_has_is_refused_with_the_nearest(tmp_path, registry, params, says):
    with pytest.raises(UnknownNameError, match=says):
        define(parts(tmp_path, **MIXED, params=params), registry)


def test_the_bundled_board_is_copied_with_its_comments_and_published_rows(tmp_path):
    define(BoardRequest(board="nih-dacnet", folder=tmp_path)).write()
    assert "# DACNet" in (tmp_path / "board.toml").read_text()
    assert (tmp_path / "published.toml").is_file()


def test_a_copy_takes_options_and_parameters(tmp_path):
    define(
        BoardRequest(
            board="nih-dacnet", folder=tmp_path, options={"allow_missing": True}, params={"recipe": {"epochs": 1}}
        )
    ).write()
    board = read_board(tmp_path)
    assert board.options == {"split": "dacnet", "allow_missing": True}
    assert all(row.params == {"recipe": {"epochs": 1}} for row in board.rows)


def test_rows_that_parameters_make_alike_become_one_of_both_titles_and_that_is_said(tmp_path):
    definition = define(BoardRequest(board="nih-paper", folder=tmp_path, params={"recipe": {"epochs": 1}}))
    definition.write()
    titles = [row.title for row in read_board(tmp_path).rows]
    assert {"DACNet / focal, 12 epochs", "pignet / auc_chexnet", "AdamW"} <= set(titles)
    alike = [remark for remark in definition.remarks if "are one row" in remark]
    assert len(alike) == 2
    assert alike[0] == next(
        f"with these parameters 'DACNet' and 'focal, 12 epochs' are one row, {row.name}"
        for row in definition.board.rows
        if row.title.startswith("DACNet")
    )


def test_a_row_that_is_added_with_other_parameters_has_not_the_title_of_the_one_it_is_made_of(tmp_path):
    define(BoardRequest(board="nih-paper", folder=tmp_path)).write()
    before = read_board(tmp_path).rows
    define(BoardRequest(board=str(tmp_path), params={"recipe": {"epochs": 1}})).write()
    rows = read_board(tmp_path).rows
    assert rows[: len(before)] == before
    assert [(row.title, row.about) for row in rows[len(before) :]] == [("", "")] * (len(before) - 2)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dataset": "csv"}, "is of 'phantom', not 'csv'"),
        ({"options": {"size": 32}}, "has the dataset options {}, not {'size': 32}"),
        ({"seeds": (0, 5)}, r"has the seeds \[0, 1\], not \[5\]"),
    ],
)
def test_a_request_that_contradicts_the_board_is_refused(tmp_path, changes, says):
    define(parts(tmp_path)).write()
    with pytest.raises(UsageError, match=says):
        define(parts(tmp_path, **changes))


def test_a_new_board_has_the_metrics_that_are_asked_for_and_the_first_ranks(tmp_path):
    define(parts(tmp_path, metrics=("auprc", "ece"))).write()
    board = read_board(tmp_path)
    assert (board.objective, board.metrics) == ("auprc", ("auprc", "ece"))


def test_a_copy_takes_metrics_and_keeps_what_ranks(tmp_path):
    define(BoardRequest(board="nih-dacnet", folder=tmp_path, metrics=("ece", "auroc"))).write()
    board = read_board(tmp_path)
    assert (board.objective, board.metrics) == ("auroc", ("auroc", "ece"))


@pytest.mark.parametrize("named", [True, False])
def test_metrics_that_an_existing_board_lacks_are_asked_for_in_its_file(tmp_path, named):
    define(parts(tmp_path)).write()
    ask = (lambda *names: BoardRequest(board=str(tmp_path), metrics=names)) if named else None
    ask = ask or (lambda *names: parts(tmp_path, metrics=names))
    assert define(ask("f1", "ece")).text is None
    with pytest.raises(
        UsageError, match=r"does not ask for sensitivity; add them to its `metrics` in .*board\.toml and run"
    ):
        define(ask("f1", "sensitivity"))


def test_half_a_request_says_what_is_missing(tmp_path):
    with pytest.raises(UsageError, match="or also --losses, --recipes"):
        define(BoardRequest(folder=tmp_path, dataset="phantom", models=("a",)))
    with pytest.raises(UsageError, match="not both"):
        define(BoardRequest(board="demo", dataset="phantom"))


def test_rows_that_others_wrote_since_the_board_was_read_stay(tmp_path):
    define(parts(tmp_path)).write()
    slow = define(parts(tmp_path, models=("slow",)))
    define(parts(tmp_path, models=("quick",))).write()
    path = tmp_path / "board.toml"
    path.write_text(path.read_text().replace('models = ["a", "b"]', 'models = ["a"]') + "\n# by hand\n")
    slow.write()
    assert [row.model for row in read_board(tmp_path).rows] == ["a", "quick", "slow"]
    assert "# by hand" in path.read_text()


def test_two_that_make_a_board_at_the_same_time_share_it_unless_their_data_differ(tmp_path):
    first, second = define(parts(tmp_path)), define(parts(tmp_path, models=("c",)))
    other = define(parts(tmp_path, options={"size": 32}))
    first.write()
    second.write()
    assert [row.model for row in read_board(tmp_path).rows] == ["a", "b", "c"]
    with pytest.raises(UsageError, match="has the dataset options"):
        other.write()


def test_many_that_add_rows_at_once_lose_none(tmp_path):
    define(parts(tmp_path)).write()
    definitions = [define(parts(tmp_path, models=(f"m{number}",))) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: one.write(), definitions))
    assert {row.model for row in read_board(tmp_path).rows} == {"a", "b", *(f"m{number}" for number in range(8))}


@pytest.mark.parametrize("name", ["board.toml", "published.toml"])
def test_a_file_of_a_board_that_is_no_utf8_is_named(tmp_path, name):
    define(parts(tmp_path / "b")).write()
    (tmp_path / "b" / name).write_bytes(b'title = "t"\nse\xe5ds = [0]\n')
    with pytest.raises(UsageError, match=rf"b/{name} cannot be read: line 2 is no UTF-8: byte 0xE5; save"):
        define(BoardRequest(board=str(tmp_path / "b"), folder=tmp_path / "new"))


def test_a_board_file_that_is_a_link_stays_one(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    define(parts(tmp_path / "board")).write()
    path = tmp_path / "board" / "board.toml"
    path.rename(tmp_path / "elsewhere" / "mine.toml")
    path.symlink_to("../elsewhere/mine.toml")
    define(parts(tmp_path / "board", models=("c",))).write()
    assert path.is_symlink()
    assert '"c"' in (tmp_path / "elsewhere" / "mine.toml").read_text()

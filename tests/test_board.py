"""board.toml: what it means, and what is said where it means nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.board import (
    Board,
    Row,
    board_text,
    bundled_boards,
    bundled_text,
    find_board,
    parse_board,
    read_board,
    row_text,
)
from harness.errors import UnknownNameError, UsageError
from harness.report.published import Published, read_published

GOOD = """
title = "A board"
seeds = [0, 1]
[dataset]
name = "phantom"
size = 32
[[rows]]
models = ["a", "timm/b"]
losses = ["bce"]
recipes = ["r"]
[[rows]]
models = ["a"]
losses = ["bce"]
recipes = ["r"]
params = { recipe = { lr = 0.1, augment = { flip = true } } }
"""


def test_rows_are_the_product_of_the_lists_and_combos_come_seed_by_seed():
    board = parse_board(GOOD, Path("x"))
    assert [row.name for row in board.rows][:2] == ["a--bce--r", "timm_b--bce--r"]
    assert [(combo.row.name, combo.seed) for combo in board.combos()][:3] == [
        ("a--bce--r", 0),
        ("timm_b--bce--r", 0),
        (board.rows[2].name, 0),
    ]
    assert len(board.combos()) == 6
    assert board.options == {"size": 32}


def test_a_row_with_parameters_is_named_by_six_hex_digits_of_them_whatever_their_order():
    row = parse_board(GOOD, Path("x")).rows[2]
    same = Row(model="a", loss="bce", recipe="r", params={"recipe": {"augment.flip": True, "lr": 0.1}})
    assert row.params == {"recipe": {"lr": 0.1, "augment.flip": True}}
    assert row.name == same.name
    assert len(row.name.rpartition("--")[2]) == 6
    assert row.name != Row(model="a", loss="bce", recipe="r", params={"recipe": {"lr": 0.2}}).name


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("title", "titel"), "unknown key 'titel': did you mean 'title'"),
        (('models = ["a", ', 'modles = ["a", '), "unknown key 'rows.0.modles': did you mean 'models'"),
        (("recipe = {", "recpie = {"), "unknown key 'rows.1.params.recpie': did you mean 'recipe'"),
        (('title = "A board"', ""), "the key 'title' is missing"),
        (("seeds = [0, 1]", "seeds = [0, 0]"), "seeds: seeds must be distinct"),
        (("seeds = [0, 1]", "seeds = 3"), "seeds: input should be a valid list"),
        (("seeds = [0, 1]", 'objective = "f1@oracle"'), "an oracle metric is fitted on the test split"),
        (("seeds = [0, 1]", "seeds = [0,"), "is not TOML"),
    ],
)
def test_a_bad_board_is_refused_with_file_and_key(change, says):
    text = GOOD.replace(*change)
    assert text != GOOD
    with pytest.raises(UsageError) as caught:
        parse_board(text, Path("folder"))
    assert says.lower() in str(caught.value).lower()
    assert "board.toml" in str(caught.value)


def test_a_board_with_a_prevalence_measures_the_rates_that_predictive_values_are_made_of():
    text = 'prevalence = { Edema = 0.05, "Pleural Thickening" = 0.01 }\n' + GOOD
    board = parse_board(text, Path("x"))
    assert board.prevalence == {"Edema": 0.05, "Pleural Thickening": 0.01}
    assert board.metrics[-2:] == ("sensitivity", "specificity")
    assert (
        parse_board(board_text(board, [row_text(["a"], ["bce"], ["r"], {})]), Path("x")).prevalence == board.prevalence
    )
    assert parse_board(GOOD, Path("x")).prevalence == {}
    with pytest.raises(UsageError, match="prevalence: a prevalence lies between 0 and 1"):
        parse_board(text.replace("0.05", "5"), Path("x"))


def test_a_toml_mistake_is_named_with_its_line():
    with pytest.raises(UsageError, match="line 3"):
        parse_board("title = 'x'\n\nseeds = = 3\n", Path("x"))


def test_every_bundled_board_parses_and_names_components_that_exist(registry):
    assert set(bundled_boards()) == {"demo", "nih-70-10-20", "nih-dacnet", "nih-official", "nih-paper"}
    for name in bundled_boards():
        board = parse_board(bundled_text(name) or "", Path(name))
        registry.dataset(board.dataset)
        for row in board.rows:
            registry.model(row.model), registry.loss(row.loss), registry.recipe(row.recipe)


def test_the_demo_has_three_models_two_losses_and_two_seeds():
    board = parse_board(bundled_text("demo") or "", Path("demo"))
    assert len({row.model for row in board.rows}) >= 3
    assert "chexnet" in {row.model for row in board.rows}
    assert len({row.loss for row in board.rows}) >= 2
    assert len(board.seeds) >= 2


def test_a_board_is_a_folder_or_a_bundled_name(tmp_path):
    (tmp_path / "board.toml").write_text(GOOD)
    assert find_board(str(tmp_path)) == tmp_path
    assert find_board("demo") == "demo"
    with pytest.raises(UnknownNameError, match=r"did you mean 'demo'"):
        find_board("dmeo")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"holds no board\.toml"):
        find_board(str(tmp_path / "empty"))
    with pytest.raises(UsageError, match=r"holds no board\.toml"):
        read_board(tmp_path / "empty")


names = st.text(
    st.characters(codec="utf-8", exclude_characters='"\\', exclude_categories=("Cc", "Cs")), min_size=1, max_size=8
)
values = st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False) | names


models_of_a_board = st.lists(st.from_regex(r"[a-z0-9.-]{1,8}", fullmatch=True), min_size=1, max_size=3, unique=True)


def test_two_rows_of_one_name_are_refused():
    with pytest.raises(UsageError, match="two different rows would be named 'timm_b--bce--r'"):
        parse_board(GOOD.replace('["a", "timm/b"]', '["timm_b", "timm/b"]'), Path("x"))


TITLED = """[[rows]]
name = "DACNet"
about = "As it was published."
models = ["b"]
losses = ["bce"]
recipes = ["r"]
"""


def test_a_row_may_have_a_title_and_words_which_are_no_part_of_its_name():
    board = parse_board(GOOD + TITLED, Path("x"))
    row = board.rows[-1]
    assert (row.name, row.title, row.about) == ("b--bce--r", "DACNet", "As it was published.")
    assert row == Row(model="b", loss="bce", recipe="r")
    assert [other.title for other in board.rows[:-1]] == [""] * 3
    assert parse_board(GOOD + TITLED + TITLED, Path("x")).rows == board.rows
    words = {"title": row.title, "about": 'what "is" said\nof it'}
    read = parse_board(board_text(board, [row_text(["b"], ["bce"], ["r"], {}, **words)]), Path("x")).rows[0]
    assert {"title": read.title, "about": read.about} == words


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TITLED.replace('["b"]', '["b", "c"]'), "a name is for one row, and this table asks for 2"),
        (TITLED.replace('["b"]', '["a"]'), r"two \[\[rows\]\] ask for a--bce--r with another name or about"),
        (TITLED + TITLED.replace('["b"]', '["c"]'), "two rows are called 'DACNet'; give each a name of its own"),
        (TITLED.replace("name =", "nmae ="), "unknown key 'rows.2.nmae': did you mean 'name'"),
        (TITLED.replace('"DACNet"', "7"), "rows.2.name: Input should be a valid string"),
    ],
)
def test_a_title_that_is_not_of_one_row_is_refused(text, says):
    with pytest.raises(UsageError, match=says):
        parse_board(GOOD + text, Path("x"))


def test_a_control_row_has_not_the_title_of_the_row_that_it_is_made_of():
    board = parse_board("controls = true\n" + GOOD.partition("[[rows]]")[0] + TITLED, Path("x"))
    assert [row.title for row in board.rows] == ["DACNet", "", ""]


@given(models_of_a_board, st.dictionaries(names, values, max_size=4), st.text(max_size=20))
def test_a_written_board_reads_back_the_same(models, options, title):
    options = {name: value for name, value in options.items() if name != "name"}
    params = {"recipe": {name: value for name, value in options.items() if "." not in name}} if options else {}
    params = {section: found for section, found in params.items() if found}
    board = Board(
        folder=Path("x"),
        title=title,
        objective="auroc",
        seeds=(3, 1),
        metrics=("auroc", "f1"),
        dataset="phantom",
        options=options,
        rows=(),
    )
    read = parse_board(board_text(board, [row_text(models, ["bce"], ["r"], params)]), Path("x"))
    assert (read.title, read.seeds, read.metrics, read.options) == (title, (3, 1), ("auroc", "f1"), options)
    assert {row.model for row in read.rows} == set(models)
    assert all(row.params == params for row in read.rows)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_a_board_file_is_read_as_windows_writes_it(tmp_path, encoding):
    (tmp_path / "board.toml").write_bytes(GOOD.replace("\n", "\r\n").encode(encoding))
    assert read_board(tmp_path).rows == parse_board(GOOD, tmp_path).rows
    (tmp_path / "published.toml").write_bytes("# nothing\r\n".encode(encoding))
    assert read_published(tmp_path) == Published()


OUTSIDE = """
title = "A board"
[dataset]
name = "phantom"
[[test]]
dataset = "csv"
name = "Another hospital"
splits = ["val", "test"]
file = "labels.csv"
[[test]]
dataset = "phantom"
"""


def test_outside_tests_are_written_as_they_are_read():
    board = parse_board(OUTSIDE, Path("x"))
    assert [(test.dataset, test.splits, test.title) for test in board.tests] == [
        ("csv", ("val", "test"), "Another hospital"),
        ("phantom", ("test",), ""),
    ]
    assert board.tests[1].key == "phantom"
    assert board.tests[0].key.startswith("csv--")
    assert parse_board(board_text(board, []), Path("x")) == board


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('dataset = "csv"\nsplits = ["tst"]', "there is no 'tst': did you mean 'test'"),
        ('dataset = "phantom"', "two .* tables mean 'phantom'; keep one of them"),
        ('dataset = "openi"\nname = "phantom"', "two .* tables mean 'phantom'; give each a name of its own"),
    ],
)
def test_an_outside_test_that_means_nothing_is_refused(table, message):
    with pytest.raises(UsageError, match=message):
        parse_board(f"{OUTSIDE}[[test]]\n{table}", Path("x"))

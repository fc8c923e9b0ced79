"""Orders: what a machine elsewhere refuses, and how it says so."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from harness.board import Board, Row, board_text, row_text, save_board
from harness.errors import UsageError
from harness.execution import local, order, planning
from harness.execution.engines import Destination
from harness.execution.order import here, make_token, open_order, read_versions, ship_plugins
from harness.execution.parcels import pack_board, unpack_board
from harness.execution.planning import Settings
from harness.execution.remote import describe_combos, run_share
from harness.execution.submitter import Elsewhere, make_order
from harness.registry import load_registry

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture
def board(tmp_path) -> Board:
    row = Row(model="toy-net", loss="bce", recipe="toy")
    made = Board(
        folder=tmp_path / "board", title="t", objective="auroc", metrics=("auroc",), dataset="toy", rows=(row,)
    )
    save_board(made.folder, board_text(made, [row_text([row.model], [row.loss], [row.recipe], {})]))
    return made


@pytest.fixture
def elsewhere(tmp_path) -> Elsewhere:
    files = (FIXTURES / "toy.py", FIXTURES / "afar.py")
    registry = load_registry(files)
    settings = Settings(data_root=tmp_path, cache=tmp_path / "cache", device="cpu", dry=True)
    to = Destination(executor=registry.executor("afar"))
    return Elsewhere(to=to, settings=settings, registry=registry, plugins=files, device="cpu", cache=tmp_path / "cache")


@pytest.fixture
def write(board, elsewhere):
    """Write the order of a board's run, with changes to it and to its task."""

    def make(task: dict[str, object] | None = None, **changes: Any) -> str:
        planned = planning.plan(board, elsewhere.registry, elsewhere.settings, lambda event: None)
        asked = {
            "combos": describe_combos(planned), "only": None, "seeds": None, "force": False, "retries": 0,
            "timeout": None, "memory": None,
        }  # fmt: skip
        order = make_order(board, elsewhere, asked | (task or {}))
        return dataclasses.replace(order, **changes).write("run-1")

    return make


def refusal(text: str) -> str:
    told = run_share(text)
    assert (told["outcome"], told["advanced"]) == ("refused", 0)
    return str(told["message"])


def test_an_order_opens_with_the_plugins_the_folders_and_the_device_that_it_names(write, board, tmp_path):
    with open_order(write()) as opened:
        assert opened.order.job == "run-1"
        assert opened.folder == board.folder
        assert opened.registry.model("toy-net")
        assert opened.settings.cache == tmp_path / "cache"
        assert opened.settings.device == "cpu"
        assert opened.plugins == (FIXTURES / "toy.py", FIXTURES / "afar.py")  # they are there, and the same


@pytest.mark.parametrize("name", ["harness", "torch", "training engine", "Python"])
def test_another_version_is_refused_by_name_whatever_else_the_order_says(name):
    text = json.dumps({"versions": read_versions() | {name: "99.0"}, "a field of tomorrow": 1})
    assert f"has {name} " in refusal(text)
    assert "99.0; install the same version on both" in refusal(text)


def test_the_build_of_torch_is_no_other_version(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.9.9+cu130")
    assert read_versions()["torch"] == "2.9.9"


def test_a_folder_that_is_not_the_submitters_is_refused(write, board):
    text = write()
    (board.folder / "runs" / "folder.token").write_text("another")
    assert "the machines do not share it; --on-option shared=false" in refusal(text)
    (board.folder / "runs" / "folder.token").unlink()
    assert "the machines do not share it" in refusal(text)


def test_a_token_stays_what_it_is(board):
    assert make_token(board.folder) == make_token(board.folder)


def test_an_installed_plugin_that_is_missing_there_is_named(write):
    assert "the plugin acme.nets is not installed on" in refusal(write(installed={"acme.nets": "code"}))


def test_an_installed_plugin_of_another_version_is_named(write):
    text = write(installed={"harness.plugins.tiny_cnn": "other code"})
    assert "the plugin harness.plugins.tiny_cnn on" in refusal(text)
    assert "another version" in refusal(text)


def test_a_plugin_that_does_not_import_there_is_named_with_its_error(write, tmp_path):
    (tmp_path / "mine.py").write_text("import no_such_library\n")
    text = write(plugins=ship_plugins([tmp_path / "mine.py"]))
    (tmp_path / "mine.py").unlink()
    assert "the plugin mine.py does not import: No module named 'no_such_library'" in refusal(text)


def test_a_component_that_is_missing_there_is_named(write):
    assert "unknown model 'toy-net'" in refusal(write(plugins=()))


def test_a_machine_with_other_data_is_refused(write, board, elsewhere):
    (item,) = planning.plan(board, elsewhere.registry, elsewhere.settings, lambda event: None)
    (name, asked), *_ = describe_combos([item]).items()
    other = refusal(
        write({"combos": {name: asked | {"key": "another", "parts": asked["parts"] | {"fingerprint": ""}}}})
    )
    assert f"{name} would be another result on" in other
    assert "its data are not those of the submitter" in other


@pytest.fixture
def two_rows(board, tmp_path) -> Board:
    """The board with another row, whose network begins with a file's weights."""
    (tmp_path / "first.safetensors").write_bytes(b"")
    weights = {"recipe": {"weights": str(tmp_path / "first.safetensors")}}
    rows = (*board.rows, Row(model="tiny-cnn", loss="bce", recipe="toy", params=weights))
    made: Board = dataclasses.replace(board, rows=rows)
    texts = [row_text([row.model], [row.loss], [row.recipe], row.params) for row in rows]
    save_board(made.folder, board_text(made, texts))
    return made


def run_with_another(change, board, elsewhere):
    """Run the board of two rows where something has changed since the order was written."""
    planned = planning.plan(board, elsewhere.registry, elsewhere.settings, lambda event: None)
    task = {
        "combos": describe_combos(planned), "only": None, "seeds": None, "force": False, "retries": 0, "timeout": None,
        "memory": None,
    }  # fmt: skip
    text = make_order(board, elsewhere, task).write("run-1")
    change()
    told = run_share(text)
    assert (told["outcome"], told["combos"]) == ("done", ["toy-net--bce--toy--s0"])
    return told["differing"]


def test_a_combo_that_would_be_another_one_there_is_told_and_the_others_run(two_rows, elsewhere, tmp_path, capfd):
    def change() -> None:
        (tmp_path / "first.safetensors").write_bytes(b"other bytes")

    differing = run_with_another(change, two_rows, elsewhere)
    assert differing == {
        f"{two_rows.rows[1].name}--s0": {
            "kind": "data",
            "message": "on another machine it would be another result: the recipe, or the file of its initial weights, "
            "is not the submitter's",
            "where": "before it began",
        }
    }
    assert (
        f"{two_rows.rows[1].name}--s0 is left out: it would be another result on {here()}: the"
        in capfd.readouterr().err
    )


def test_a_combo_whose_weights_are_missing_there_is_told_by_their_name(two_rows, elsewhere, tmp_path):
    (told,) = run_with_another((tmp_path / "first.safetensors").unlink, two_rows, elsewhere).values()
    assert told["kind"] == "data"
    assert "it would be another result: recipe.weights is " in told["message"]
    assert str(tmp_path) not in told["message"]


def test_a_combo_that_was_taken_from_the_board_is_told(two_rows, board, elsewhere):
    def change() -> None:
        save_board(board.folder, board_text(board, [row_text(["toy-net"], ["bce"], ["toy"], {})]))

    (told,) = run_with_another(change, two_rows, elsewhere).values()
    assert told["message"].endswith("the board there has no such combination; its board.toml was changed meanwhile")


def test_a_shipped_file_has_the_digest_that_it_has_here(tmp_path, write):
    text = (FIXTURES / "toy.py").read_text()
    (tmp_path / "mine.py").write_text(text)
    here = load_registry([tmp_path / "mine.py"]).offer("model", "toy-net").code
    order = write(plugins=ship_plugins([tmp_path / "mine.py"]))
    (tmp_path / "mine.py").write_text(text.replace("width=8", "width=4"))
    with open_order(order) as opened:
        assert opened.plugins[0].parent != tmp_path
        assert opened.registry.offer("model", "toy-net").code == here
    assert not opened.plugins[0].exists()


def test_a_package_given_by_its_init_file_is_shipped_whole(tmp_path, write):
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text((FIXTURES / "toy.py").read_text())
    (package / "part.py").write_text("width = 4\n")
    here = load_registry([package / "__init__.py"]).offer("model", "toy-net").code
    order = write(plugins=ship_plugins([package / "__init__.py"]))
    package.rename(tmp_path / "elsewhere")
    with open_order(order) as opened:
        assert opened.registry.offer("model", "toy-net").code == here


def test_without_a_shared_folder_each_machine_has_its_own_data_and_cache(write, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_DATA_ROOT", str(tmp_path / "own data"))
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "own cache"))
    with open_order(write(token=None)) as opened:
        assert opened.settings.data_root == tmp_path / "own data"
        assert opened.settings.cache == tmp_path / "own cache"
    with open_order(write()) as opened:
        assert opened.settings.data_root == tmp_path


def test_a_gpu_that_is_not_there_is_missed(write, monkeypatch):
    monkeypatch.setattr(order, "count_gpus", lambda: 0)
    assert "there is no GPU on" in refusal(write(device="cuda"))


def test_what_no_one_expected_is_told_too(write, monkeypatch):
    def break_down(*arguments, **more):
        raise RuntimeError("out of the blue")

    monkeypatch.setattr("harness.execution.remote.plan", break_down)
    assert run_share(write())["outcome"] == "crashed"
    assert run_share(write())["message"] == "RuntimeError: out of the blue"


def test_a_combo_that_was_made_since_the_order_was_written_is_not_run_again(write, board, elsewhere):
    text = write()
    settings = dataclasses.replace(elsewhere.settings, dry=False)
    planned = planning.plan(board, elsewhere.registry, settings, lambda event: None)
    (made,) = local.run(planned, lambda event: None)
    told = run_share(text)
    assert (told["outcome"], told["combos"]) == ("done", [])
    record = board.folder / "records" / f"{made.combo.name}.json"
    assert json.loads(record.read_text())["provenance"]["finished"] == made.provenance.finished


def test_a_board_and_its_readers_travel_as_they_are(board, tmp_path):
    (board.folder / "reads.csv").write_text("image,first\ni001,1\n")
    (board.folder / "readers.toml").write_text('[[readers]]\nname = "A"\ndecisions = "reads.csv"\n')
    unpack_board(pack_board(board), tmp_path / "there")
    assert {path.name for path in (tmp_path / "there").iterdir()} == {"board.toml", "readers.toml", "reads.csv"}
    assert (tmp_path / "there" / "board.toml").read_bytes() == (board.folder / "board.toml").read_bytes()


def test_decisions_of_readers_outside_of_the_boards_folder_do_not_travel(board, tmp_path):
    (tmp_path / "reads.csv").write_text("image,first\ni001,1\n")
    (board.folder / "readers.toml").write_text('[[readers]]\nname = "A"\ndecisions = "../reads.csv"\n')
    with pytest.raises(UsageError, match="lies outside of the board's folder"):
        pack_board(board)

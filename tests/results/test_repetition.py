"""The command that measures a row again is complete, wherever it is told."""

from __future__ import annotations

import html
import shlex

from harness.results.store import read_records
from tests.conftest import TOY

ROW = "toy-net--bce--toy"


def test_the_command_that_measures_a_row_again_can_be_typed_as_it_stands(harness, monkeypatch, tmp_path):
    monkeypatch.delenv("HARNESS_PLUGIN")
    folder = tmp_path / "some where"
    folder.mkdir()
    (folder / "my $net.py").write_text(TOY.read_text().replace(", drawn=True", ""))
    board = ("--dataset", "toy", "--models", "toy-net", "--losses", "bce", "--recipes", "toy", "--board", "my board")
    assert harness("run", *board, "--plugin", str(folder / "my $net.py"))[0] == 0
    code, out, _ = harness("show", f"my board::{ROW}")
    command = out.partition("to measure it again: ")[2].strip()
    plain = f"harness run 'my board' --only '{ROW}' --force --data-root /path/to/data --plugin 'my $net.py'"
    assert (code, command) == (0, plain)
    assert f"<pre>{plain}</pre>" in html.unescape((tmp_path / "my board" / "index.html").read_text())
    monkeypatch.chdir(folder)
    words = shlex.split(command)[1:]
    words[words.index("my board")] = str(tmp_path / "my board")
    (before,) = read_records(tmp_path / "my board").records
    assert harness(*words)[0] == 0
    (after,) = read_records(tmp_path / "my board").records
    assert (after.key, after.provenance.command != before.provenance.command) == (before.key, True)


def test_images_that_are_drawn_need_no_folder_and_a_plugin_file_is_known_by_its_name(toy_board):
    made = [record.provenance for record in read_records(toy_board).records]
    assert {(tuple(one.plugins), one.data_root) for one in made} == {(("toy.py",), False)}


def test_what_is_bundled_needs_no_plugin_file(harness, tmp_path):
    board = ("--dataset", "phantom", "--models", "tiny-cnn", "--losses", "bce", "--recipes", "demo", "--board", "b")
    few = [part for text in ("train=60", "val=30", "test=30", "size=32") for part in ("--option", text)]
    code, _, err = harness("run", *board, *few, "--set", "recipe.epochs=1")
    assert code == 0, err
    (record,) = read_records(tmp_path / "b").records
    assert (record.provenance.plugins, record.provenance.data_root) == ([], False)

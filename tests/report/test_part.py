"""A board measured on part of its test split poses as no other: page, answer, index, terminal, published rows."""

from __future__ import annotations

import json
import re

import pytest

from harness.board import board_text, row_text, save_board
from harness.cli.board_listing import as_plain, table
from harness.report.headline import conclude
from harness.report.index import render_index
from harness.report.page import render_text
from harness.report.published import Published, PublishedRow, PublishedSplit
from harness.report.summary import summarize
from harness.results.record import SplitCounts

PART = "26 of 25,596 test images: not the official split"
CLOSED = "Not comparable with this board:"


@pytest.fixture
def measure(build):
    """Summarize a board whose test split has that many images and left out that many."""

    def make(images: int, left_out: int, **notes: str):
        counts = dict.fromkeys(build.labels, 10)
        test = SplitCounts(images=images, patients=images, positives=counts, left_out=left_out)
        data = build.data(notes={"split": "official", **notes})
        data = data.model_copy(update={"splits": {**data.splits, "test": test}})
        records = [build.record(model, 0, value, dataset=data) for model, value in (("a", 0.8), ("b", 0.7))]
        build.write(*records)
        return summarize(build.board("a", "b", seeds=(0,)), records)

    return make


def publish(*splits: PublishedSplit) -> Published:
    rows = [PublishedRow(name=f"Net {split.name}", split=split.name, source="a paper", auroc=0.8) for split in splits]
    return Published(splits=splits, rows=tuple(rows))


def lanes(page: str) -> dict[str, str]:
    """The title of each published split with what the page says before its table."""
    whole = page.partition('<h2 id="published">')[2].partition("</section>")[0]
    return {part.partition("<")[0].partition(",")[0]: part.partition("<table")[0] for part in whole.split("<h3>")[1:]}


OFFICIAL = PublishedSplit(name="official", title="The list", test_images=25596, compares="Set beside this board.")
NAMELESS = PublishedSplit(name="main", title="Main", compares="Beside this board, perhaps.")
ALIKE = PublishedSplit(name="nih", title="Alike", test_images=25596, compares="With these rows.")
SHARED = PublishedSplit(name="shared", title="Shared", test_images=22433, compares="Not with this board.")


def test_title_heading_answer_and_terminal_say_how_many_of_the_test_images_were_measured(measure):
    summary = measure(26, 25570)
    page = render_text(summary)
    assert f"<title>A small board ({PART})</title>" in page
    assert re.search(rf"<h1>A small board<[^>]+>{PART}<", page)
    assert page.index("They do not compare with numbers on all of them") < page.index('<p class="about">')
    assert "26 of 25,596 images of 26 patients" in page
    assert conclude(summary).startswith("On 26 of 25,596 test images (not the official split), a + bce")
    assert PART in str(table(summary, 100).caption)
    plain = as_plain(summary)
    assert (plain["test_images"], plain["test_images_left_out"]) == (26, 25570)


def test_a_whole_test_split_is_said_to_be_nothing_less(measure):
    summary = measure(25596, 0, missing="3 of 112,120 images had no file and were left out")
    page = render_text(summary, published=publish(OFFICIAL, NAMELESS, SHARED))
    assert "<title>A small board</title>" in page
    assert "test images: not" not in page
    assert conclude(summary).startswith("a + bce")
    assert CLOSED not in page
    assert all(split.compares in lanes(page)[split.title] for split in (OFFICIAL, NAMELESS, SHARED))


def test_a_split_without_a_plain_name_is_called_the_test_split(measure):
    assert "26 of 30 test images (not the whole test split)" in conclude(measure(26, 4, split="carved by patient"))


def test_no_published_row_stands_beside_rows_on_part_of_the_test_split(measure):
    found = lanes(render_text(measure(26, 25570), published=publish(OFFICIAL, NAMELESS, ALIKE, SHARED)))
    for title in ("The list", "Main", "Alike", "Shared"):
        assert f"<strong>{CLOSED}</strong> its rows were measured on 26 of 25,596 test images." in found[title]
    assert "Set beside this board." not in found["The list"]
    assert "With these rows." not in found["Alike"]
    assert "Not with this board." in found["Shared"]


@pytest.mark.parametrize(("images", "closed"), [(26, True), (25596, False), (25597, True)])
def test_a_published_split_of_the_boards_name_and_another_size_is_closed(measure, images, closed):
    found = lanes(render_text(measure(images, 0), published=publish(OFFICIAL, SHARED)))
    assert (CLOSED in found["The list"]) is closed
    assert ("Set beside this board." in found["The list"]) is not closed
    assert not closed or f"on {images:,} test images, these numbers on 25,596" in found["The list"]
    assert CLOSED not in found["Shared"]


def test_the_page_over_boards_says_it_too(build, measure):
    save_board(
        build.folder, board_text(build.board("a", "b", seeds=(0,)), [row_text(["a", "b"], ["bce"], ["demo"], {})])
    )
    measure(26, 25570)
    path, _, failed = render_index(build.folder.parent)
    assert not failed
    text = path.read_text(encoding="utf-8")
    assert re.search(rf"A small board</a>\s*<[^>]+>{PART}<", text)


def test_runs_and_submissions_record_how_many_images_of_each_split_had_no_file(harness, tmp_path):
    from PIL import Image

    folder = tmp_path / "data"
    folder.mkdir()
    splits = ["train", "train", "val", "val", "test", "test", "test", "test"] * 2
    lines, scores = ["image,patient,split,Edema"], ["image,Edema"]
    for number, split in enumerate(splits):
        lines.append(f"{number}.png,p{number},{split},{number % 2}")
        if number not in (0, 4, 5):
            Image.new("L", (32, 32), 10 * number).save(folder / f"{number}.png")
            scores += [f"{number}.png,0.{number}"] if split == "test" else []
    (folder / "labels.csv").write_text("\n".join(lines))
    (tmp_path / "scores.csv").write_text("\n".join(scores))
    board = ["--board", "b", "--dataset", "csv", "--models", "tiny-cnn", "--losses", "bce", "--recipes", "demo"]
    less = ["--set", "recipe.epochs=1", "--set", "recipe.batch_size=2", "--option", "allow_missing=true"]
    code, _, err = harness("run", *board, *less, "--data-root", "data")
    assert code == 0, err
    theirs = ["--predictions", "scores.csv", "--name", "Theirs", "--about", "for tests", "--data-root", "data"]
    code, _, err = harness("submit", "b", *theirs)
    assert code == 0, err
    records = [json.loads(path.read_text()) for path in (tmp_path / "b" / "records").glob("*.json")]
    assert len(records) == 2
    for record in records:
        found = record["dataset"]["splits"]
        counts = {name: (one["images"], one["left_out"]) for name, one in found.items()}
        assert counts == {"train": (3, 1), "val": (4, 0), "test": (6, 2)}
    assert "(6 of 8 test images: not the whole test split)" in (tmp_path / "b" / "index.html").read_text()

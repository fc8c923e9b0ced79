"""The page: one file, escaped, the same bytes, and what it says."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from harness.board import Row, board_text, row_text, save_board
from harness.cli.board_listing import table
from harness.report.headline import conclude
from harness.report.page import SCRIPTS, render
from harness.report.summary import read_results, summarize

EVIL = "<script>alert(1)</script>"
VOID = {"meta", "br", "wbr", "link", "input", "img"}
PUBLISHED = """
[[splits]]
name = "official"
title = "The official list"
test_images = 25596
compares = "With the rows above."
[[rows]]
name = "SwinCheX"
split = "official"
source = "a table"
second_hand = true
auroc = 0.81
auroc_per_label = { Edema = 0.848 }
"""


class Page(HTMLParser):
    """Elements of a page: (name, attributes), texts by element, and whether every end has its start."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> without a start"
        assert self.open.pop() == tag

    def handle_data(self, data):
        for tag in set(self.open):
            self.texts[tag][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


OWN = len(SCRIPTS)


def scripts(text: str) -> int:
    """How many elements of a page could run."""
    return len([attributes for attributes in Page(text).all("script") if "type" not in attributes])


def full(build, **changes):
    """A board with a row of each kind."""
    metrics = {
        "auroc": build.metric(0.7, 0.9, None),
        "f1@val-f1": build.metric(0.3, 0.4, None),
        "f1@oracle": build.metric(0.5, 0.6, 0.7),
        "brier": build.metric(0.1, higher_is_better=False),
    }
    build.write(
        *(build.record("net", seed, metrics) for seed in (0, 1)),
        build.record("half", 0, 0.75),
        build.record("broken", 0, failure="ValueError: no such layer"),
        build.record("old", 0, combo=build.combo(build.row("old"), 0, options={"size": 8})),
    )
    return build.board("net", "half", "broken", "old", "waiting", **changes)


def test_rendering_twice_gives_the_same_bytes(build):
    board = full(build)
    first = render(board).page.read_bytes()
    assert render(board).page.read_bytes() == first


def test_the_page_is_well_formed_with_one_heading_and_captioned_tables(build):
    page = Page(build.whole(render(full(build)).page.read_text()))
    assert page.open == []
    assert len(page.all("h1")) == 1
    assert len(page.all("caption")) == len(page.all("table")) > 3
    assert all("scope" in attributes for attributes in page.all("th"))
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    links = [href[1:] for a in page.all("a") if (href := a["href"] or "").startswith("#")]
    assert set(links) <= set(identifiers)


def test_the_policy_knows_style_and_script_by_their_hashes_and_nothing_else_could_run(build):
    text = render(full(build)).page.read_text()
    page = Page(text)
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    for tag in ("style", "script"):
        contents = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() for content in contents]
        sources = " ".join(f"'sha256-{digest}'" for digest in digests)
        assert f"{tag}-src {sources};" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not [n for _, attributes in page.elements for n in attributes if n == "style" or n.startswith("on")]


def test_nothing_is_loaded_from_anywhere(build):
    text = render(full(build)).page.read_text()
    page = Page(text)
    assert not [a for _, a in page.elements if "src" in a or "srcset" in a]
    assert not page.all("link")
    assert not page.all("img")
    assert "url(" not in text
    assert "@import" not in text
    assert "//" not in "".join(a["href"] or "" for a in page.all("a"))


def test_names_and_messages_are_escaped_wherever_they_stand(build):
    row = Row(model=EVIL, loss=EVIL, recipe=EVIL, params={"loss": {EVIL: EVIL}})
    metric = {EVIL: build.metric(0.8)}
    build.write(
        build.record(
            row,
            0,
            metric,
            combo=build.combo(row, 0, resolved={"model": {EVIL: EVIL}}),
            dataset=build.data(name=EVIL, about=EVIL, notes={EVIL: EVIL, "missing": EVIL}),
            provenance=build.provenance(device=EVIL, command=EVIL, harness=EVIL, packages={"torch": EVIL, EVIL: EVIL}),
        ),
        build.record(row, 1, failure=EVIL),
    )
    (build.folder / "published.toml").write_text(PUBLISHED.replace("SwinCheX", EVIL).replace("a table", EVIL))
    (build.folder / "records" / f"{EVIL.replace('/', '_')}.json").write_text("{")
    board = build.board(row, title=EVIL, about=EVIL, objective=EVIL, options={"size": 16, EVIL: EVIL}, dataset=EVIL)
    text = render(board).page.read_text()
    assert EVIL not in text
    assert EVIL not in build.whole(text)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert scripts(text) == OWN


def test_an_evil_row_name_stays_within_its_link(build):
    row = Row(model='"><script>alert(1)</script>', loss="bce", recipe="demo")
    build.write(build.record(row))
    page = Page(build.whole(render(build.board(row)).page.read_text()))
    assert len([attributes for attributes in page.all("script") if "type" not in attributes]) == OWN
    assert all((a["href"] or "").startswith(("#", "records/", "board.csv")) for a in page.all("a"))


def test_a_row_links_to_its_records(build):
    path = render(full(build)).page
    links = [a["href"] for a in Page(path.read_text()).all("a") if (a["href"] or "").startswith("records/")]
    assert "records/net--bce--demo--s0.json" in links
    assert all((path.parent / str(link)).is_file() for link in links)


def test_an_empty_board_says_how_to_fill_it(build):
    build.folder.mkdir()
    text = render(build.board("net")).page.read_text()
    assert "Nothing has been measured" in text
    assert "harness run a-board" in text
    assert "missing" in text
    assert Page(text).open == []


def test_commands_can_be_pasted_where_a_folder_has_a_space(build):
    build.folder = build.folder.parent / "my board"
    build.write(build.record("net"))
    text = render(build.board("net")).page.read_text()
    assert "harness run &#39;my board&#39; --only &#39;net--bce--demo&#39; --force" in text.replace("'", "&#39;")


def test_a_board_of_failed_rows_says_that_they_failed(build):
    build.write(build.record("a", 0, failure="ValueError: no such layer"))
    text = render(build.board("a", "b")).page.read_text()
    assert "No row of this board has a value of AUROC yet: 1 row failed, 1 row missing." in text
    assert "Nothing has been measured" not in text
    assert "harness run a-board" in text


def test_failed_stale_and_partial_rows_are_shown_with_their_reasons(build):
    text = render(full(build)).page.read_text()
    for status in ("done", "partial", "failed", "stale", "missing"):
        assert f'class="status {status}"' in text
    assert "ValueError: no such layer" in text
    assert "the dataset&#39;s options were" in text


def test_a_record_that_cannot_be_read_is_named(build):
    board = full(build)
    (build.folder / "records" / "torn.json").write_text("{")
    assert "records/torn.json is no record" in render(board).page.read_text()


def cells(text: str, metric: str) -> list[str]:
    (body,) = re.findall(rf'<tbody data-metric="{metric}">(.*?)</tbody>', text, re.DOTALL)
    (row,) = [found for found in body.split("<tr") if ">net + bce<" in found]
    return re.findall(r"<td[^>]*>([^<]*)</td>", row)


def test_an_undefined_label_is_an_empty_cell(build):
    text = build.whole(render(full(build)).page.read_text())
    assert cells(text, "auroc") == ["0.700", "0.900", ""]
    assert cells(text, "f1@oracle") == ["0.500", "0.600", "0.700"]


def test_a_difference_of_no_account_stays_pale_beside_a_large_one(build):
    values = {"a": (0.900, 0.9), "b": (0.901, 0.5)}
    build.write(*(build.record(m, 0, {"auroc": build.metric(*v, 0.8)}) for m, v in values.items()))
    text = render(build.board("a", "b", seeds=(0,))).page.read_text()
    (body,) = re.findall(r'<tbody data-metric="auroc">(.*?)</tbody>', text, re.DOTALL)
    shades = {
        name: re.findall(r'<td class="(\w+)', part) for name, part in zip("ab", body.split("<tr")[1:], strict=True)
    }
    assert shades == {"a": ["e", "b3", "e"], "b": ["e", "w3", "e"]}


def test_where_lower_is_better_the_lower_cell_is_shaded_as_better(build):
    build.write(
        *(
            build.record(model, 0, {"brier": build.metric(value, higher_is_better=False)})
            for model, value in (("good", 0.1), ("poor", 0.3))
        )
    )
    text = render(build.board("good", "poor", objective="brier", seeds=(0,))).page.read_text()
    (body,) = re.findall(r'<tbody data-metric="brier">(.*?)</tbody>', text, re.DOTALL)
    good, poor = body.split("<tr")[1:]
    assert '<td class="b3 best">' in good
    assert '<td class="w3">' in poor


def test_oracle_metrics_are_marked_as_optimistic(build):
    text = render(full(build)).page.read_text()
    assert re.search(r'<option value="f1@oracle">F1@oracle \(optimistic\)', text)
    assert "fitted on the test split itself" in text


def test_a_part_of_a_dataset_is_announced(build):
    build.write(build.record(dataset=build.data(notes={"missing": "3 of 100 images had no file and were left out"})))
    text = render(build.board()).page.read_text()
    assert "Part of the dataset" in text
    assert "3 of 100 images" in text


def test_what_a_dataset_means_stands_above_the_ranking(build):
    text = render(full(build)).page.read_text()
    assert text.index("scores mean nothing clinically") < text.index('id="ranking"')


def test_times_of_different_devices_do_not_stand_side_by_side(build):
    build.write(build.record(seed=0), build.record(seed=1, provenance=build.provenance(device="another processor")))
    text = render(build.board()).page.read_text()
    ranking = text[text.index('id="ranking"') : text.index('id="labels"')]
    assert "No times side by side" in ranking
    assert "minutes" not in ranking.split("</table>")[0]


def test_published_rows_stand_apart_with_source_and_split(build):
    board = full(build)
    (build.folder / "published.toml").write_text(PUBLISHED)
    text = render(board).page.read_text()
    published = text[text.index('id="published"') :]
    assert "SwinCheX" not in text[: text.index('id="published"')]
    for expected in ("The official list, 25,596 test images", "With the rows above.", "0.8100", "second-hand", "0.848"):
        assert expected in published


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ((0.80, 0.82, 0.81), (0.79, 0.81, 0.80), "Over seeds alone p = 0.29"),
        ((0.80, 0.82, 0.81), (0.50, 0.52, 0.51), "Over seeds alone p < 0.001; over patients nothing is known: no row"),
        ((0.80, 0.80, 0.80), (0.50, 0.50, 0.50), "p < 0.001"),
        ((0.80, 0.82), (0.70, 0.72), "With fewer than three seeds for each row, nothing tells"),
        ((0.80, 0.82, 0.81), (0.80, 0.82, 0.81), "p = 1.00"),
    ],
)
def test_the_answer_says_what_seeds_allow(build, first, second, verdict):
    values = {"a": first, "b": second}
    records = [build.record(model, seed, value) for model, pair in values.items() for seed, value in enumerate(pair)]
    text = conclude(summarize(build.board("a", "b", seeds=tuple(range(len(first)))), records))
    assert text.startswith("a + bce leads with AUROC 0.8")
    assert verdict in text


def test_a_lone_row_leads_over_nobody(build):
    assert "only row with a result" in conclude(summarize(build.board(), [build.record()]))
    assert conclude(summarize(build.board(), [])) == ""


def test_no_folder_of_the_machine_stands_on_the_page(build):
    params = {"recipe": {"weights": "/home/anna/secret/w.safetensors"}}
    text = render(build.board(Row(model="m", loss="l", recipe="r", params=params))).page.read_text(encoding="utf-8")
    assert "w.safetensors" in text
    assert "/home/anna" not in text


def test_a_tuned_row_says_so_and_what_its_tuning_cost(build):
    note = "by 40 trials in 3.2 GPU hours"
    text = row_text(["net"], ["bce"], ["demo"], {"recipe": {"lr": 0.01}}, tuned=note)
    board = save_board(build.folder, board_text(build.board(), [text]))
    build.write(build.record(board.rows[0]))
    ranking = render(board).page.read_text().partition("</table>")[0]
    assert f'<span class="small">lr 0.01</span><span class="small tuned">{note}</span>' in ranking
    assert "lr = 0.01" in ranking


def test_what_was_set_of_a_row_is_said_where_its_title_does_not(build):
    given = {"recipe": {"size": 64, "weights": "random"}}
    texts = [
        row_text(["a"], ["bce"], ["demo"], given),
        row_text(["b"], ["bce"], ["demo"], {"recipe": given["recipe"] | {"lr": 0.01}}),
        row_text(["c"], ["bce"], ["demo"], given, title="Small"),
    ]
    board = save_board(build.folder, board_text(build.board(), texts))
    for row in board.rows:
        build.write(build.record(row))
    page = render(board).page.read_text()
    ranking, _, rest = page.partition("</table>")
    for title in ("a + bce", "b + bce, lr 0.01"):
        assert re.search(rf">{re.escape(title)}</a><span class=\"small\">size 64, weights random</span>", ranking)
    assert ">Small</a>" in ranking
    assert ranking.count('<span class="small">size 64, weights random</span>') == 3
    assert '<span class="name">Small</span> c + bce, demo recipe, size 64, weights random <span' in rest
    said = str(table(read_results(board).summary, 200).caption)
    for row in board.rows:
        assert f"{row.name}: size 64, weights random" in said


def test_a_rows_title_and_words_stand_in_its_details_on_the_page_and_in_the_terminal(build, harness):
    words = {"title": "DAC <Net>", "about": "As in https://example.org/paper."}
    texts = [row_text(["net"], ["bce"], ["demo"], {}, **words), row_text(["other"], ["bce"], ["demo"], {})]
    board = save_board(build.folder, board_text(build.board(), texts))
    for row in board.rows:
        build.write(build.record(row))
    page = render(board).page.read_text()
    ranking, details = page.partition("</table>")[0], page.partition("Row by row")[2]
    assert re.search(r'<a href="#[^"]*">DAC &lt;Net&gt;</a><span class="small">net \+ bce, demo recipe</span>', ranking)
    assert '<summary><span class="name">DAC &lt;Net&gt;</span> net + bce, demo recipe ' in details
    assert 'As in <a href="https://example.org/paper"' in details
    assert '<summary><span class="name">other + bce</span>' in details
    _, out, _ = harness("show", f"{build.folder}::net--bce--demo")
    assert out.splitlines()[:3] == ["net--bce--demo", "DAC <Net>", "As in https://example.org/paper."]
    shown = json.loads(harness("show", f"{build.folder}::net--bce--demo", "--json")[1])
    assert (shown["own_title"], shown["about"]) == (words["title"], words["about"])

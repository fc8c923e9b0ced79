"""The page in a real browser, without a network: nothing is asked for, nothing complains, everything works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from harness.board import Row, board_text, bundled_boards, row_text, save_board
from harness.evaluation.parts import ConfusionPart
from harness.evaluation.resamples import Resamples
from harness.report.index import render_index
from harness.report.page import render
from harness.results.record import EfficiencyPart
from harness.results.store import write_record

pytestmark = pytest.mark.service
LEADERBOARDS = Path(__file__).parents[2] / "leaderboards"
EVIL = "<script>alert(1)</script>"


def rendered(build, rows: list[tuple[Row, float]], seeds: tuple[int, ...] = (0, 1)) -> Path:
    """The page of a board whose rows have some seeds, with resamples and curves; the last one failed in all but one."""
    board = build.board(*(row for row, _ in rows), seeds=seeds)
    texts = [row_text([row.model], [row.loss], [row.recipe], row.params, title=row.title) for row in board.rows]
    board = save_board(board.folder, board_text(board, texts))
    for number, (row, value) in enumerate(rows):
        for seed in seeds:
            if number == len(rows) - 1 and seed:
                write_record(board.folder, build.record(row, seed, failure="ValueError: no such layer"))
                continue
            metrics = {
                "auroc": build.metric(value, value - 0.1, value - 0.2 if number else None),
                "brier": build.metric(0.1 + number / 10, higher_is_better=False),
                "f1@val-f1": build.metric(0.4, 0.3, 0.2),
                "f1@oracle": build.metric(0.5, 0.4, 0.3),
            }
            cost = EfficiencyPart(parameters=10**number * 1_000_000, seconds={"train": 60.0 + number})
            part = ConfusionPart(true_positives=4, false_positives=9 + number, false_negatives=6, true_negatives=81)
            confusion = {policy: dict.fromkeys(build.labels, part) for policy in ("0.5", "val-f1", "oracle")}
            record = build.record(row, seed, metrics, efficiency=cost, confusion=confusion)
            noise = np.random.default_rng(10 * number + seed).normal(0, 0.01, 200)
            macro = {name: (part.macro or 0) + noise for name, part in record.metrics.items()}
            labels = {name: part.value + noise for name, part in metrics["auroc"].per_label.items() if part.value}
            curve = np.array([[0, 0.2, 1], [0, 0.8, 1]])
            curves = {f"{kind}/{label}": curve for kind in ("roc", "pr") for label in build.labels}
            write_record(board.folder, record, Resamples(macro=macro, per_label=labels, curves=curves))
    return render(board).page


@pytest.fixture(scope="module")
def page_file(tmp_path_factory, make_builder) -> Path:
    """Three rows, one of them with another parameter, one partial."""
    rows = [
        (Row(model="alpha", loss="bce", recipe="demo"), 0.9),
        (Row(model="beta", loss="focal", recipe="demo", params={"loss": {"gamma": 1.7}}), 0.85),
        (Row(model="gamma", loss="bce", recipe="long"), 0.7),
    ]
    return rendered(make_builder(tmp_path_factory.mktemp("board")), rows)


@pytest.fixture(params=["light", "dark"])
def opened(browser, page_file, request) -> Iterator[Page]:
    """The page, opened from its file with the network off; in the end nothing has complained or been asked for."""
    yield from open_page(browser, page_file, request.param)


@pytest.fixture
def seen(browser, page_file) -> Iterator[Page]:
    """Likewise, in one theme."""
    yield from open_page(browser, page_file, "light")


def open_page(browser: Browser, file: Path, theme: str, fragment: str = "") -> Iterator[Page]:
    context = browser.new_context(color_scheme=theme, viewport={"width": 1300, "height": 900})  # type: ignore[arg-type]
    context.set_offline(True)
    context.set_default_timeout(10_000)
    page, heard = context.new_page(), []
    page.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: heard.append(f"error: {error}"))
    page.on("request", lambda asked: heard.append(asked.url) if is_foreign(asked.url, file) else None)
    page.goto(file.as_uri() + fragment)
    yield page
    assert heard == []
    context.close()


def is_foreign(address: str, file: Path) -> bool:
    """Whether it is something else than the page itself, or what the page made."""
    return address.split("#", maxsplit=1)[0] != file.as_uri() and not address.startswith("blob:")


def models(page: Page) -> list[str]:
    """The models of the rows that the ranking shows, from above."""
    shown = page.locator("table.ranking tbody tr:not([hidden]) th a")
    return [text.split("\n")[0].split(" + ")[0] for text in shown.all_inner_texts()]


def headings(page: Page) -> list[str]:
    return [text.strip() for text in page.locator("table.ranking thead th:not([hidden]) button").all_inner_texts()]


def again(page: Page) -> Page:
    """The same address in another tab: what a reader sees who was sent the link."""
    other = page.context.new_page()
    other.goto(page.url)
    return other


def test_rows_are_sorted_by_a_click_and_by_the_keyboard(opened):
    assert models(opened) == ["alpha", "beta", "gamma"]
    heading = opened.get_by_role("button", name="AUROC", exact=True)
    heading.click()
    heading.click()
    assert models(opened) == ["gamma", "beta", "alpha"]
    assert opened.locator('th[aria-sort="ascending"]').inner_text() == "AUROC"
    opened.get_by_role("button", name="Brier").focus()
    opened.keyboard.press("Enter")
    assert models(opened)[0] == "alpha"
    assert models(again(opened)) == models(opened)


def test_every_column_sorts_and_empty_cells_stay_last(seen):
    for number in range(seen.locator("#columns input").count()):
        seen.locator("#columns input").nth(number).evaluate("box => box.checked || box.click()")
    for button in seen.locator("table.ranking thead button").all():
        for _ in range(2):
            button.click()
            column = button.evaluate("one => one.closest('th').cellIndex")
            texts = [row.locator("th, td").nth(column).inner_text() for row in seen.locator(".ranking tbody tr").all()]
            filled = [bool(text.strip()) for text in texts]
            assert filled == sorted(filled, reverse=True)


@pytest.mark.parametrize(
    ("name", "value", "left"),
    [("loss", "focal", ["beta"]), ("recipe", "long", ["gamma"]), ("status", "partial", ["gamma"])],
)
def test_a_filter_leaves_rows_of_one_kind_everywhere(seen, name, value, left):
    seen.get_by_role("combobox", name=name, exact=True).select_option(value)
    assert models(seen) == left
    assert seen.locator(".labels tbody tr:visible").count() == len(left)
    assert seen.locator("#rows ~ details:visible").count() == len(left)
    assert seen.locator("#count").inner_text() == "1 of 3 rows"
    assert models(again(seen)) == left
    seen.get_by_role("button", name="Show all rows").click()
    assert models(seen) == ["alpha", "beta", "gamma"]
    assert "#" not in seen.url


def test_search_finds_words_in_names_parameters_and_numbers(seen):
    box = seen.get_by_label("search", exact=True)
    box.click()
    seen.keyboard.type("FOCAL gamma 1.7")
    assert models(seen) == ["beta"]
    assert models(again(seen)) == ["beta"]
    box.fill("nothing like that")
    assert models(seen) == []
    box.fill("")
    assert len(models(seen)) == 3


def test_columns_are_chosen_and_those_that_the_board_does_not_ask_for_wait(seen):
    assert "F1@oracle" not in headings(seen)
    seen.locator("#columns summary").click()
    seen.get_by_role("checkbox", name="F1@oracle").check()
    seen.get_by_role("checkbox", name="Brier").uncheck()
    assert "F1@oracle" in headings(seen)
    assert "Brier" not in headings(seen)
    assert headings(again(seen)) == headings(seen)
    width = seen.locator(".ranking tbody tr").first.locator("th:visible, td:visible").count()
    assert width == len(headings(seen))


def test_the_labels_are_shown_in_one_metric_at_a_time(opened):
    bodies = opened.locator("[data-metric]")
    assert [bodies.nth(n).is_visible() for n in range(bodies.count())].count(True) == 1
    opened.get_by_label("metric").select_option("brier")
    opened.locator('[data-metric="brier"]').wait_for()
    assert not opened.locator('[data-metric="auroc"]').is_visible()
    other = again(opened)
    other.locator('[data-metric="brier"]').wait_for()
    assert other.get_by_label("metric").input_value() == "brier"


def test_a_label_shows_its_interval_and_positives_to_the_pointer_and_to_the_keyboard(seen):
    cell = seen.locator(".labels tbody td").nth(1)
    cell.hover()
    tip = seen.get_by_role("tooltip")
    assert "alpha + bce, demo recipe, Mass" in tip.inner_text()
    assert "95 % from" in tip.inner_text()
    assert "10 positive of 100 images" in tip.inner_text()
    seen.mouse.move(0, 0)
    seen.locator(".labels tbody td").first.focus()
    seen.keyboard.press("ArrowRight")
    seen.keyboard.press("ArrowDown")
    assert "beta" in tip.inner_text()
    assert seen.evaluate("document.activeElement.getAttribute('aria-describedby')") == "tip"
    seen.keyboard.press("Escape")
    assert not tip.is_visible()


def test_what_is_undefined_is_an_empty_cell_and_says_so(seen):
    cell = seen.locator(".labels tbody tr").first.locator("td").nth(2)
    assert cell.inner_text() == ""
    cell.hover()
    assert "AUROC is undefined" in seen.get_by_role("tooltip").inner_text()


def test_values_stay_within_reach_of_the_tab_key_when_others_are_hidden(seen):
    stops = 'table.labels tbody:not([hidden]) tr:not([hidden]) td[tabindex="0"]'
    seen.get_by_label("metric").select_option("brier")
    seen.locator('[data-metric="brier"]').wait_for()
    seen.wait_for_function("stops => document.querySelectorAll(stops).length === 1", arg=stops)
    seen.get_by_role("combobox", name="loss", exact=True).select_option("focal")
    seen.locator(stops).focus()
    assert "beta" in seen.get_by_role("tooltip").inner_text()
    seen.get_by_role("button", name="Show all rows").click()
    assert seen.locator('table.labels td[tabindex="0"]').count() == 1


@pytest.mark.parametrize(
    "fragment",
    ["%E0%A4%A", "model=gone&row=gone&column=gone", "theme=purple&metric=gone&label=gone", "sort=gone&at=row-gone"],
)
def test_a_link_that_names_what_is_not_there_shows_the_usual_page(browser, page_file, fragment):
    for page in open_page(browser, page_file, "light", f"#{fragment}"):
        assert models(page) == ["alpha", "beta", "gamma"]
        assert "Brier" in headings(page)
        assert page.locator("#figure-rows input:checked").count() == 3
        assert page.locator("select").evaluate_all("all => all.every((one) => one.selectedIndex === 0)")


def test_the_best_of_a_label_is_marked_and_what_is_not_shown_to_differ(seen):
    first = [seen.locator(".labels tbody tr").nth(n).locator("td").first.get_attribute("class") or "" for n in range(3)]
    assert "best" in first[0]
    assert "best" not in first[1]
    assert "best" not in first[2]


def test_a_link_opens_the_row_with_all_that_its_records_hold(opened):
    opened.locator("table.ranking tbody th a").nth(1).click()
    row = opened.locator("details[data-row][open]")
    row.get_by_text("Seed by seed").wait_for()
    assert row.count() == 1
    assert "beta" in row.locator("summary").inner_text()
    other = again(opened)
    other.locator("details[data-row][open]").get_by_text("Seed by seed").wait_for()
    row.locator("summary").click()
    opened.wait_for_url(lambda address: "at=" not in address)


def test_a_row_is_opened_by_the_keyboard(seen):
    seen.locator("details[data-row] summary").first.focus()
    seen.keyboard.press("Enter")
    seen.locator("details[data-row][open]").get_by_text("Seed by seed").wait_for()
    assert "at=row-alpha" in seen.url


def test_the_theme_is_switched_and_stays(opened):
    system = opened.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    grounds = {}
    for theme in ("light", "dark"):
        opened.get_by_label("Theme").select_option(theme)
        grounds[theme] = opened.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert grounds["light"] != grounds["dark"]
    assert system in grounds.values()
    other = again(opened)
    assert other.evaluate("getComputedStyle(document.documentElement).backgroundColor") == grounds["dark"]
    opened.reload()
    assert opened.get_by_label("Theme").input_value() == "dark"


def test_every_picture_is_drawn_when_it_comes_into_view(opened):
    pictures = opened.locator("[data-figure]")
    assert pictures.count() >= 6
    for number in range(pictures.count()):
        pictures.nth(number).scroll_into_view_if_needed()
        pictures.nth(number).locator("svg").wait_for()
    described = opened.locator("[data-figure] svg").first.get_attribute("aria-label")
    assert described is not None
    assert "alpha + bce, demo recipe" in described


def test_rows_and_label_of_the_pictures_are_chosen(seen):
    curves = seen.locator("figure", has_text="ROC curves")
    curves.scroll_into_view_if_needed()
    curves.locator("[data-drawn] svg").wait_for()
    lines = curves.locator('svg [aria-roledescription="line mark"]')
    assert lines.count() == 3 + 2 * 2 + 1  # a mean each, the seeds of two rows, and the diagonal
    assert seen.locator("#figure-count").inner_text() == "3 of 3 rows are shown"
    seen.locator("#figure-rows summary").click()
    seen.get_by_role("checkbox", name="gamma + bce, long recipe").uncheck()
    seen.wait_for_function(
        "count => document.querySelectorAll('#drawing-roc svg [aria-roledescription=\"line mark\"]').length === count",
        arg=2 + 2 * 2 + 1,
    )
    assert seen.locator("#figure-count").inner_text() == "2 of 3 rows are shown"
    seen.get_by_label("label of the curves").select_option("Mass")
    other = again(seen)
    assert other.get_by_label("label of the curves").input_value() == "Mass"
    assert not other.locator("#figure-rows input").nth(2).is_checked()


def test_the_axis_of_the_cost_picture_is_chosen_and_stays_in_the_address(seen):
    cost = seen.locator("#drawing-cost")
    cost.scroll_into_view_if_needed()
    seen.locator("#drawing-cost[data-drawn]").wait_for()
    assert "training time, minutes" in cost.locator("svg text").all_text_contents()
    seen.get_by_label("axis", exact=True).select_option("parameters")
    cost.locator("svg text", has_text="parameters, millions").wait_for()
    other = again(seen)
    assert other.get_by_label("axis", exact=True).input_value() == "parameters"


@pytest.mark.parametrize("width", [390, 1024, 1400])
def test_the_page_over_boards_fits_its_window_and_axe_finds_nothing_to_fix(browser, page_file, width):
    index, _, _ = render_index(page_file.parent.parent)
    context = browser.new_context(viewport={"width": width, "height": 700}, bypass_csp=True)
    page = context.new_page()
    page.goto(index.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    table = page.locator(".scroll")
    assert table.evaluate("box => box.scrollWidth <= box.clientWidth")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    page.get_by_role("link", name="A small board").click()
    assert page.get_by_role("heading", level=1).inner_text() == "A small board"
    context.close()


def test_a_table_that_is_cut_fades_until_it_is_scrolled_to_its_end(browser, page_file):
    context = browser.new_context(viewport={"width": 390, "height": 700})
    page = context.new_page()
    page.goto(page_file.as_uri())
    box = page.locator(".scroll:has(.ranking)")
    faded = "box => getComputedStyle(box).getPropertyValue('--cut') !== '0px'"
    page.wait_for_function(f"() => ({faded})(document.querySelector('.scroll:has(.ranking)'))")
    box.evaluate("box => { box.scrollLeft = box.scrollWidth; }")
    page.wait_for_function(f"() => !({faded})(document.querySelector('.scroll:has(.ranking)'))")
    context.close()


def test_the_table_is_downloaded_out_of_the_page(seen, page_file):
    with seen.expect_download() as download:
        seen.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename == "board.csv"
    assert Path(download.value.path()).read_bytes() == (page_file.parent / "board.csv").read_bytes()


def test_the_table_for_a_paper_is_copied_or_selected(seen):
    seen.context.grant_permissions(["clipboard-read", "clipboard-write"])
    seen.locator("#paper > summary").click()
    for form, begins in (("markdown", "| row |"), ("latex", "% needs")):
        button = seen.locator(f"[data-copy=paper-{form}-text]")
        button.click()
        seen.wait_for_function("button => button.nextElementSibling.textContent", arg=button.element_handle())
        copied = seen.evaluate("navigator.clipboard.readText()")
        assert copied.startswith(begins)
        assert copied == seen.locator(f"#paper-{form}-text").text_content()
    seen.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('not allowed')); }")
    seen.locator("[data-copy=paper-latex-text]").click()
    seen.wait_for_function("document.querySelectorAll('#paper [role=status]')[1].textContent.startsWith('Selected')")
    assert seen.evaluate("getSelection().toString()").startswith("% needs")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_to_fix(browser, page_file, theme):
    context = browser.new_context(color_scheme=theme, bypass_csp=True)
    page = context.new_page()
    page.goto(page_file.as_uri() + "#at=row-alpha--bce--demo")
    page.get_by_text("Seed by seed").wait_for()
    for menu in page.locator("details.menu summary").all():
        menu.click()
    for picture in page.locator("[data-figure]").all():
        picture.scroll_into_view_if_needed()
        picture.locator("svg").wait_for()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    context.close()


@pytest.mark.parametrize("width", [360, 1024, 1920])
def test_nothing_is_wider_than_the_window_and_headings_stay(browser, page_file, width):
    context = browser.new_context(viewport={"width": width, "height": 700})
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    head = page.locator(".labels thead th").first
    head.scroll_into_view_if_needed()
    before = head.bounding_box()
    page.locator(".scroll:has(.labels)").evaluate("box => { box.scrollLeft = 200; }")
    assert head.bounding_box() == before
    context.close()


@pytest.mark.parametrize("width", [360, 1024])
def test_long_names_widen_neither_page_nor_pictures(browser, make_builder, tmp_path, width):
    name = "timm/vit_base_patch16_clip_224.laion2b_ft_in12k_in1k"
    file = rendered(
        make_builder(tmp_path),
        [(Row(model=name, loss="bce", recipe="demo"), 0.9), (Row(model="b", loss="bce", recipe="demo"), 0.8)],
    )
    context = browser.new_context(viewport={"width": width, "height": 700})
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for drawing in page.locator("[data-figure]").all():
        drawing.scroll_into_view_if_needed()
        page.wait_for_function("one => 'drawn' in one.dataset", arg=drawing.element_handle())
        assert drawing.evaluate("one => one.scrollWidth <= one.clientWidth"), drawing.get_attribute("aria-label")
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_star_stands_out_from_its_cell(browser, make_builder, tmp_path, theme):
    rows = [(Row(model=name, loss="bce", recipe="demo"), value) for name, value in (("a", 0.9), ("b", 0.8), ("c", 0.7))]
    file = rendered(make_builder(tmp_path), rows, seeds=(0, 1, 2))
    for page in open_page(browser, file, theme):
        page.locator("#drawing-pairs").scroll_into_view_if_needed()
        page.locator("#drawing-pairs[data-drawn]").wait_for()
        stars = page.locator("#drawing-pairs .mark-text text", has_text="*")
        assert stars.count() > 0
        for star in stars.all():
            color = star.evaluate("one => getComputedStyle(one).fill")
            assert color in ("rgb(255, 255, 255)", "rgb(17, 17, 17)")


def test_names_that_are_scripts_or_formulas_are_texts(browser, make_builder, tmp_path):
    evil = Row(model=EVIL, loss="=cmd()", recipe="demo", params={"loss": {EVIL: EVIL}})
    builder = make_builder(tmp_path)
    builder.labels = (EVIL, "=1+1", "Hernia")
    file = rendered(
        builder,
        [(evil, 0.9), (Row(model="b", loss="bce", recipe=EVIL), 0.8), (Row(model="c", loss="bce", recipe="demo"), 0.7)],
    )
    for page in open_page(browser, file, "light"):
        page.on("dialog", lambda dialog: pytest.fail(f"a name has run: {dialog.message}"))
        assert models(page)[0] == EVIL
        page.get_by_label("metric").select_option("brier")
        page.locator('[data-metric="brier"]').wait_for()
        page.locator(".labels tbody:not([hidden]) td").first.hover()
        assert EVIL in page.get_by_role("tooltip").inner_text()
        for row in page.locator("details[data-row] summary").all():
            row.click()
        page.get_by_text("Seed by seed").first.wait_for()
        page.locator("[data-figure]").first.scroll_into_view_if_needed()
        page.locator("[data-figure] svg").first.wait_for()
        assert page.locator("script:not([type])").count() <= 6  # its own, and Vega
    table = (file.parent / "board.csv").read_text()
    assert ",'=cmd()," in table


def test_without_scripts_ranking_labels_pictures_and_links_are_there(browser, page_file):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_file.as_uri())
    assert models(page) == ["alpha", "beta", "gamma"]
    assert page.locator("noscript svg").count() >= 6
    assert page.locator("noscript svg").first.is_visible()
    assert page.locator('[data-metric="auroc"]').is_visible()
    assert not page.get_by_label("search").is_visible()
    page.locator("details[data-row] summary").first.click()
    assert page.get_by_role("link", name="seed 0").first.is_visible()
    context.close()


@pytest.mark.parametrize("name", bundled_boards())
def test_tables_of_a_kept_board_fit_a_window_of_1400_pixels_beside_its_scroll_bar(browser, name):
    context = browser.new_context(viewport={"width": 1385, "height": 900})
    page = context.new_page()
    page.goto((LEADERBOARDS / name / "index.html").as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    cut = "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.ariaLabel)"
    assert page.locator(".scroll:has(.ranking, .labels, .by-label)").evaluate_all(cut) == []
    context.close()

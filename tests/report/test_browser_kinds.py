"""The board of every kind of row in a real browser, wide and narrow, light and dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from harness.board import read_board
from harness.report.page import render

pytestmark = pytest.mark.service
KINDS = Path(__file__).parents[1] / "fixtures" / "kinds"
MARKED = ["trained from scratch", "fine-tuned", "linear probe", "nearest neighbors", "zero-shot", "ensemble"]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kinds") / "kinds"
    shutil.copytree(KINDS, folder)
    return render(read_board(folder)).page


@pytest.fixture(params=[(1400, "light"), (1400, "dark"), (390, "light"), (390, "dark")], ids=str)
def opened(browser, page_file, request) -> Iterator[Page]:
    """The page with the network off; in the end nothing has complained."""
    width, theme = request.param
    context = browser.new_context(color_scheme=theme, viewport={"width": width, "height": 900})
    context.set_offline(True)
    page, heard = context.new_page(), []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.goto(page_file.as_uri())
    yield page
    assert heard == []
    context.close()


def draw_costs(page: Page) -> None:
    page.locator("#drawing-cost").scroll_into_view_if_needed()
    page.locator("#drawing-cost[data-drawn]").wait_for()


def overlaps(page: Page) -> Any:
    """Texts of the cost picture's legend and axis that lie over each other."""
    return page.evaluate("""() => {
      const boxes = [...document.querySelectorAll("#drawing-cost svg text")]
        .filter((one) => one.textContent && !one.closest(".role-axis"))
        .map((one) => [one.textContent, one.getBoundingClientRect()]);
      const found = [];
      boxes.forEach(([text, a], place) => {
        for (const [other, b] of boxes.slice(place + 1))
          if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 2 && b.top < a.bottom - 2)
            found.push(`${text} | ${other}`);
      });
      return found;
    }""")


def test_the_page_fits_and_has_no_barrier(opened):
    draw_costs(opened)
    opened.locator('details[data-row$="few-shot-10-percent"] summary').first.click()
    opened.locator('details[data-row$="few-shot-10-percent"] table').first.wait_for()
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found = Axe().run(opened).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:120]) for one in found] == []


def test_the_cost_picture_has_a_shape_for_each_kind_and_a_legend_that_names_it(opened):
    draw_costs(opened)
    drawing = opened.locator("#drawing-cost")
    texts = drawing.locator("svg .role-legend text").all_text_contents()
    assert [text for text in texts if text in MARKED] == MARKED
    marks = drawing.locator("svg .mark-symbol.role-mark path")
    shapes = {mark.get_attribute("d") for mark in marks.all()}
    assert len(shapes) >= 5, "the zero-shot row has no training time"
    assert overlaps(opened) == []
    opened.get_by_label("axis", exact=True).select_option("image")
    opened.wait_for_timeout(300)
    assert len({mark.get_attribute("d") for mark in marks.all()}) == 6


def test_rows_of_one_kind_are_left_by_a_filter(opened):
    opened.get_by_role("combobox", name="kind", exact=True).select_option("linear probe")
    shown = opened.locator("table.ranking tbody tr:not([hidden]) th")
    assert shown.count() == 3
    assert all("linear probe" in text for text in shown.all_inner_texts())
